//! All clusters of the process by slot: a number that stays for the life of a cluster's id, so that route tables hold plain integers.

use crate::cluster::ClusterState;
use crate::dns::Dns;
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::{Cluster, ClusterId, Delta, Snapshot};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Slots per chunk: what one changed cluster copies.
const CHUNK: usize = 256;

type Chunk = [Option<Arc<ClusterState>>; CHUNK];

/// How names are resolved.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Name servers in place of the system's.
    pub name_servers: Vec<SocketAddr>,
}

/// All clusters. Workers read it without a lock; the control side changes it.
#[derive(Debug)]
pub struct Upstream {
    chunks: ArcSwap<Vec<Arc<Chunk>>>,
    slots: Mutex<Slots>,
    dns: Arc<Dns>,
}

#[derive(Debug, Default)]
struct Slots {
    by_id: HashMap<ClusterId, u32, RandomState>,
}

impl Upstream {
    /// No clusters yet. Names are resolved on `runtime`.
    pub fn new(settings: &Settings, runtime: tokio::runtime::Handle) -> Arc<Self> {
        let dns = Arc::new(Dns::new(runtime, &settings.name_servers));
        Arc::new(Self { chunks: ArcSwap::default(), slots: Mutex::default(), dns })
    }

    /// The slot of an id, the same in every call.
    pub fn slot(&self, id: &ClusterId) -> u32 {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.by_id.get(id) {
            return *slot;
        }
        let slot = u32::try_from(slots.by_id.len()).unwrap_or(u32::MAX);
        slots.by_id.insert(id.clone(), slot);
        slot
    }

    /// The cluster of a slot, if the configuration has it now.
    pub fn cluster(&self, slot: u32) -> Option<Arc<ClusterState>> {
        let slot = slot as usize;
        let state = self.chunks.load().get(slot / CHUNK)?.get(slot % CHUNK)?.clone()?;
        Some(state)
    }

    /// Begins to resolve a cluster's names, if it has any and nobody has.
    pub fn begin_resolving(&self, state: &Arc<ClusterState>) {
        self.dns.begin(state);
    }

    /// Takes over a snapshot. Endpoints keep their identity where their address stays.
    pub fn apply(&self, snapshot: &Snapshot, delta: &Delta) {
        let mut next = Vec::clone(&self.chunks.load_full());
        match &delta.changes {
            Some(changes) => {
                for id in &changes.clusters {
                    self.put(&mut next, id, snapshot.clusters.get(id));
                }
            }
            None => {
                for (id, cluster) in &snapshot.clusters {
                    self.put(&mut next, id, Some(cluster));
                }
                for id in self.ids_not_in(snapshot) {
                    self.put(&mut next, &id, None);
                }
            }
        }
        self.chunks.store(Arc::new(next));
    }

    fn ids_not_in(&self, snapshot: &Snapshot) -> Vec<ClusterId> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.by_id.keys().filter(|id| !snapshot.clusters.contains_key(*id)).cloned().collect()
    }

    fn put(&self, chunks: &mut Vec<Arc<Chunk>>, id: &ClusterId, cluster: Option<&Arc<Cluster>>) {
        let slot = self.slot(id) as usize;
        while chunks.len() <= slot / CHUNK {
            chunks.push(Arc::new([const { None }; CHUNK]));
        }
        let Some(place) = chunks.get_mut(slot / CHUNK).map(Arc::make_mut).and_then(|chunk| chunk.get_mut(slot % CHUNK))
        else {
            return;
        };
        match (cluster, place.as_ref()) {
            (Some(cluster), Some(before)) if Arc::ptr_eq(cluster, &before.cluster) || **cluster == *before.cluster => {}
            (Some(cluster), before) => {
                let state = Arc::new(ClusterState::new(Arc::clone(cluster), before.map(AsRef::as_ref)));
                if before.is_some_and(|before| before.endpoints().is_some()) {
                    // It was in use, so its names are wanted at once.
                    self.dns.begin(&state);
                }
                *place = Some(state);
            }
            (None, before) => {
                if let Some(before) = before {
                    before.retire();
                }
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
