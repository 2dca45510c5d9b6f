//! Resolves names to addresses in tasks of the store, off the hot path. Names are resolved again when their TTL ends, and the last good answer
//! stays in use when a query fails (SE-07, SE-08).
//!
//! A name is resolved when its cluster is first used, not when it is configured, so that unused names cost nothing.

mod failures;
mod resolver;
mod turns;

pub use failures::Unresolved;
pub(crate) use resolver::build_resolver;

use crate::cluster::{ClusterState, NameResolution};
use crate::tasks::Tasks;
use failures::Failures;
use hickory_resolver::TokioResolver;
use ir::{DnsName, Endpoint, EndpointSource};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use turns::Turns;

/// Bounds on the number and the frequency of queries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DnsBounds {
    /// First queries in progress at the same time. Requests wait for the answers.
    pub(crate) first_queries: usize,
    /// Repeated queries in progress at the same time.
    pub(crate) later_queries: usize,
    /// Names that clients ask for, in progress at the same time.
    pub(crate) of_clients: usize,
    /// The shortest time between two queries of a name, whatever its TTL.
    pub(crate) soonest: Duration,
    /// The longest time between two queries of a name, also of one that is not in use.
    pub(crate) latest: Duration,
    /// The time after a first failure. It doubles with each further failure.
    pub(crate) after_failure: Duration,
    /// The longest time after failures.
    pub(crate) after_failures: Duration,
}

impl Default for DnsBounds {
    fn default() -> Self {
        Self {
            first_queries: 64,
            later_queries: 32,
            of_clients: 64,
            soonest: Duration::from_secs(5),
            latest: Duration::from_secs(300),
            after_failure: Duration::from_secs(5),
            after_failures: Duration::from_secs(60),
        }
    }
}

/// Resolves the names of clusters, from the first use of a cluster until the cluster is removed.
#[derive(Debug)]
pub(crate) struct Dns {
    tasks: Arc<Tasks>,
    queries: Arc<Queries>,
}

/// State that the tasks of all clusters share.
#[derive(Debug)]
struct Queries {
    resolver: Option<TokioResolver>,
    bounds: DnsBounds,
    first: Semaphore,
    later: Semaphore,
    of_clients: Arc<Turns>,
    failures: Failures,
}

/// The state of one name.
#[derive(Debug, Default, Clone)]
struct NameState {
    addresses: Vec<IpAddr>,
    failures: u32,
    /// Why the last query had no answer.
    error: Option<String>,
}

/// The addresses of a name and their TTL, or why there is no answer.
type Answer = Result<(Vec<IpAddr>, Duration), String>;

impl Dns {
    /// Queries are made in `tasks`. Without a resolver no name has an answer.
    pub(crate) fn new(tasks: Arc<Tasks>, resolver: Option<TokioResolver>, bounds: DnsBounds) -> Self {
        let (first, later) = (Semaphore::new(bounds.first_queries), Semaphore::new(bounds.later_queries));
        let of_clients = Turns::new(bounds.of_clients);
        let queries = Queries { resolver, bounds, first, later, of_clients, failures: Failures::default() };
        Self { tasks, queries: Arc::new(queries) }
    }

    /// The addresses of a name now, or why there are none. An IP address resolves to itself.
    pub(crate) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let resolver = self.queries.resolver.as_ref().ok_or("the system has no name servers")?;
        let answer = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
        Ok(answer.iter().collect())
    }

    /// The addresses of a name that a client asks for, and how long they hold. The name is absolute: search domains are not used. `client` is the
    /// address of the client, which has its share of the lookups.
    pub(crate) async fn lookup_absolute(&self, name: &str, client: IpAddr) -> Result<(Vec<IpAddr>, Duration), String> {
        let resolver = self.queries.resolver.as_ref().ok_or("the system has no name servers")?;
        let turn = self.queries.of_clients.take(client).await;
        let answer = tokio::select! {
            answer = resolver.lookup_ip(format!("{name}.")) => answer.map_err(|error| error.to_string())?,
            () = turn.over() => return Err("the client has too many names resolved at one time".to_owned()),
        };
        let ttl = answer.valid_until().saturating_duration_since(Instant::now());
        Ok((answer.iter().collect(), ttl))
    }

    /// Names whose last query had no answer, by cluster.
    pub(crate) fn unresolved(&self) -> Vec<Unresolved> {
        self.queries.failures.list()
    }

    /// The number of names whose last query had no answer.
    pub(crate) fn count_unresolved(&self) -> usize {
        self.queries.failures.count()
    }

    /// Starts to resolve the names of a cluster, unless the cluster has none or the resolution has started.
    pub(crate) fn begin(&self, state: &Arc<ClusterState>) {
        if let Some(progress) = state.begin_resolving() {
            let (queries, state) = (Arc::clone(&self.queries), Arc::downgrade(state));
            // The task ends when the cluster is dropped.
            self.tasks.spawn(async move { queries.keep_resolving(&state, &progress).await });
        }
    }
}

impl Queries {
    async fn keep_resolving(self: &Arc<Self>, state: &Weak<ClusterState>, progress: &NameResolution) {
        // The addresses of the previous state stay in use for names without an answer.
        let mut known = state.upgrade().map(|state| previous_addresses(&state)).unwrap_or_default();
        let mut first = true;
        let failures = self.failures.task();
        loop {
            let Some(source) = state.upgrade().map(|state| Arc::clone(&state.config)) else { return };
            let EndpointSource::Dns { names, first_only } = &source.endpoints else { return };
            let again = self.query_all(names, &mut known, first).await;
            first = false;
            for (name, known) in names.iter().zip(&known) {
                match &known.error {
                    None => failures.answered(&source.id, &name.name),
                    Some(error) => failures.failed(Unresolved {
                        cluster: source.id.clone(),
                        name: (&*name.name).into(),
                        error: error.clone(),
                        in_use: !known.addresses.is_empty(),
                    }),
                }
            }
            let addresses = addresses(names, &known, *first_only);
            match state.upgrade() {
                None => return,
                // There is no answer, and the addresses of the previous state stay in use.
                Some(state) if addresses.is_empty() && state.is_in_use() => {}
                Some(state) => state.set_resolved(addresses),
            }
            progress.rest(again, self.bounds.latest).await;
        }
    }

    /// Queries all names at the same time. Returns the time until the next queries.
    async fn query_all(self: &Arc<Self>, names: &Arc<[DnsName]>, known: &mut [NameState], first: bool) -> Duration {
        let mut queries_in_progress = JoinSet::new();
        for number in 0..names.len() {
            let (queries, names) = (Arc::clone(self), Arc::clone(names));
            queries_in_progress.spawn(async move {
                let answer = match names.get(number) {
                    Some(name) => queries.query(name, first).await,
                    None => Err("the name does not exist".to_owned()),
                };
                (number, answer)
            });
        }
        let mut answers: Vec<Answer> = names.iter().map(|_| Err("the query was aborted".to_owned())).collect();
        while let Some(answered) = queries_in_progress.join_next().await {
            if let Ok((number, answer)) = answered
                && let Some(place) = answers.get_mut(number)
            {
                *place = answer;
            }
        }
        let mut again = self.bounds.latest;
        for (answer, known) in answers.into_iter().zip(known) {
            let time = match answer {
                Ok((addresses, ttl)) => {
                    *known = NameState { addresses, failures: 0, error: None };
                    ttl.max(self.bounds.soonest)
                }
                Err(error) => {
                    known.failures = known.failures.saturating_add(1);
                    known.error = Some(error);
                    self.bounds.pause(known.failures)
                }
            };
            again = again.min(time);
        }
        again
    }

    /// The addresses of one name and their TTL, or why there is no answer.
    async fn query(&self, name: &DnsName, first: bool) -> Answer {
        if let Ok(address) = name.name.parse() {
            return Ok((vec![address], self.bounds.latest));
        }
        let resolver = self.resolver.as_ref().ok_or("the system has no name servers")?;
        let limit = if first { &self.first } else { &self.later };
        let _permit = limit.acquire().await.map_err(|error| error.to_string())?;
        match resolver.lookup_ip(&*name.name).await {
            Ok(answer) => {
                let ttl = answer.valid_until().saturating_duration_since(Instant::now());
                Ok((one_loopback(answer.iter().collect()), ttl))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl DnsBounds {
    /// The time until the next query after a number of consecutive failures.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.after_failure.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.after_failures)
    }
}

/// Drops IPv6 loopback addresses beside IPv4 ones. `localhost` has an address of each family, and most servers listen on IPv4 only: as two
/// endpoints, every other request would fail.
fn one_loopback(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    if addresses.iter().any(|address| address.is_ipv4() && address.is_loopback()) {
        addresses.retain(|address| address.is_ipv4() || !address.is_loopback());
    }
    addresses
}

/// The addresses of each name of a cluster that its state already has. An address that may belong to several names is listed for each.
fn previous_addresses(state: &ClusterState) -> Vec<NameState> {
    let EndpointSource::Dns { names, .. } = &state.config.endpoints else { return Vec::new() };
    names.iter().map(|name| NameState { addresses: state.resolved(name), ..NameState::default() }).collect()
}

/// Endpoints in order, each address once.
fn addresses(names: &[DnsName], known: &[NameState], first_only: bool) -> Vec<Endpoint> {
    let wanted = if first_only { 1 } else { usize::MAX };
    let mut found: Vec<_> = names
        .iter()
        .zip(known)
        .flat_map(|(name, known)| known.addresses.iter().take(wanted).map(|address| name.endpoint(*address)))
        .collect();
    found.sort();
    found.dedup_by(|one, other| one.address == other.address);
    found
}

#[cfg(test)]
pub(crate) mod tests;
