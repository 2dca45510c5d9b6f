//! Hosts by name, in shards that versions of a table share. Only [`crate::table`] uses it.

use crate::host::HostTable;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use ir::HostPattern;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

/// Hosts per shard, about, when a table is built: what one changed host copies.
const SHARD_SIZE: usize = 64;
/// Times that a shard may outgrow its size before the table is laid out anew.
const MAX_GROWTH: usize = 8;
const MAX_SHARDS: usize = 4096;

type Shard = HashTable<Arc<HostTable>>;

/// Hosts by the text of their pattern.
#[derive(Debug, Clone)]
pub(crate) struct HostMap {
    shards: Box<[Arc<Shard>]>,
    hasher: FixedState,
    count: usize,
    /// The longest name that was ever put here: longer ones are not looked for.
    longest: usize,
}

/// Names come from configuration and are looked up by names from the network: the seed is random per process, so that no client can choose
/// names that collide. It stays the same over versions of a table, which share shards.
fn hasher() -> FixedState {
    static SEED: OnceLock<u64> = OnceLock::new();
    FixedState::with_seed(*SEED.get_or_init(|| foldhash::quality::RandomState::default().hash_one(0)))
}

/// The text that a host is found by: of a wildcard what stands behind the `*`.
fn text(host: &HostTable) -> &str {
    match &host.pattern {
        HostPattern::Exact(text) | HostPattern::Suffix(text) => text,
        HostPattern::Any => "",
    }
}

impl HostMap {
    /// No hosts, with shards for about so many.
    pub(crate) fn with_room_for(count: usize) -> Self {
        let shards = (count / SHARD_SIZE).next_power_of_two().clamp(1, MAX_SHARDS);
        Self { shards: vec![Arc::default(); shards].into(), hasher: hasher(), count: 0, longest: 0 }
    }

    /// How many hosts there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// No name that is longer is here.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether the shards have become so large that a changed host would copy too much.
    pub(crate) fn is_outgrown(&self) -> bool {
        self.shards.len() < MAX_SHARDS && self.count > self.shards.len() * SHARD_SIZE * MAX_GROWTH
    }

    /// The shard of a hash. The map inside uses the lowest bits and the highest; these are between them.
    fn shard(&self, hash: u64) -> usize {
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    /// The host of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<HostTable>> {
        if self.count == 0 || name.len() > self.longest {
            return None;
        }
        let hash = self.hasher.hash_one(name);
        self.shards.get(self.shard(hash))?.find(hash, |host| text(host) == name)
    }

    /// Inserts a host, replacing the one of the same name.
    pub(crate) fn put(&mut self, host: Arc<HostTable>) {
        self.remove(text(&host));
        let hash = self.hasher.hash_one(text(&host));
        let (at, hasher) = (self.shard(hash), self.hasher.clone());
        let Some(shard) = self.shards.get_mut(at) else { return };
        self.count += 1;
        self.longest = self.longest.max(text(&host).len());
        Arc::make_mut(shard).insert_unique(hash, host, |host| hasher.hash_one(text(host)));
    }

    /// Removes a host, if it exists.
    pub(crate) fn remove(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        let at = self.shard(hash);
        let Some(shard) = self.shards.get_mut(at) else { return };
        if shard.find(hash, |host| text(host) == name).is_none() {
            return;
        }
        if let Ok(entry) = Arc::make_mut(shard).find_entry(hash, |host| text(host) == name) {
            entry.remove();
            self.count -= 1;
        }
    }

    /// How many shards are the very same as another version's.
    #[cfg(test)]
    pub(crate) fn shared_with(&self, other: &Self) -> (usize, usize) {
        let same = self.shards.iter().zip(&other.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        (same, self.shards.len())
    }
}
