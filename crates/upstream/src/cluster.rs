//! A cluster at run time: what is configured, and its endpoints as they are now.
//!
//! Most clusters of a large configuration are never asked for anything: until then one costs no more than its configuration.

mod endpoints;
mod names;
mod usage;
mod watch;

pub(crate) use names::Names;
pub(crate) use usage::Usage;
pub use usage::{Counted, UsageCounts};
pub use watch::Ejections;
pub(crate) use watch::Watch;

use crate::balance::{EndpointList, Member, Unbuilt, Wanted};
use crate::connect::{ConnectError, Connection, Place, Purpose, Secured, Sender, Told, connect, keep_alive};
use crate::endpoint::{EndpointState, Endpoints, InFlight, Terms};
use crate::tls::Connector;
use arc_swap::ArcSwapOption;
use ir::{Balancer, Cluster, DnsName, Endpoint, EndpointAddress, EndpointSource, HashKey, Sni};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// TLS settings as they were worked out for the first who asked, or why they cannot be.
type WorkedOut = OnceLock<Result<Arc<Connector>, String>>;

/// A cluster and its endpoints.
#[derive(Debug)]
pub struct ClusterState {
    /// What is configured.
    pub cluster: Arc<Cluster>,
    endpoints: ArcSwapOption<EndpointList>,
    names: OnceLock<Arc<Names>>,
    /// There where TLS is spoken.
    connector: Option<Box<WorkedOut>>,
    all: Arc<Endpoints>,
    /// Whether a newer state stands in its slot, or none.
    replaced: AtomicBool,
    /// There where something is limited or may be ejected.
    kept: Option<Box<Kept>>,
}

/// What the states of a cluster have in common that follow one another in its slot.
#[derive(Debug)]
struct Kept {
    usage: Option<Arc<Usage>>,
    watch: Option<Arc<Watch>>,
}

impl Kept {
    /// What a cluster needs: what there was before, or new.
    fn of(cluster: &Cluster, before: Option<&Self>) -> Option<Box<Self>> {
        let usage = usage::of(cluster, before.and_then(|before| before.usage.as_ref()));
        let watch = cluster.outlier.as_ref().map(|_| before.and_then(|kept| kept.watch.clone()).unwrap_or_default());
        (usage.is_some() || watch.is_some()).then(|| Box::new(Self { usage, watch }))
    }
}

/// Why there is no endpoint: 503 `UH`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The service has none that is ready, or its names do not resolve.
    #[error("no healthy upstream")]
    Empty,
    /// Its names are not resolved yet.
    #[error("the name of the destination is not resolved yet")]
    Unresolved,
    /// The table by which they are chosen is being laid out (DR-11).
    #[error("the table of endpoints is not laid out yet")]
    Unbuilt,
    /// There can be none at a gateway.
    #[error("{0}")]
    Never(Arc<str>),
    /// The TLS that is demanded cannot be had: 503 `UF`.
    #[error("{0}")]
    NoTls(Arc<str>),
}

/// What is counted of a cluster: the sums of its endpoints of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Connections made.
    pub opened: u64,
    /// Connections that could not be made.
    pub failed: u64,
    /// Requests under way, where the balance depends on them.
    pub active: u64,
}

impl ClusterState {
    /// A cluster that takes over the endpoints that `before` had, where their addresses stay.
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
            kept: Kept::of(&cluster, before.and_then(|before| before.kept.as_deref())),
            cluster,
        };
        if let Some((before, list)) = before.and_then(|before| Some((before, before.endpoints.load_full()?))) {
            state.take_over(&list, &before.cluster);
        }
        state
    }

    /// The worked-out TLS settings, where they stay: connections that were made by them stay of use.
    fn worked_out(&self, next: &Cluster) -> Option<Box<WorkedOut>> {
        let same = self.cluster.tls == next.tls && self.cluster.protocol == next.protocol;
        self.connector.clone().filter(|_| same)
    }

    /// Whether a connection for one request is as good for any other.
    pub(crate) fn has_one_purpose(&self) -> bool {
        let by_host = self.cluster.tls.as_ref().is_some_and(|tls| tls.sni == Sni::Host);
        !by_host && self.cluster.proxy_protocol.is_none()
    }

    /// What a connection for this sender has to be made for; `None` where any will do.
    pub(crate) fn purpose(&self, sender: Sender<'_>) -> Result<Option<Purpose>, ConnectError> {
        let secured = self.secured(sender.host)?;
        let told = self.cluster.proxy_protocol.map(|version| Told { version, ends: sender.ends.copied() });
        Ok((secured.is_some() || told.is_some()).then_some(Purpose { secured, told }))
    }

    /// How TLS is spoken to its endpoints for a request to `host`; `None` is clear text.
    fn secured(&self, host: Option<&str>) -> Result<Option<Secured>, ConnectError> {
        let (Some(tls), Some(connector)) = (&self.cluster.tls, &self.connector) else { return Ok(None) };
        let build = || Connector::build(tls, self.cluster.protocol).map(Arc::new).map_err(|error| error.to_string());
        match connector.get_or_init(build) {
            Ok(connector) => Ok(Some(Secured { sni: connector.sni(host), connector: Arc::clone(connector) })),
            Err(words) => Err(ConnectError::Tls(words.clone())),
        }
    }

    /// Makes a connection to one of its endpoints within `limit`, which holds for TCP and TLS together. Where connections are
    /// limited and all places are taken, there is none.
    pub async fn connect(
        &self,
        endpoint: &Arc<EndpointState>,
        sender: Sender<'_>,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let place = match self.places() {
            None => None,
            Some(places) => Some(places.claim_now().ok_or_else(|| {
                self.count_overflow();
                ConnectError::Overflow
            })?),
        };
        self.connect_at(endpoint, sender, place, limit).await
    }

    /// The same, with the place that it takes where connections are limited.
    pub(crate) async fn connect_at(
        &self,
        endpoint: &Arc<EndpointState>,
        sender: Sender<'_>,
        place: Option<Place>,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let connection = connect(endpoint, self.purpose(sender)?, limit).await?;
        let limits = self.cluster.limits.as_deref();
        if let Some(probes) = limits.and_then(|limits| limits.tcp_keepalive.as_ref()) {
            keep_alive(&connection.stream, probes);
        }
        Ok(Connection { terms: Terms::new(limits, Instant::now()), place, ..connection })
    }

    /// Tells an endpoint what holds for connections to it.
    fn set_terms(&self, endpoint: &EndpointState) {
        endpoint.set_idle_limit(self.cluster.timeouts.idle);
        endpoint.set_limited(self.places().is_some());
    }

    fn take_over(&self, list: &Arc<EndpointList>, before: &Cluster) {
        let next = match endpoints::known(&self.cluster.endpoints) {
            Some(addresses) => Some(Arc::new(endpoints::list(self, addresses, Some(list)))),
            // The same names: what they resolved to holds until they are resolved again.
            None if before.endpoints == self.cluster.endpoints => {
                list.iter().for_each(|endpoint| self.set_terms(endpoint));
                Some(Arc::new(list.rebalanced(&self.cluster.balance)))
            }
            None => endpoints::carried(&before.endpoints, &self.cluster.endpoints, list)
                .map(|addresses| Arc::new(endpoints::list(self, addresses, Some(list)))),
        };
        self.endpoints.store(next);
    }

    /// Marks endpoints as gone that `next` does not have. For the state that stood in the slot before `next` did.
    pub(crate) fn replaced_by(&self, next: Option<&Self>) {
        // The flag first: who makes a list later sees it, and who made one before is seen here.
        self.replaced.store(true, Ordering::SeqCst);
        let Some(list) = self.endpoints.load_full() else { return };
        let kept = next.and_then(|next| next.endpoints.load_full());
        endpoints::retire_missing(&list, kept.as_deref());
    }

    /// The endpoints as they are now; `None` where no name is resolved yet, or there can be none.
    pub fn endpoints(&self) -> Option<Arc<EndpointList>> {
        if let Some(list) = self.endpoints.load_full() {
            return Some(list);
        }
        let list = Arc::new(endpoints::list(self, endpoints::known(&self.cluster.endpoints)?, None));
        // Two workers may come here at once; the endpoints have to be the same for both.
        let before = self.endpoints.compare_and_swap(&None::<Arc<EndpointList>>, Some(Arc::clone(&list)));
        let list = before.as_ref().map_or(list, Arc::clone);
        if self.replaced.load(Ordering::SeqCst) {
            // Made for a request that outlived its configuration: serves it, and keeps nothing.
            endpoints::retire_missing(&list, None);
        }
        Some(list)
    }

    /// Chooses from now on among the endpoints that are not ejected now (DR-30).
    pub fn rebalance(&self) {
        // Who sets another list meanwhile has seen the same endpoints.
        self.endpoints.rcu(|list| list.as_ref().map(|list| Arc::new(list.rebalanced(&self.cluster.balance))));
    }

    /// What looks after its endpoints' health.
    pub(crate) fn watch(&self) -> Option<&Arc<Watch>> {
        self.kept.as_ref()?.watch.as_ref()
    }

    /// Whether another state stands in its slot, or none.
    fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::SeqCst)
    }

    /// Whether anybody has used it, so that it has endpoints by now.
    pub(crate) fn is_in_use(&self) -> bool {
        self.endpoints.load().is_some()
    }

    /// The addresses that may be those of one of its names.
    pub(crate) fn resolved(&self, name: &DnsName) -> Vec<IpAddr> {
        let list = self.endpoints.load();
        let members = list.iter().flat_map(|list| list.members());
        let address = |member: &Member| match &member.endpoint.address {
            EndpointAddress::Ip(address) => Some(address.ip()).filter(|ip| member.is(&name.endpoint(*ip))),
            EndpointAddress::Unix(_) => None,
        };
        members.filter_map(address).collect()
    }

    /// Sets what the cluster's names resolved to, in order.
    pub(crate) fn set_resolved(&self, addresses: Vec<Endpoint>) {
        let before = self.endpoints.load_full();
        // Once replaced, the state after it has the endpoints; only who waits for a first answer still needs one.
        let replaced = self.replaced.load(Ordering::SeqCst);
        let holds = before.as_ref().is_some_and(|list| replaced || endpoints::is_same(list, &addresses));
        if !holds {
            let next = endpoints::list(self, addresses, before.as_deref());
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

    /// Chooses an endpoint. The guard counts the request while it lasts, where that matters for the next choice.
    pub fn pick(
        &self,
        random: &mut dyn FnMut() -> u64,
        wanted: Wanted<'_>,
    ) -> Result<(Arc<EndpointState>, Option<InFlight>), NoEndpoint> {
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
        let balancer = &self.cluster.balance.balancer;
        let picked = list.pick(balancer, random, wanted).map_err(|Unbuilt| NoEndpoint::Unbuilt)?;
        let picked = picked.ok_or(NoEndpoint::Empty)?;
        let counted = *balancer == Balancer::LeastRequest && list.len() > 1;
        let in_flight = counted.then(|| InFlight::new(&picked));
        Ok((picked, in_flight))
    }

    /// The bit of an endpoint's priority, for [`Wanted::excluded`].
    pub fn priority_bit(&self, endpoint: u64) -> u32 {
        self.endpoints.load().as_ref().map_or(0, |list| list.priority_bit(endpoint))
    }

    /// What of a request is hashed to choose an endpoint, where anything is (DR-11).
    pub fn hash_key(&self) -> Option<&HashKey> {
        self.cluster.balance.hash()?.key.as_ref()
    }

    /// Waits until the table by which endpoints are chosen is laid out, if somebody asked for it.
    pub async fn wait_built(&self) {
        if let Some(list) = self.endpoints.load_full() {
            list.wait_built().await;
        }
    }

    fn why_none(&self) -> NoEndpoint {
        match &self.cluster.endpoints {
            EndpointSource::Never(reason) => NoEndpoint::Never(Arc::clone(reason)),
            EndpointSource::NoTls(reason) => NoEndpoint::NoTls(Arc::clone(reason)),
            EndpointSource::Static(_) | EndpointSource::Dns { .. } => NoEndpoint::Unresolved,
        }
    }

    /// What is counted. Does not make a cluster that nobody uses cost anything.
    pub fn counts(&self) -> ClusterCounts {
        let mut counts = ClusterCounts::default();
        for endpoint in self.endpoints.load().iter().flat_map(|list| list.iter()) {
            counts.opened += endpoint.opened();
            counts.failed += endpoint.failed();
            counts.active += u64::from(endpoint.active());
        }
        counts
    }

    /// The names to resolve, for the first who asks and only if there are any.
    pub(crate) fn begin_resolving(&self) -> Option<Arc<Names>> {
        if endpoints::known(&self.cluster.endpoints).is_some()
            || matches!(self.cluster.endpoints, EndpointSource::Never(_) | EndpointSource::NoTls(_))
        {
            return None;
        }
        let names = self.names.get_or_init(Arc::default);
        names.begin().then(|| Arc::clone(names))
    }

    /// Waits until the names are resolved for the first time, at most for `limit`.
    pub async fn wait_resolved(&self, limit: Duration) {
        if !matches!(self.cluster.endpoints, EndpointSource::Dns { .. }) {
            return;
        }
        let names = self.names.get_or_init(Arc::default);
        names.wait(limit, || self.endpoints.load().is_some()).await;
    }
}

impl Drop for ClusterState {
    /// Lets the task that resolves its names see that they are no longer needed.
    fn drop(&mut self) {
        if let Some(names) = self.names.get() {
            names.touch();
        }
    }
}
