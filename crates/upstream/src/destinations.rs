//! Destinations that clients name: clusters whose endpoints are the addresses of a name, found when a client asks for it (SE-09, and forward
//! proxies). A name is resolved once, every address is checked, and the connections of a destination belong to its name: they are never used for
//! another one that has the same address.

use crate::cluster::ClusterState;
use crate::dns::Dns;
use crate::endpoint::Endpoints;
use crate::reachable::{is_named, is_reachable};
use crate::tasks::Tasks;
use arc_swap::ArcSwapOption;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::{Cluster, ClusterId, DynamicEndpoints, Endpoint, EndpointAddress, EndpointSource, HostPattern};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use wire::address::AddressClass;
use wire::destination::DestinationHost;

/// Destinations that are kept; beyond, those that were used longest ago are forgotten.
const MOST: usize = 4096;
/// How many are forgotten at once, so that the search for the oldest ones is rare.
const FORGOTTEN: usize = MOST / 16;
/// The addresses of a name that are used at most.
const ADDRESSES: usize = 16;
/// The bounds of the time that an answer holds.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(300);

/// Why a destination cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The name is not one of the cluster's.
    #[error("`{0}` is not a name of {1}")]
    NotCovered(String, ClusterId),
    /// The name has no address.
    #[error("`{0}` cannot be resolved: {1}")]
    Unresolved(String, String),
    /// There was no answer in time.
    #[error("`{0}` was not resolved within {1:?}")]
    Timeout(String, Duration),
    /// No address may be connected to; with the last one of the answer, its class, and the answer where DNS gave it.
    #[error("the address {1} of `{0}` is not one of the internet ({2})")]
    Blocked(String, IpAddr, AddressClass, Option<Arc<Resolution>>),
}

/// What DNS answered for a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The addresses in the order of the answer; those that are refused have their class.
    pub addresses: Box<[(IpAddr, Option<AddressClass>)]>,
    /// How long the answer held when it came.
    pub ttl: Duration,
}

/// A destination that may be connected to.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its cluster.
    pub cluster: Arc<ClusterState>,
    /// What DNS answered for its name; `None` for an address.
    pub resolution: Option<Arc<Resolution>>,
}

impl DestinationError {
    /// What DNS answered, if there was an answer.
    pub fn into_resolution(self) -> Option<Arc<Resolution>> {
        match self {
            Self::Blocked(.., resolution) => resolution,
            Self::NotCovered(..) | Self::Unresolved(..) | Self::Timeout(..) => None,
        }
    }
}

/// All destinations.
#[derive(Debug)]
pub(crate) struct Destinations {
    known: Mutex<HashMap<Key, Arc<Known>, RandomState>>,
    /// Ticks with each use.
    clock: AtomicU64,
}

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Key {
    cluster: ClusterId,
    host: Box<str>,
    port: u16,
}

/// One destination.
#[derive(Debug, Default)]
struct Known {
    current: ArcSwapOption<Resolved>,
    /// Held while the name is resolved, so that it is resolved once for all who wait.
    resolving: AsyncMutex<()>,
    used: AtomicU64,
}

/// The cluster of a destination, and until when its addresses hold.
#[derive(Debug)]
struct Resolved {
    /// The configuration that it was made of.
    template: Arc<Cluster>,
    found: Found,
    until: Instant,
}

/// What destinations are found with.
#[derive(Clone, Copy)]
pub(crate) struct Finder<'a> {
    pub(crate) dns: &'a Arc<Dns>,
    pub(crate) tasks: &'a Tasks,
    pub(crate) endpoints: &'a Arc<Endpoints>,
    /// The client that asks.
    pub(crate) client: IpAddr,
}

impl Default for Destinations {
    fn default() -> Self {
        Self { known: Mutex::default(), clock: AtomicU64::new(1) }
    }
}

impl Destinations {
    /// The cluster of a destination, whose endpoints are the addresses of `host`. `template` is a cluster with dynamic endpoints.
    pub(crate) async fn find(
        &self,
        finder: Finder<'_>,
        template: &ClusterState,
        host: DestinationHost<'_>,
        port: u16,
        limit: Duration,
    ) -> Result<Found, DestinationError> {
        let EndpointSource::Dynamic(dynamic) = &template.config.endpoints else {
            return Err(DestinationError::NotCovered(host.to_string(), template.config.id.clone()));
        };
        check_name(&template.config, dynamic, host)?;
        let key = Key { cluster: template.config.id.clone(), host: host.to_string().into(), port };
        let known = self.known(key);
        if let Some(found) = known.current(&template.config) {
            return Ok(found);
        }
        let finding = async {
            let _turn = known.resolving.lock().await;
            if let Some(found) = known.current(&template.config) {
                return Ok(found);
            }
            let (addresses, ttl) = resolve(finder, host).await?;
            let checked = check(&addresses, dynamic);
            let endpoints = reachable(&checked, dynamic.port.unwrap_or(port));
            let is_name = matches!(host, DestinationHost::Name(_));
            let refused = checked.iter().rev().find_map(|(address, class)| Some((*address, (*class)?)));
            let resolution = is_name.then(|| Arc::new(Resolution { addresses: checked, ttl }));
            if !endpoints.is_empty() {
                return Ok(known.replace(&template.config, endpoints, ttl, resolution, finder.endpoints));
            }
            Err(match refused {
                Some((address, class)) => DestinationError::Blocked(host.to_string(), address, class, resolution),
                None => DestinationError::Unresolved(host.to_string(), "it has no addresses".to_owned()),
            })
        };
        let found = tokio::time::timeout(limit, finding).await;
        found.unwrap_or_else(|_| Err(DestinationError::Timeout(host.to_string(), limit)))
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        self.map().len()
    }

    fn known(&self, key: Key) -> Arc<Known> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut map = self.map();
        if let Some(known) = map.get(&key) {
            known.used.store(now, Ordering::Relaxed);
            return Arc::clone(known);
        }
        if map.len() >= MOST {
            forget_oldest(&mut map);
        }
        let known = Arc::<Known>::default();
        known.used.store(now, Ordering::Relaxed);
        map.insert(key, Arc::clone(&known));
        known
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Key, Arc<Known>, RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The cluster, if its addresses hold and its configuration is the current one.
    fn current(&self, template: &Arc<Cluster>) -> Option<Found> {
        let current = self.current.load();
        let current = current.as_ref().filter(|current| Arc::ptr_eq(&current.template, template))?;
        (Instant::now() < current.until).then(|| current.found.clone())
    }

    /// Puts a cluster with these endpoints in place of the one before. Endpoints whose addresses are unchanged stay, with their connections.
    fn replace(
        &self,
        template: &Arc<Cluster>,
        endpoints: Vec<Endpoint>,
        ttl: Duration,
        resolution: Option<Arc<Resolution>>,
        all: &Arc<Endpoints>,
    ) -> Found {
        // Ejections and their counts belong to clusters of the configuration.
        let cluster =
            Cluster { endpoints: EndpointSource::Static(endpoints.into()), outlier: None, ..(**template).clone() };
        let before = self.current.load_full();
        let before = before.as_ref().map(|before| &before.found.cluster);
        let state = Arc::new(ClusterState::of_destination(Arc::new(cluster), all, before.map(AsRef::as_ref)));
        let until = Instant::now() + ttl.clamp(SOONEST, LATEST);
        let found = Found { cluster: Arc::clone(&state), resolution };
        let resolved = Resolved { template: Arc::clone(template), found: found.clone(), until };
        self.current.store(Some(Arc::new(resolved)));
        if let Some(before) = before {
            before.replaced_by(Some(&state));
            state.carry_over_limits(before);
        }
        found
    }
}

/// Forgets those without an address, since anybody can ask for any number of names that have none, or else those that were used longest ago. Requests
/// under way end normally; idle connections are closed.
fn forget_oldest(map: &mut HashMap<Key, Arc<Known>, RandomState>) {
    let is_resolved = |known: &Known| known.current.load().is_some();
    let unresolved = map.len() - map.values().filter(|known| is_resolved(known)).count();
    let is_candidate = |known: &Known| unresolved == 0 || !is_resolved(known);
    let mut used: Vec<u64> =
        map.values().filter(|known| is_candidate(known)).map(|known| known.used.load(Ordering::Relaxed)).collect();
    let last = FORGOTTEN.min(used.len().saturating_sub(1));
    let (_, limit, _) = used.select_nth_unstable(last);
    let limit = *limit;
    map.retain(|_, known| {
        let keep = !is_candidate(known) || known.used.load(Ordering::Relaxed) > limit;
        if !keep && let Some(resolved) = known.current.load_full() {
            resolved.found.cluster.replaced_by(None);
        }
        keep
    });
}

/// A name has to be one of the cluster's. An address is accepted if it is named, or if the cluster is for all destinations.
fn check_name(
    cluster: &Cluster,
    dynamic: &DynamicEndpoints,
    host: DestinationHost<'_>,
) -> Result<(), DestinationError> {
    let pattern = HostPattern::parse(&cluster.host);
    let covers = match host {
        DestinationHost::Name(name) => {
            pattern.is_ok_and(|pattern| pattern.covers(&HostPattern::Exact(name.to_ascii_lowercase().into())))
        }
        DestinationHost::Address(address) => pattern == Ok(HostPattern::Any) || is_named(address, &dynamic.allowed),
    };
    if covers { Ok(()) } else { Err(DestinationError::NotCovered(host.to_string(), cluster.id.clone())) }
}

/// The addresses of a name, and how long they hold.
async fn resolve(finder: Finder<'_>, host: DestinationHost<'_>) -> Result<(Vec<IpAddr>, Duration), DestinationError> {
    let name = match host {
        DestinationHost::Address(address) => return Ok((vec![address], LATEST)),
        DestinationHost::Name(name) => name.to_owned(),
    };
    // In a task of the control side: the resolver's connections must not belong to a worker.
    let (mut send, receive) = oneshot::channel();
    let (dns, asked, client) = (Arc::clone(finder.dns), name.clone(), finder.client);
    finder.tasks.spawn(async move {
        tokio::select! {
            // Nobody waits any more.
            () = send.closed() => {}
            answer = dns.lookup_absolute(&asked, client) => drop(send.send(answer)),
        }
    });
    let answer = receive.await.unwrap_or_else(|_| Err("the resolver has stopped".to_owned()));
    answer.map_err(|error| DestinationError::Unresolved(name, error))
}

/// The addresses, those that may not be connected to with their class.
fn check(addresses: &[IpAddr], dynamic: &DynamicEndpoints) -> Box<[(IpAddr, Option<AddressClass>)]> {
    addresses.iter().map(|address| (*address, is_reachable(*address, &dynamic.allowed).err())).collect()
}

/// The endpoints at the addresses that may be connected to.
fn reachable(checked: &[(IpAddr, Option<AddressClass>)], port: u16) -> Vec<Endpoint> {
    let allowed = checked.iter().filter(|(_, class)| class.is_none()).take(ADDRESSES);
    let endpoint = |address: IpAddr| Endpoint {
        address: EndpointAddress::Ip(SocketAddr::new(address, port)),
        weight: 1,
        locality: None,
        priority: 0,
    };
    allowed.map(|(address, _)| endpoint(*address)).collect()
}

#[cfg(test)]
mod tests;
