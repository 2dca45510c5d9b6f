//! A data plane with a snapshot that a test writes by hand.

use crate::client::Client;
use dataplane::{ApplyOutcome, DataPlane, Inherited, Limits, LogTarget, Options, ReasonHeader, TrustedProxies};
use ir::LogFormat;
use ir::policy::{Authentication, Authorization, ExternalAuthorization};
use ir::{
    Action, Balance, Balancer, Cluster, ClusterId, ClusterTimeouts, ConsistentHash, Delta, Demands, DirectResponse,
    Endpoint, EndpointAddress, EndpointSource, Forward, ForwardHost, ForwardPort, ForwardProtocol, ForwardProxy,
    HeaderChanges, HeaderMatch, HeaderName, Host, HostPattern, HttpSettings, HttpTable, Listener, ListenerId,
    Localities, MatchPath, Mirror, ObjectKind, Origin, PathNormalization, PoolLimits, Retries, Route, RouteMatch,
    Service, Share, Snapshot, StringMatch, TableId, Target, TargetCluster, TcpRoute, TcpTarget, Termination, TlsServer,
    Tunnel, TunnelMethod, UpstreamProtocol, ValueMatch, WorkloadName,
};
use ir::{ClientTls, EscapedSlashes, Fault, MeshConnectionSettings, ProxyProtocolVersion, Sni, Verify};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
pub(crate) use testkit::wait::{TIMEOUT, until};
use tokio::runtime::Runtime;
use upstream::{Blocked, Upstream};

/// The seed of random choices, so that each run makes the same ones.
const SEED: u64 = 1;

/// Any port of this machine.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running data plane.
pub(crate) struct Gateway {
    pub(crate) plane: DataPlane,
    runtime: Runtime,
}

impl Gateway {
    /// One listener whose only host, `*`, sends everything to this endpoint.
    pub(crate) fn to(endpoint: SocketAddr) -> Self {
        Self::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[endpoint]))
    }

    /// The same, with other limits.
    pub(crate) fn with_limits(endpoint: SocketAddr, limits: Limits) -> Self {
        let gateway = Self::start(1, limits, None);
        gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[endpoint]));
        gateway
    }

    pub(crate) fn serving(setup: &Setup) -> Self {
        let gateway = Self::start(1, Limits::default(), None);
        let outcome = gateway.apply(setup);
        assert_eq!(outcome.problems, []);
        gateway
    }

    pub(crate) fn start(workers: usize, limits: Limits, access_log: Option<(LogTarget, LogFormat)>) -> Self {
        Self::start_with(Options { workers, limits, access_log, ..Self::options() })
    }

    /// One worker, and these proxies in front.
    pub(crate) fn trusting(trusted_proxies: TrustedProxies, limits: Limits) -> Self {
        Self::start_with(Options { limits, trusted_proxies, ..Self::options() })
    }

    fn options() -> Options {
        Options {
            decision_log: None,
            workers: 1,
            limits: Limits::default(),
            trusted_proxies: TrustedProxies::default(),
            access_log: None,
            reasons: ReasonHeader::OnRequest,
            inherited: Inherited::default(),
            handover: false,
            seed: Some(SEED),
        }
    }

    fn start_with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = upstream::Settings { blocked: Blocked::of([]), ..upstream::Settings::default() };
        let upstream = Upstream::new(&settings, runtime.handle().clone());
        Self { plane: DataPlane::start(options, upstream).unwrap(), runtime }
    }

    /// Applies a snapshot, and waits until every worker serves it.
    pub(crate) fn apply(&self, setup: &Setup) -> ApplyOutcome {
        let outcome = self.plane.apply(&setup.snapshot(), &Delta::default());
        assert!(self.plane.wait_applied(outcome.generation, TIMEOUT), "a worker does not serve the snapshot");
        outcome
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.plane.listening().into_iter().map(|(_, address)| address).collect()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addresses()[0])
    }

    /// Drains, and returns when that is done.
    pub(crate) fn drain(&self, grace: Duration) {
        self.runtime.block_on(self.plane.drain(grace));
    }

    /// All metrics as OpenMetrics text.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.plane.metrics()).unwrap();
        text
    }

    /// Waits until a line of the metrics contains this text: requests are counted after the client has the response.
    pub(crate) fn has_counted(&self, part: &str) {
        until(part, || self.metrics().contains(part));
    }

    /// The value of the first metric whose line begins so.
    pub(crate) fn metric(&self, beginning: &str) -> Option<f64> {
        let text = self.metrics();
        let line = text.lines().find(|line| line.starts_with(beginning))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

/// The parts of a snapshot.
#[derive(Clone)]
pub(crate) struct Setup {
    listeners: Vec<SocketAddr>,
    hosts: Vec<Host>,
    clusters: Vec<Cluster>,
    /// TLS servers; without a service they have the hosts.
    tls: Vec<(Vec<HostPattern>, Option<Termination>, Option<Service>)>,
    tcp: Option<Service>,
    plain: bool,
    grpc_web: bool,
    mesh_settings: Arc<MeshConnectionSettings>,
    policies: ir::policy::Policies,
    escaped_slashes: EscapedSlashes,
    path_normalization: PathNormalization,
    forward: Option<Arc<ForwardProxy>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listeners: vec![ANY],
            hosts: Vec::new(),
            clusters: Vec::new(),
            tls: Vec::new(),
            tcp: None,
            plain: false,
            grpc_web: false,
            mesh_settings: Arc::default(),
            policies: ir::policy::Policies::default(),
            escaped_slashes: EscapedSlashes::Take,
            path_normalization: PathNormalization::default(),
            forward: None,
        }
    }
}

impl Setup {
    /// Listens on these addresses alone.
    pub(crate) fn listening(mut self, listeners: &[SocketAddr]) -> Self {
        self.listeners = listeners.to_vec();
        self
    }

    /// A host with one route for all requests.
    pub(crate) fn host(self, pattern: &str, action: Action) -> Self {
        self.route(pattern, action, HeaderChanges::default())
    }

    /// A host with one route that also changes responses.
    pub(crate) fn route(mut self, pattern: &str, action: Action, response_headers: HeaderChanges) -> Self {
        let route = Route {
            name: "r".into(),
            origin: origin(ObjectKind::VirtualService),
            matches: RouteMatch::new(MatchPath::Any, Demands::default()),
            stat_prefix: Some("r".into()),
            filters: Box::default(),
            action,
            request_headers: HeaderChanges::default(),
            response_headers,
        };
        let routes = [Arc::new(route)].into();
        self.hosts.push(Host { pattern: HostPattern::parse(pattern).unwrap(), routes, https_redirect: false });
        self
    }

    /// Puts a route in front of those of the last host: requests with this header go to a cluster.
    pub(crate) fn where_header(mut self, name: &str, value: &str, cluster: &str) -> Self {
        let host = self.hosts.last_mut().unwrap();
        let first = Route {
            name: "first".into(),
            matches: with_header(name, value),
            action: forward(cluster, None),
            ..(*host.routes[0]).clone()
        };
        host.routes = std::iter::once(Arc::new(first)).chain(host.routes.iter().cloned()).collect();
        self
    }

    /// Takes requests with this header alone.
    pub(crate) fn only_where_header(mut self, name: &str, value: &str) -> Self {
        let host = self.hosts.last_mut().unwrap();
        let only = Route { matches: with_header(name, value), ..(*host.routes[0]).clone() };
        host.routes = [Arc::new(only)].into();
        self
    }

    /// Gives each endpoint of every cluster so far a priority of its own.
    pub(crate) fn in_priorities(self) -> Self {
        self.with_clusters(|cluster| {
            let EndpointSource::Static(endpoints) = &cluster.endpoints else { return };
            let ranked = (0..).zip(&**endpoints).map(|(priority, one)| Endpoint { priority, ..one.clone() });
            cluster.endpoints = EndpointSource::Static(ranked.collect());
            cluster.balance =
                Arc::new(Balance { localities: Localities::Failover, ..Balance::clone(&cluster.balance) });
        })
    }

    /// Chooses endpoints of every cluster so far by hash.
    pub(crate) fn hashed(self, hash: ConsistentHash) -> Self {
        self.with_clusters(|cluster| cluster.balance = Balancer::ConsistentHash(Arc::new(hash.clone())).into())
    }

    /// Sets the limits of every cluster so far.
    pub(crate) fn limits(self, limits: PoolLimits) -> Self {
        let limits = Arc::new(limits);
        self.with_clusters(|cluster| cluster.limits = Some(Arc::clone(&limits)))
    }

    /// Changes every cluster so far.
    pub(crate) fn with_clusters(mut self, change: impl Fn(&mut Cluster)) -> Self {
        self.clusters.iter_mut().for_each(change);
        self
    }

    /// Adds a fault to every route so far.
    pub(crate) fn fault(mut self, fault: Fault) -> Self {
        for host in &mut self.hosts {
            host.routes = host
                .routes
                .iter()
                .map(|route| {
                    Arc::new(Route { filters: [ir::Filter::Fault(Box::new(fault))].into(), ..(**route).clone() })
                })
                .collect();
        }
        self
    }

    pub(crate) fn cluster(self, name: &str, endpoints: &[SocketAddr]) -> Self {
        self.cluster_with(name, endpoints, Duration::from_secs(10))
    }

    pub(crate) fn cluster_with(mut self, name: &str, endpoints: &[SocketAddr], connect: Duration) -> Self {
        let endpoint = |address: &SocketAddr| Endpoint {
            address: EndpointAddress::Ip(*address),
            weight: 1,
            locality: None,
            priority: 0,
        };
        self.clusters.push(Cluster {
            id: id(name),
            host: name.into(),
            origin: origin(ObjectKind::ServiceEntry),
            policy: None,
            endpoints: EndpointSource::Static(endpoints.iter().map(endpoint).collect()),
            balance: Balancer::RoundRobin.into(),
            protocol: UpstreamProtocol::Http1,
            tls: None,
            timeouts: ClusterTimeouts { connect, idle: Duration::from_secs(3600) },
            limits: None,
            outlier: None,
            proxy_protocol: None,
        });
        self
    }

    /// A TLS server with the hosts.
    pub(crate) fn tls(mut self, names: &[&str], termination: Option<Termination>) -> Self {
        self.tls.push((patterns(names), termination, None));
        self
    }

    /// A TLS server whose bytes go to a cluster.
    pub(crate) fn tls_tcp(mut self, names: &[&str], termination: Option<Termination>, cluster: &str) -> Self {
        self.tls.push((patterns(names), termination, Some(bytes_to(cluster, TIMEOUT))));
        self
    }

    /// Forwards bytes in clear text to a cluster.
    pub(crate) fn tcp(mut self, cluster: &str) -> Self {
        self.tcp = Some(bytes_to(cluster, TIMEOUT));
        self
    }

    /// The same, with an idle timeout of connections.
    pub(crate) fn tcp_idle(mut self, cluster: &str, idle: Duration) -> Self {
        self.tcp = Some(bytes_to(cluster, idle));
        self
    }

    /// Forwards the bytes of every service so far through a tunnel to `a.test:443`.
    pub(crate) fn tunnelled(mut self, method: TunnelMethod) -> Self {
        let tunnel = Arc::new(Tunnel { method, authority: ir::Authority::parse("a.test:443").unwrap() });
        let services = self.tls.iter_mut().map(|(_, _, service)| service).chain([&mut self.tcp]);
        for service in services.flatten() {
            if let Service::Tcp(route) = service {
                *route = Arc::new(TcpRoute { tunnel: Some(Arc::clone(&tunnel)), ..(**route).clone() });
            }
        }
        self
    }

    /// Serves clear text beside TLS.
    pub(crate) fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Sends PROXY headers to the endpoints.
    pub(crate) fn told(mut self, version: ProxyProtocolVersion) -> Self {
        for cluster in &mut self.clusters {
            cluster.proxy_protocol = Some(version);
        }
        self
    }

    /// Speaks TLS to the endpoints.
    pub(crate) fn encrypted(mut self) -> Self {
        let sni = Sni::Name("a.test".into());
        let tls = ClientTls { sni, verify: Verify::Nothing, identity: None, parameters: Default::default() };
        for cluster in &mut self.clusters {
            cluster.tls = Some(Arc::new(tls.clone()));
        }
        self
    }

    /// Makes every listener a forward proxy that allows these ports of hosts, each by the cluster of that name.
    pub(crate) fn proxying(mut self, allowed: &[(&str, u16, ForwardProtocol, &str)]) -> Self {
        let host = |(host, number, protocol, cluster): &(&str, u16, ForwardProtocol, &str)| ForwardHost {
            host: HostPattern::parse(host).unwrap(),
            ports: [ForwardPort {
                number: *number,
                protocol: *protocol,
                cluster: id(cluster),
                origin: origin(ObjectKind::ServiceEntry),
            }]
            .into(),
        };
        self.forward = Some(Arc::new(ForwardProxy {
            origin: origin(ObjectKind::Gateway),
            hosts: allowed.iter().map(host).collect(),
            addresses: Box::default(),
            others: None,
            users: None,
            retries: Some(Arc::default()),
        }));
        self
    }

    /// Sets the handling of escaped slashes.
    pub(crate) fn escaped_slashes(mut self, escaped_slashes: EscapedSlashes) -> Self {
        self.escaped_slashes = escaped_slashes;
        self
    }

    /// How paths are normalised.
    pub(crate) fn normalised(mut self, path_normalization: PathNormalization) -> Self {
        self.path_normalization = path_normalization;
        self
    }

    /// The tokens that the listeners accept.
    pub(crate) fn authentication(mut self, authentication: Arc<Authentication>) -> Self {
        self.policies.authentication = Some(authentication);
        self
    }

    /// The connection settings of the mesh.
    pub(crate) fn mesh_settings(mut self, mesh_settings: MeshConnectionSettings) -> Self {
        self.mesh_settings = Arc::new(mesh_settings);
        self
    }

    /// The policies of the workload.
    pub(crate) fn authorized(mut self, authorization: Authorization) -> Self {
        self.policies.authorization = Some(Arc::new(authorization));
        self
    }

    /// External authorization of every request.
    pub(crate) fn checked(mut self, authorization: ExternalAuthorization) -> Self {
        self.policies.ext_authz = Some(Arc::new(authorization));
        self
    }

    /// Translates gRPC-Web.
    pub(crate) fn grpc_web(mut self) -> Self {
        self.grpc_web = true;
        self
    }

    fn servers(&self, id: &ListenerId) -> Vec<TlsServer> {
        let server = |(at, (names, termination, service)): (usize, &(_, Option<Termination>, Option<Service>))| {
            let table = TableId { listener: id.clone(), server: Some(at.to_string().into()) };
            TlsServer {
                mesh_only: false,
                origin: Origin { rule: format!("servers[{at}]").into(), ..origin(ObjectKind::Gateway) },
                names: Vec::clone(names),
                termination: termination.clone().map(Arc::new),
                service: service.clone().unwrap_or(Service::Http(table)),
            }
        };
        self.tls.iter().enumerate().map(server).collect()
    }

    /// Uses HTTP/2 to a cluster.
    pub(crate) fn http2(mut self, name: &str) -> Self {
        for cluster in self.clusters.iter_mut().filter(|cluster| cluster.id == id(name)) {
            cluster.protocol = UpstreamProtocol::Http2 { streams: None, keep_alive: None };
        }
        self
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let http = HttpTable {
            hosts: self.hosts.iter().map(|host| (host.pattern.clone(), Arc::new(host.clone()))).collect(),
            settings: HttpSettings {
                escaped_slashes: self.escaped_slashes,
                path_normalization: self.path_normalization,
                grpc_web: self.grpc_web,
                forward: self.forward.is_some(),
                ..HttpSettings::default()
            },
            forward: self.forward.clone(),
        };
        let tables = |address: &SocketAddr| {
            let listener = listener_id(*address);
            let servers = (0..self.tls.len()).map(|at| Some(at.to_string().into())).chain([None]);
            let table = |server| (TableId { listener: listener.clone(), server }, Arc::new(http.clone()));
            servers.map(table).collect::<Vec<_>>()
        };
        let listener = |address: &SocketAddr| {
            let id = listener_id(*address);
            let http = Service::Http(TableId { listener: id.clone(), server: None });
            let plain = self.tcp.clone().or((self.tls.is_empty() || self.plain).then_some(http));
            let tls = self.servers(&id);
            let servers = vec![origin(ObjectKind::Gateway)];
            (
                id.clone(),
                Arc::new(Listener {
                    id,
                    servers,
                    server_port: 80,
                    policy_port: 80,
                    plain,
                    tls,
                    mesh_settings: Arc::clone(&self.mesh_settings),
                    policies: self.policies.clone(),
                }),
            )
        };
        Snapshot {
            listeners: self.listeners.iter().map(listener).collect(),
            tables: self.listeners.iter().flat_map(tables).collect(),
            clusters: self.clusters.iter().map(|one| (one.id.clone(), Arc::new(one.clone()))).collect(),
        }
    }
}

pub(crate) fn listener_id(address: SocketAddr) -> ListenerId {
    ListenerId { workload: WorkloadName("ingress".into()), address }
}

fn with_header(name: &str, value: &str) -> RouteMatch {
    let value = ValueMatch::Text(StringMatch::Exact(value.into()));
    let header = HeaderMatch { name: HeaderName::parse(name).unwrap(), value, invert: false };
    RouteMatch::new(MatchPath::Any, Demands { headers: vec![header], ..Demands::default() })
}

fn patterns(names: &[&str]) -> Vec<HostPattern> {
    names.iter().map(|name| HostPattern::parse(name).unwrap()).collect()
}

fn bytes_to(cluster: &str, idle: Duration) -> Service {
    Service::Tcp(Arc::new(TcpRoute {
        origin: origin(ObjectKind::VirtualService),
        targets: vec![TcpTarget { cluster: TargetCluster::Known(id(cluster)), weight: 1 }],
        idle_timeout: Some(idle),
        tunnel: None,
    }))
}

pub(crate) fn id(name: &str) -> ClusterId {
    ClusterId::outbound(80, "", name)
}

fn origin(kind: ObjectKind) -> Origin {
    Origin { kind, namespace: "default".into(), name: "one".into(), rule: "http[0]".into() }
}

/// Sends everything to one cluster, with a retry policy.
pub(crate) fn retrying(cluster: &str, timeout: Option<Duration>, retries: Option<Retries>) -> Action {
    match forward(cluster, timeout) {
        Action::Forward(forward) => Action::Forward(Forward { retries: retries.map(Arc::new), ..forward }),
        other => other,
    }
}

/// Sends everything to one cluster, and mirrors it to others.
pub(crate) fn mirroring(cluster: &str, mirrors: &[(&str, Share)]) -> Action {
    let mirror = |(name, share): &(&str, Share)| Mirror { cluster: TargetCluster::Known(id(name)), share: *share };
    match forward(cluster, None) {
        Action::Forward(forward) => {
            Action::Forward(Forward { mirrors: mirrors.iter().map(mirror).collect(), ..forward })
        }
        other => other,
    }
}

/// Sends everything to one cluster.
pub(crate) fn forward(cluster: &str, timeout: Option<Duration>) -> Action {
    let target = Target::plain(TargetCluster::Known(id(cluster)), 1);
    Action::Forward(Forward { timeout, retries: Some(Arc::default()), ..Forward::to(vec![target]) })
}

/// Responds to everything with this status and body.
pub(crate) fn respond(status: u16, body: &str) -> Action {
    Action::Respond(DirectResponse { status, body: body.as_bytes().into() })
}
