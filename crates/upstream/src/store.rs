//! All clusters of the process by slot: a number that stays for the life of a cluster's id, so that route tables hold plain integers.

use crate::cluster::{ClusterState, Ejections, UsageCounts};
use crate::destinations::{DestinationError, Destinations, Finder, Found};
use crate::dns::{Dns, DnsBounds, Unresolved, build_resolver};
use crate::ejection;
use crate::endpoint::Endpoints;
use crate::fetch::{Blocked, FetchError, FetchRequest, Fetcher};
use crate::tasks::Tasks;
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::{Cluster, ClusterId, Delta, Snapshot};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::destination::DestinationHost;

/// Slots per chunk. A change of one cluster copies one chunk.
const CHUNK: usize = 256;

type Chunk = [Option<Arc<ClusterState>>; CHUNK];

/// How names are resolved.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Name servers in place of the system's.
    pub name_servers: Vec<SocketAddr>,
    /// Connections to all endpoints; requests that need a further one are answered 503 `UO`. `None` is any number.
    pub connections: Option<usize>,
    /// Addresses that documents are not fetched from.
    pub blocked: Blocked,
}

/// All clusters. Workers read it without a lock; the control side changes it.
#[derive(Debug)]
pub struct UpstreamStore {
    chunks: ArcSwap<Vec<Arc<Chunk>>>,
    slots: Mutex<Slots>,
    endpoints: Arc<Endpoints>,
    dns: Arc<Dns>,
    destinations: Destinations,
    fetcher: Fetcher,
    /// Name resolution, outlier detection and fetches. They are aborted when the store is dropped.
    tasks: Arc<Tasks>,
}

#[derive(Debug, Default)]
struct Slots {
    by_id: HashMap<ClusterId, u32, RandomState>,
}

/// A change, prepared on a copy of what workers read.
struct Change<'a> {
    upstream: &'a UpstreamStore,
    chunks: Vec<Arc<Chunk>>,
    /// The states that are replaced or removed, with their replacements.
    replaced: Vec<(Arc<ClusterState>, Option<Arc<ClusterState>>)>,
}

impl UpstreamStore {
    /// A store without clusters. Names are resolved, and endpoints are ejected and restored, in tasks on `runtime`. The tasks are aborted when the
    /// store is dropped.
    pub fn new(settings: &Settings, runtime: tokio::runtime::Handle) -> Arc<Self> {
        let inside = runtime.enter();
        let resolver = build_resolver(&settings.name_servers);
        drop(inside);
        let tasks = Arc::new(Tasks::new(runtime));
        let dns = Arc::new(Dns::new(Arc::clone(&tasks), resolver, DnsBounds::default()));
        let destinations = Destinations::default();
        let (chunks, slots, endpoints) = (ArcSwap::default(), Mutex::default(), Arc::<Endpoints>::default());
        endpoints.limit(settings.connections);
        let fetcher = Fetcher::new(settings.blocked.clone());
        Arc::new(Self { chunks, slots, endpoints, dns, destinations, fetcher, tasks })
    }

    /// The slot of an id, the same in every call.
    pub fn slot(&self, id: &ClusterId) -> u32 {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).intern(id)
    }

    /// The cluster of a slot, if the current configuration has one.
    pub fn cluster(&self, slot: u32) -> Option<Arc<ClusterState>> {
        let slot = slot as usize;
        self.chunks.load().get(slot / CHUNK)?.get(slot % CHUNK)?.clone()
    }

    /// Starts to resolve the names of a cluster, unless the cluster has none or the resolution has started.
    pub fn begin_resolving(&self, state: &Arc<ClusterState>) {
        self.dns.begin(state);
    }

    /// Runs a task on the runtime of the control side. The task is aborted when the store is dropped, so a task must not keep
    /// the store alive.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// The document at a URL: the body of a response with the status 200. No redirect is followed.
    pub async fn fetch(&self, request: FetchRequest<'_>) -> Result<Vec<u8>, FetchError> {
        self.fetcher.fetch(&self.dns, request).await
    }

    /// The cluster of a destination that a client names: its endpoints are the addresses of `host`, each of which is checked. `template` is a
    /// cluster with dynamic endpoints; `client` is the address of the client, which has its share of the lookups.
    pub async fn destination(
        &self,
        template: &ClusterState,
        host: DestinationHost<'_>,
        port: u16,
        client: IpAddr,
        limit: Duration,
    ) -> Result<Found, DestinationError> {
        let finder = Finder { dns: &self.dns, tasks: &self.tasks, endpoints: &self.endpoints, client };
        self.destinations.find(finder, template, host, port, limit).await
    }

    /// How many destinations that clients named are kept.
    pub fn count_destinations(&self) -> usize {
        self.destinations.count()
    }

    /// Names of clusters in use whose last query had no answer.
    pub fn unresolved(&self) -> Vec<Unresolved> {
        self.dns.unresolved()
    }

    /// The number of names of clusters in use whose last query had no answer.
    pub fn count_unresolved(&self) -> usize {
        self.dns.count_unresolved()
    }

    /// Starts the outlier detection task of a cluster. [`ClusterState::report`] states when the task is needed.
    pub fn watch(self: &Arc<Self>, state: &ClusterState) {
        let Some(detector) = state.outlier_detector() else { return };
        let (upstream, id, detector) = (Arc::downgrade(self), state.config.id.clone(), Arc::clone(detector));
        self.tasks.spawn(async move {
            // In the task, because a worker must not wait for a change of the slots.
            let Some(slot) = upstream.upgrade().map(|upstream| upstream.slot(&id)) else { return };
            ejection::run(detector, || upstream.upgrade()?.cluster(slot)).await;
        });
    }

    /// The counts of the clusters in use that have limits or outlier detection.
    pub fn counts(&self) -> Vec<(ClusterId, Option<UsageCounts>, Option<Ejections>)> {
        let chunks = self.chunks.load();
        let states = chunks.iter().flat_map(|chunk| chunk.iter().flatten());
        let counts = states.map(|state| (state.config.id.clone(), state.usage(), state.ejections()));
        counts.filter(|(_, usage, ejections)| usage.is_some() || ejections.is_some()).collect()
    }

    /// Applies a snapshot. An endpoint keeps its identity while its address stays. Removed endpoints are marked after the new clusters are
    /// published.
    pub fn apply(&self, snapshot: &Snapshot, delta: &Delta) {
        // Locked until the end, so that changes are applied one at a time.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut change = Change { upstream: self, chunks: Vec::clone(&self.chunks.load_full()), replaced: Vec::new() };
        match &delta.changes {
            Some(changes) => {
                for id in &changes.clusters {
                    change.put(slots.intern(id), snapshot.clusters.get(id));
                }
            }
            None => {
                for (id, slot) in &slots.by_id {
                    if !snapshot.clusters.contains_key(id) {
                        change.put(*slot, None);
                    }
                }
                for (id, cluster) in &snapshot.clusters {
                    change.put(slots.intern(id), Some(cluster));
                }
            }
        }
        change.publish();
    }
}

impl Slots {
    fn intern(&mut self, id: &ClusterId) -> u32 {
        if let Some(slot) = self.by_id.get(id) {
            return *slot;
        }
        let slot = u32::try_from(self.by_id.len()).unwrap_or(u32::MAX);
        self.by_id.insert(id.clone(), slot);
        slot
    }
}

impl Change<'_> {
    fn put(&mut self, slot: u32, cluster: Option<&Arc<Cluster>>) {
        let slot = slot as usize;
        let before = self.chunks.get(slot / CHUNK).and_then(|chunk| chunk.get(slot % CHUNK)).and_then(Option::as_ref);
        let next = match (cluster, before) {
            (None, None) => return,
            (Some(cluster), Some(before)) if Arc::ptr_eq(cluster, &before.config) || **cluster == *before.config => {
                return;
            }
            (None, Some(_)) => None,
            (Some(cluster), before) => {
                let before = before.map(AsRef::as_ref);
                Some(Arc::new(ClusterState::new(Arc::clone(cluster), &self.upstream.endpoints, before)))
            }
        };
        while self.chunks.len() <= slot / CHUNK {
            self.chunks.push(Arc::new([const { None }; CHUNK]));
        }
        let chunk = self.chunks.get_mut(slot / CHUNK).map(Arc::make_mut);
        let Some(place) = chunk.and_then(|chunk| chunk.get_mut(slot % CHUNK)) else { return };
        if let Some(before) = std::mem::replace(place, next.clone()) {
            self.replaced.push((before, next));
        }
    }

    fn publish(self) {
        self.upstream.chunks.store(Arc::new(self.chunks));
        for (before, next) in self.replaced {
            before.replaced_by(next.as_deref());
            if let Some(next) = &next {
                next.carry_over_limits(&before);
            }
            if let Some(next) = next.filter(|_| before.is_in_use()) {
                next.carry_over_health(&before);
                // The cluster is in use, so its names are resolved at once.
                self.upstream.dns.begin(&next);
            }
        }
    }
}

#[cfg(test)]
mod tests;
