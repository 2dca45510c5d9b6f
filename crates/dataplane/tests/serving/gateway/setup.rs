//! The parts of a snapshot, put together by a test.

use super::actions::forward;
use super::snapshot::{id, origin};
use super::{ANY, TIMEOUT};
use ir::policy::{Authentication, Authorization, ExternalAuthorization};
use ir::{
    Action, Balance, Balancer, ClientTls, Cluster, ClusterTimeouts, ConsistentHash, Demands, Endpoint, EndpointAddress,
    EndpointSource, EscapedSlashes, Fault, ForwardHost, ForwardPort, ForwardProtocol, ForwardProxy, HeaderChanges,
    HeaderMatch, HeaderName, Host, HostPattern, Localities, MatchPath, MeshConnectionSettings, ObjectKind,
    PathNormalization, PoolLimits, ProxyProtocolVersion, Route, RouteMatch, Service, Sni, StringMatch, TargetCluster,
    TcpRoute, TcpTarget, Termination, Tunnel, TunnelMethod, UpstreamProtocol, ValueMatch, Verify,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The parts of a snapshot.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(super) listeners: Vec<SocketAddr>,
    pub(super) hosts: Vec<Host>,
    pub(super) clusters: Vec<Cluster>,
    /// TLS servers; without a service they have the hosts.
    pub(super) tls: Vec<(Vec<HostPattern>, Option<Termination>, Option<Service>)>,
    pub(super) tcp: Option<Service>,
    pub(super) plain: bool,
    pub(super) grpc_web: bool,
    pub(super) mesh_settings: Arc<MeshConnectionSettings>,
    pub(super) policies: ir::policy::Policies,
    pub(super) escaped_slashes: EscapedSlashes,
    pub(super) path_normalization: PathNormalization,
    pub(super) forward: Option<Arc<ForwardProxy>>,
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
            credential: None,
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
        let tls = ClientTls {
            sni,
            verify: Verify::Nothing,
            identity: None,
            key_pins: Vec::new(),
            parameters: Default::default(),
        };
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

    /// Uses HTTP/2 to a cluster.
    pub(crate) fn http2(mut self, name: &str) -> Self {
        for cluster in self.clusters.iter_mut().filter(|cluster| cluster.id == id(name)) {
            cluster.protocol = UpstreamProtocol::Http2 { streams: None, keep_alive: None };
        }
        self
    }
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
