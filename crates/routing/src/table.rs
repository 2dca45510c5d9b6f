//! The table of one HTTP listener: hosts by name, and each host's rules.
//!
//! Tables are immutable and share what did not change: hosts lie in shards behind `Arc`, and one changed host costs a copy of its
//! shard. The control side builds them; workers only read.

use crate::candidates::{Candidates, FEW};
use crate::judge::judge;
use crate::route::RouteEntry;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ir::{ClusterId, Host, HostPattern, HttpListener};
use std::hash::BuildHasher;
use std::sync::Arc;
use wire::view::RequestView;

/// Gives a cluster's slot: a number that stays for the life of its id.
pub type Slots<'a> = &'a mut dyn FnMut(&ClusterId) -> u32;

type Shard = HashMap<Arc<str>, Arc<HostTable>, Hasher>;

/// Hosts per shard, about, when a table is built: what one changed host copies.
const SHARD_SIZE: usize = 64;
const MAX_SHARDS: usize = 4096;

/// Names come from configuration, and are looked for by names from the network: the seed is the process's own, so that nobody can choose
/// names that collide.
#[derive(Debug, Clone)]
struct Hasher(FixedState);

impl Default for Hasher {
    fn default() -> Self {
        static SEED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        let seed = *SEED.get_or_init(|| foldhash::quality::RandomState::default().hash_one(0));
        Self(FixedState::with_seed(seed))
    }
}

impl BuildHasher for Hasher {
    type Hasher = foldhash::fast::FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// Hosts by name, in shards.
#[derive(Debug, Clone)]
struct Names {
    shards: Box<[Arc<Shard>]>,
    hasher: Hasher,
    count: usize,
}

impl Names {
    fn with_room_for(count: usize) -> Self {
        let shards = (count / SHARD_SIZE).next_power_of_two().clamp(1, MAX_SHARDS);
        Self { shards: vec![Arc::default(); shards].into(), hasher: Hasher::default(), count: 0 }
    }

    fn shard(&self, name: &str) -> usize {
        // The map below uses the low bits; these are the high ones.
        (self.hasher.hash_one(name) >> 40) as usize & (self.shards.len() - 1)
    }

    fn get(&self, name: &str) -> Option<&Arc<HostTable>> {
        if self.count == 0 {
            return None;
        }
        self.shards.get(self.shard(name))?.get(name)
    }

    fn put(&mut self, name: &Arc<str>, host: Option<Arc<HostTable>>) {
        let at = self.shard(name);
        let Some(shard) = self.shards.get_mut(at) else { return };
        let shard = Arc::make_mut(shard);
        let before = match host {
            Some(host) => {
                self.count += 1;
                shard.insert(Arc::clone(name), host)
            }
            None => shard.remove(name),
        };
        self.count -= usize::from(before.is_some());
    }
}

/// One host and its rules.
#[derive(Debug)]
pub struct HostTable {
    /// The host.
    pub pattern: HostPattern,
    /// Its rules in their order.
    pub rules: Box<[Arc<RouteEntry>]>,
    candidates: Option<Box<Candidates>>,
}

impl HostTable {
    fn build(host: &Host, slots: Slots<'_>) -> Self {
        let rules: Box<[_]> = host.routes.iter().map(|route| Arc::new(RouteEntry::build(route, slots))).collect();
        let candidates = (rules.len() > FEW).then(|| Box::new(Candidates::build(&rules)));
        Self { pattern: host.pattern.clone(), rules, candidates }
    }

    /// The number of the first rule that takes a request.
    pub fn first_match(&self, view: &RequestView<'_>) -> Option<usize> {
        let takes = |number: usize| self.rules.get(number).is_some_and(|rule| judge(&rule.route.matches, view).is_ok());
        match &self.candidates {
            None => (0..self.rules.len()).find(|number| takes(*number)),
            Some(candidates) => {
                candidates.first(view.path, |number| takes(number as usize)).map(|number| number as usize)
            }
        }
    }
}

/// The table of one listener.
#[derive(Debug, Clone)]
pub struct Table {
    exact: Names,
    /// By the text behind the `*`, which begins with a dot.
    suffixes: Names,
    any: Option<Arc<HostTable>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Pick<'a> {
    /// This route takes it.
    Route(&'a Arc<RouteEntry>),
    /// The host is there, and none of its rules takes it: 404.
    NoRoute(&'a HostTable),
    /// There is no such host: 404.
    NoHost,
}

impl Table {
    /// The table of a listener.
    pub fn build(listener: &HttpListener, slots: Slots<'_>) -> Self {
        let suffixes = listener.hosts.keys().filter(|pattern| matches!(pattern, HostPattern::Suffix(_))).count();
        let mut table = Self {
            exact: Names::with_room_for(listener.hosts.size()),
            suffixes: Names::with_room_for(suffixes),
            any: None,
        };
        for (pattern, host) in &listener.hosts {
            table.put(pattern, Some(Arc::new(HostTable::build(host, slots))));
        }
        table
    }

    /// The table after some hosts changed, sharing the others. It is built anew when it grew out of its shards.
    pub fn update(&self, listener: &HttpListener, changed: &[HostPattern], slots: Slots<'_>) -> Self {
        if listener.hosts.size() > self.exact.shards.len() * SHARD_SIZE * 8 && self.exact.shards.len() < MAX_SHARDS {
            return Self::build(listener, slots);
        }
        let mut next = self.clone();
        for pattern in changed {
            let host = listener.hosts.get(pattern).map(|host| Arc::new(HostTable::build(host, slots)));
            next.put(pattern, host);
        }
        next
    }

    fn put(&mut self, pattern: &HostPattern, host: Option<Arc<HostTable>>) {
        match pattern {
            HostPattern::Exact(name) => self.exact.put(name, host),
            HostPattern::Suffix(suffix) => self.suffixes.put(suffix, host),
            HostPattern::Any => self.any = host,
        }
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.exact.count + self.suffixes.count + usize::from(self.any.is_some())
    }

    /// The most specific host that covers a name: the name itself, the longest wildcard, `*` (S-34).
    pub fn host(&self, name: &str) -> Option<&HostTable> {
        if let Some(host) = self.exact.get(name) {
            return Some(host);
        }
        if self.suffixes.count > 0 {
            // A wildcard stands for at least one character, so that a name's own first dot does not count.
            for (at, _) in name.match_indices('.').filter(|(at, _)| *at > 0) {
                if let Some(host) = name.get(at..).and_then(|suffix| self.suffixes.get(suffix)) {
                    return Some(host);
                }
            }
        }
        self.any.as_deref()
    }

    /// The route that takes a request.
    pub fn pick(&self, view: &RequestView<'_>) -> Pick<'_> {
        let Some(host) = self.host(view.host) else { return Pick::NoHost };
        match host.first_match(view).and_then(|number| host.rules.get(number)) {
            Some(rule) => Pick::Route(rule),
            None => Pick::NoRoute(host),
        }
    }
}
