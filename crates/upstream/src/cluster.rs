//! A cluster at run time: its configuration, and the current endpoints.
//!
//! Most clusters of a large configuration get no requests: such a cluster costs no more memory than its configuration.

mod endpoints;
mod outlier;
mod resolution;
mod usage;

pub use outlier::Ejections;
pub(crate) use outlier::OutlierDetector;
pub(crate) use resolution::NameResolution;
pub(crate) use usage::Usage;
pub use usage::{Counted, UsageCounts};

use crate::balance::{EndpointList, Member, PickContext, TableNotReady};
use crate::connect::{
    ConnectContext, ConnectError, Connection, ConnectionLimiter, ConnectionPermit, PoolKey, ProxyHeader, TlsTarget,
    connect, keep_alive,
};
use crate::endpoint::{ConnectionLifetime, EndpointState, Endpoints, InFlight, Outcome, PickedEndpoint};
use crate::tls::Connector;
use arc_swap::ArcSwapOption;
use endpoints::{EndpointSettings, ListContext};
use ir::{
    Balancer, Cluster, DnsName, Endpoint, EndpointAddress, EndpointSource, HashKey, Lacking, OutlierDetection,
    PoolLimits, Sni,
};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The TLS connector, built for the first connection, or why it cannot be built.
type WorkedOut = OnceLock<Result<Arc<Connector>, String>>;

/// A cluster and its endpoints.
#[derive(Debug)]
pub struct ClusterState {
    /// The configuration.
    pub config: Arc<Cluster>,
    endpoints: ArcSwapOption<EndpointList>,
    names: OnceLock<Arc<NameResolution>>,
    /// Set where the cluster uses TLS.
    connector: Option<Box<WorkedOut>>,
    all: Arc<Endpoints>,
    /// Whether a newer state, or none, is in the slot.
    replaced: AtomicBool,
    /// Whether the endpoints are all addresses of one destination, any of which serves.
    is_destination: bool,
    /// Set where the cluster has limits or outlier detection.
    carryover: Option<Box<ClusterCarryover>>,
}

/// State that passes from one configuration of a cluster to the next.
#[derive(Debug)]
struct ClusterCarryover {
    usage: Option<Arc<Usage>>,
    outlier_detector: Option<Arc<OutlierDetector>>,
}

impl ClusterCarryover {
    /// The carried-over or new state that the configuration needs.
    fn of(cluster: &Cluster, before: Option<&Self>) -> Option<Box<Self>> {
        let usage = usage::of(cluster, before.and_then(|before| before.usage.as_ref()));
        let outlier_detector = cluster
            .outlier
            .as_ref()
            .map(|_| before.and_then(|carryover| carryover.outlier_detector.clone()).unwrap_or_default());
        (usage.is_some() || outlier_detector.is_some()).then(|| Box::new(Self { usage, outlier_detector }))
    }
}

/// Why there is no endpoint: 503 `UH`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The service has no ready endpoint, or its names do not resolve.
    #[error("no healthy upstream")]
    Empty,
    /// The names are not resolved yet.
    #[error("the destination's name is not resolved yet")]
    Unresolved,
    /// The hash table of the endpoints is being built (DR-11).
    #[error("the hash table of the endpoints is not built yet")]
    TableNotReady,
    /// Gateways can never reach such endpoints.
    #[error("{0}")]
    Never(Arc<str>),
    /// The configured TLS or credential cannot be used, and the traffic is withheld: 503 `UF`.
    #[error("{1}")]
    Withheld(Lacking, Arc<str>),
}

/// Counters of a cluster: the sums over the current endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Connections made.
    pub opened: u64,
    /// Failed attempts to connect.
    pub failed: u64,
    /// Requests in flight, where the balancer depends on them.
    pub active: u64,
}

impl ClusterState {
    /// A cluster that carries over the endpoints of `before` whose addresses are unchanged.
    pub(crate) fn new(cluster: Arc<Cluster>, all: &Arc<Endpoints>, before: Option<&Self>) -> Self {
        let state = Self {
            endpoints: ArcSwapOption::empty(),
            names: OnceLock::new(),
            connector: cluster
                .tls
                .is_some()
                .then(|| before.and_then(|before| before.worked_out(&cluster)).unwrap_or_default()),
            all: Arc::clone(all),
            replaced: AtomicBool::new(false),
            is_destination: false,
            carryover: ClusterCarryover::of(&cluster, before.and_then(|before| before.carryover.as_deref())),
            config: cluster,
        };
        if let Some((before, list)) = before.and_then(|before| Some((before, before.endpoints.load_full()?))) {
            state.carry_over(&list, &before.config);
        }
        state
    }

    /// The same, for a cluster whose endpoints are the addresses of one destination.
    pub(crate) fn of_destination(cluster: Arc<Cluster>, all: &Arc<Endpoints>, before: Option<&Self>) -> Self {
        let mut state = Self::new(cluster, all, before);
        state.is_destination = true;
        state
    }

    /// The TLS connector, if the settings are unchanged: existing connections stay usable.
    fn worked_out(&self, next: &Cluster) -> Option<Box<WorkedOut>> {
        let same = self.config.tls == next.tls && self.config.protocol == next.protocol;
        self.connector.clone().filter(|_| same)
    }

    /// Whether any connection can carry any request.
    pub(crate) fn has_one_pool_key(&self) -> bool {
        let by_host = self.config.tls.as_ref().is_some_and(|tls| tls.sni == Sni::Host);
        !by_host && self.config.proxy_protocol.is_none()
    }

    /// The pool key for a request; `None` where any connection can carry it.
    pub(crate) fn pool_key(&self, context: ConnectContext<'_>) -> Result<Option<PoolKey>, ConnectError> {
        let tls = self.tls(context.host)?;
        let proxy_header =
            self.config.proxy_protocol.map(|version| ProxyHeader { version, ends: context.ends.copied() });
        Ok((tls.is_some() || proxy_header.is_some()).then_some(PoolKey { tls, proxy_header }))
    }

    /// The TLS for a request to `host`; `None` is clear text.
    fn tls(&self, host: Option<&str>) -> Result<Option<TlsTarget>, ConnectError> {
        let (Some(tls), Some(connector)) = (&self.config.tls, &self.connector) else { return Ok(None) };
        let build = || Connector::build(tls, &self.config.protocol).map(Arc::new).map_err(|error| error.to_string());
        match connector.get_or_init(build) {
            Ok(connector) => Ok(Some(TlsTarget { sni: connector.sni(host), connector: Arc::clone(connector) })),
            Err(words) => Err(ConnectError::Tls(words.clone())),
        }
    }

    /// Connects to one of the endpoints within `limit`, which covers TCP and TLS together. Fails at the limit of connections. Where the endpoints are
    /// the addresses of one destination, the connection may be to one of the other family (RFC 8305).
    pub async fn connect(
        &self,
        endpoint: &Arc<EndpointState>,
        context: ConnectContext<'_>,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let permit = match self.limiter() {
            None => None,
            Some(limiter) => Some(limiter.try_acquire().ok_or_else(|| {
                self.count_overflow();
                ConnectError::Overflow
            })?),
        };
        self.connect_at(endpoint, context, permit, limit).await
    }

    /// As [`Self::connect`], with a permit where connections are limited.
    pub(crate) async fn connect_at(
        &self,
        endpoint: &Arc<EndpointState>,
        context: ConnectContext<'_>,
        permit: Option<ConnectionPermit>,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let other = self.of_other_family(endpoint);
        let connection = connect(endpoint, other.as_ref(), self.pool_key(context)?, limit).await?;
        let limits = self.config.limits.as_deref();
        if let Some(probes) = limits.and_then(|limits| limits.tcp_keepalive.as_ref()) {
            keep_alive(&connection.stream, probes);
        }
        Ok(Connection { lifetime: ConnectionLifetime::new(limits, Instant::now()), permit, ..connection })
    }

    /// An address of the same destination and of the other family.
    fn of_other_family(&self, endpoint: &EndpointState) -> Option<Arc<EndpointState>> {
        let list = self.is_destination.then(|| self.endpoints.load_full())??;
        let is_v4 = |endpoint: &EndpointState| endpoint.address.ip().map(|address| address.is_ipv4());
        list.iter().find(|other| is_v4(other) != is_v4(endpoint)).cloned()
    }

    fn list_context(&self) -> ListContext<'_> {
        let settings = EndpointSettings { idle: self.config.timeouts.idle, is_limited: self.limiter().is_some() };
        ListContext { all: &self.all, balance: &self.config.balance, settings }
    }

    fn carry_over(&self, list: &Arc<EndpointList>, before: &Cluster) {
        let next = match endpoints::known(&self.config.endpoints) {
            Some(addresses) => Some(Arc::new(endpoints::list(self.list_context(), addresses, Some(list)))),
            // The same names: the addresses stay until the names are resolved again.
            None if before.endpoints == self.config.endpoints => {
                let settings = self.list_context().settings;
                list.iter().for_each(|endpoint| settings.apply(endpoint));
                Some(Arc::new(list.rebalanced(&self.config.balance)))
            }
            None => endpoints::carried(&before.endpoints, &self.config.endpoints, list)
                .map(|addresses| Arc::new(endpoints::list(self.list_context(), addresses, Some(list)))),
        };
        self.endpoints.store(next);
    }

    /// Marks endpoints as gone that `next` does not contain. Called on the state that was in the slot before `next`.
    pub(crate) fn replaced_by(&self, next: Option<&Self>) {
        // The flag is set first: a list that is made later sees the flag, and a list that was made before is seen here.
        self.replaced.store(true, Ordering::SeqCst);
        let Some(list) = self.endpoints.load_full() else { return };
        let kept = next.and_then(|next| next.endpoints.load_full());
        endpoints::retire_missing(&list, kept.as_deref());
    }

    /// The current endpoints; `None` where no name is resolved yet, or there can be no endpoint.
    pub fn endpoints(&self) -> Option<Arc<EndpointList>> {
        if let Some(list) = self.endpoints.load_full() {
            return Some(list);
        }
        let list = Arc::new(endpoints::list(self.list_context(), endpoints::known(&self.config.endpoints)?, None));
        // Two workers may get here at once; both have to use the same endpoints.
        let before = self.endpoints.compare_and_swap(&None::<Arc<EndpointList>>, Some(Arc::clone(&list)));
        let list = before.as_ref().map_or(list, Arc::clone);
        if self.replaced.load(Ordering::SeqCst) {
            // Made for a request that outlived its configuration: serves this request, and keeps no connection.
            endpoints::retire_missing(&list, None);
        }
        Some(list)
    }

    /// Builds the balancer's table from the endpoints that are not ejected now (DR-30).
    pub fn rebalance(&self) {
        // A list that another thread sets at the same time was built from the same endpoints.
        self.endpoints.rcu(|list| list.as_ref().map(|list| Arc::new(list.rebalanced(&self.config.balance))));
    }

    /// The outlier detector, where the cluster has one.
    pub(crate) fn outlier_detector(&self) -> Option<&Arc<OutlierDetector>> {
        self.carryover.as_ref()?.outlier_detector.as_ref()
    }

    fn outlier_detection(&self) -> Option<(&OutlierDetection, &Arc<OutlierDetector>)> {
        Some((self.config.outlier.as_deref()?, self.outlier_detector()?))
    }

    /// Counts the outcome of a request or a connection. Returns whether to call [`UpstreamStore::watch`](crate::UpstreamStore::watch).
    pub fn report(&self, endpoint: &EndpointState, outcome: Outcome) -> bool {
        self.outlier_detection().is_some_and(|(policy, detector)| detector.report(policy, endpoint, outcome))
    }

    /// Ejects and restores endpoints; a `tick` is the end of an interval.
    pub(crate) fn eject_and_restore(&self, tick: bool, now: tokio::time::Instant) {
        let (Some((policy, detector)), Some(list)) = (self.outlier_detection(), self.endpoints.load_full()) else {
            return;
        };
        if detector.eject_and_restore(&self.config.id, policy, &list, tick, now) {
            self.rebalance();
        }
    }

    /// Restores all endpoints.
    pub(crate) fn restore_all(&self) {
        self.endpoints.load().iter().for_each(|list| outlier::restore_all(list));
        self.rebalance();
    }

    /// Applies what the state before has detected, once this state is in the slot.
    pub(crate) fn carry_over_health(&self, before: &Self) {
        if self.config.outlier != before.config.outlier {
            // Consecutive failures beyond the new policy's threshold would never be detected.
            self.endpoints.load().iter().flat_map(|list| list.iter()).for_each(|endpoint| endpoint.health.begin_anew());
        }
        match (self.outlier_detector(), before.outlier_detector()) {
            (Some(_), _) => self.rebalance(),
            (None, Some(_)) => self.restore_all(),
            (None, None) => {}
        }
    }

    /// Whether no endpoint needs the task of the outlier detection.
    pub(crate) fn is_settled(&self) -> bool {
        self.endpoints.load().as_deref().is_none_or(outlier::is_settled)
    }

    /// The counters, where the cluster has outlier detection and is in use.
    pub fn ejections(&self) -> Option<Ejections> {
        Some(self.outlier_detector()?.counts(&*self.endpoints.load_full()?))
    }

    fn used(&self) -> Option<&Usage> {
        self.carryover.as_ref()?.usage.as_deref()
    }

    fn limited(&self) -> Option<(&PoolLimits, &Usage)> {
        Some((self.config.limits.as_deref()?, self.used()?))
    }

    /// The limiter of the cluster's connections, where they are limited.
    pub(crate) fn limiter(&self) -> Option<&Arc<ConnectionLimiter>> {
        let (limits, usage) = self.limited()?;
        limits.max_connections.map(|_| &usage.limiter)
    }

    /// Counts a request that waits for a connection; `None` at the limit.
    pub(crate) fn begin_pending(&self) -> Option<Counted> {
        self.limited().map_or(Some(Counted::NOTHING), |(limits, usage)| usage.begin_pending(limits))
    }

    /// Counts a request; `None` at the limit.
    pub fn begin_request(&self) -> Option<Counted> {
        self.limited().map_or(Some(Counted::NOTHING), |(limits, usage)| usage.begin_request(limits))
    }

    /// Counts a retry; `None` at the limit.
    pub fn begin_retry(&self) -> Option<Counted> {
        self.limited().map_or(Some(Counted::NOTHING), |(limits, usage)| usage.begin_retry(limits))
    }

    /// Counts a connection refused by the limit.
    pub(crate) fn count_overflow(&self) {
        if let Some(usage) = self.used() {
            usage.count_overflow();
        }
    }

    /// Applies the new limits to what is in flight already.
    pub(crate) fn carry_over_limits(&self, before: &Self) {
        if let Some(usage) = self.used().or(before.used()) {
            usage.limiter.set_limit(self.config.limits.as_ref().and_then(|limits| limits.max_connections));
        }
    }

    /// The counters, where there are limits and the cluster is in use.
    pub fn usage(&self) -> Option<UsageCounts> {
        self.used().filter(|_| self.is_in_use()).map(Usage::counts)
    }

    /// Whether a request has used the cluster, so that the endpoints exist.
    pub(crate) fn is_in_use(&self) -> bool {
        self.endpoints.load().is_some()
    }

    /// The current addresses that one of the names may have resolved to.
    pub(crate) fn resolved(&self, name: &DnsName) -> Vec<IpAddr> {
        let list = self.endpoints.load();
        let members = list.iter().flat_map(|list| list.members());
        let address = |member: &Member| match &member.endpoint.address {
            EndpointAddress::Ip(address) => Some(address.ip()).filter(|ip| member.is(&name.endpoint(*ip))),
            EndpointAddress::Unix(_) => None,
        };
        members.filter_map(address).collect()
    }

    /// Sets the addresses that the names resolved to, in order.
    pub(crate) fn set_resolved(&self, addresses: Vec<Endpoint>) {
        let before = self.endpoints.load_full();
        // A replaced state has passed its endpoints on; only requests that wait for the first resolution still need a list.
        let replaced = self.replaced.load(Ordering::SeqCst);
        let holds = before.as_ref().is_some_and(|list| replaced || endpoints::is_same(list, &addresses));
        if !holds {
            let next = endpoints::list(self.list_context(), addresses, before.as_deref());
            if let Some(before) = &before {
                endpoints::retire_missing(before, Some(&next));
            }
            self.endpoints.store(Some(Arc::new(next)));
            if self.replaced.load(Ordering::SeqCst) {
                self.endpoints.load().iter().for_each(|list| endpoints::retire_missing(list, None));
            }
        }
        if let Some(names) = self.names.get() {
            names.answered();
        }
    }

    /// Picks an endpoint.
    pub fn pick(&self, random: &mut dyn FnMut() -> u64, wanted: PickContext<'_>) -> Result<PickedEndpoint, NoEndpoint> {
        let mut loaded = self.endpoints.load();
        if loaded.as_ref().is_some_and(|list| list.is_due()) {
            self.rebalance();
            loaded = self.endpoints.load();
        }
        let first;
        let list = match &*loaded {
            Some(list) => list,
            None => {
                first = self.endpoints().ok_or_else(|| self.why_none())?;
                &first
            }
        };
        if let Some(names) = self.names.get() {
            names.touch();
        }
        let balancer = &self.config.balance.balancer;
        let picked = list.pick(balancer, random, wanted).map_err(|TableNotReady| NoEndpoint::TableNotReady)?;
        let endpoint = picked.ok_or(NoEndpoint::Empty)?;
        let counted = *balancer == Balancer::LeastRequest && list.len() > 1;
        let in_flight = counted.then(|| InFlight::new(&endpoint));
        Ok(PickedEndpoint { endpoint, in_flight })
    }

    /// The bit of an endpoint's priority, for [`PickContext::excluded`].
    pub fn priority_bit(&self, endpoint: u64) -> u32 {
        self.endpoints.load().as_ref().map_or(0, |list| list.priority_bit(endpoint))
    }

    /// The part of the request that is hashed to pick an endpoint, where any is (DR-11).
    pub fn hash_key(&self) -> Option<&HashKey> {
        self.config.balance.hash()?.key.as_ref()
    }

    /// Waits until the hash table is built, if a request has asked for it.
    pub async fn wait_for_table(&self) {
        if let Some(list) = self.endpoints.load_full() {
            list.wait_for_table().await;
        }
    }

    /// Whether the endpoints are the addresses of the name that a client asks for: requests are sent to what
    /// [`UpstreamStore::destination`](crate::UpstreamStore::destination) returns.
    #[inline]
    pub fn is_dynamic(&self) -> bool {
        matches!(self.config.endpoints, EndpointSource::Dynamic(_))
    }

    fn why_none(&self) -> NoEndpoint {
        match &self.config.endpoints {
            EndpointSource::Never(reason) => NoEndpoint::Never(Arc::clone(reason)),
            EndpointSource::Withheld(what, why) => NoEndpoint::Withheld(*what, Arc::clone(why)),
            EndpointSource::Static(_) | EndpointSource::Dns { .. } | EndpointSource::Dynamic(_) => {
                NoEndpoint::Unresolved
            }
        }
    }

    /// The counters. Does not create the endpoints of an unused cluster.
    pub fn counts(&self) -> ClusterCounts {
        let mut counts = ClusterCounts::default();
        for endpoint in self.endpoints.load().iter().flat_map(|list| list.iter()) {
            counts.opened += endpoint.opened();
            counts.failed += endpoint.failed();
            counts.active += u64::from(endpoint.active());
        }
        counts
    }

    /// The names to resolve; `Some` only for the first caller, and only if there are names.
    pub(crate) fn begin_resolving(&self) -> Option<Arc<NameResolution>> {
        if endpoints::known(&self.config.endpoints).is_some()
            || !matches!(self.config.endpoints, EndpointSource::Dns { .. })
        {
            return None;
        }
        let names = self.names.get_or_init(Arc::default);
        names.begin().then(|| Arc::clone(names))
    }

    /// Waits until the names are resolved for the first time, at most for `limit`.
    pub async fn wait_resolved(&self, limit: Duration) {
        if !matches!(self.config.endpoints, EndpointSource::Dns { .. }) {
            return;
        }
        let names = self.names.get_or_init(Arc::default);
        names.wait(limit, || self.endpoints.load().is_some()).await;
    }
}

impl Drop for ClusterState {
    /// Wakes the task that resolves the names, so that it ends when they are no longer needed.
    fn drop(&mut self) {
        if let Some(names) = self.names.get() {
            names.touch();
        }
    }
}
