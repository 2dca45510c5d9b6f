//! Picks the endpoint of a request (DR-10 to DR-14). Randomness is an argument.

mod hashing;
mod level;
mod line;
mod member;
mod table;
mod xxhash;

pub use hashing::TableNotReady;
pub(crate) use member::Member;
pub use xxhash::xxhash64;

use crate::endpoint::EndpointState;
use ir::{Balance, Balancer};
use level::{Inside, Level, levels};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The most weight changes while endpoints warm up.
const WARMUP_STEPS: u32 = 100;
/// The shortest time between two of them.
const SHORTEST_STEP: Duration = Duration::from_millis(10);

/// The endpoints of a cluster at one moment.
#[derive(Debug)]
pub struct EndpointList {
    /// All endpoints.
    all: Box<[Member]>,
    /// The endpoints that may be picked, by priority.
    levels: Box<[Level]>,
    /// Set while an endpoint warms up.
    warming: Option<Warming>,
}

/// Weights of a warm-up, valid for a while (DR-12).
#[derive(Debug)]
struct Warming {
    until: Instant,
    /// Whether a thread already computes the next weights.
    renewed: AtomicBool,
}

/// What a request contributes to the pick.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickContext<'a> {
    /// The hash of the request's key, where it has one (DR-11).
    pub hash: Option<u64>,
    /// Ids of endpoints that are picked only if there are no others.
    pub avoid: &'a [u64],
    /// Priorities to skip while others have endpoints (VS-41), one bit each.
    pub excluded: u32,
}

impl EndpointList {
    /// Builds the list from the endpoints that are not ejected now. Round-robin continues from `before`.
    pub(crate) fn new(mut all: Vec<Member>, balance: &Balance, before: Option<&Self>) -> Self {
        all.iter_mut().for_each(Member::update_ejected);
        let by_weight = matches!(balance.balancer, Balancer::RoundRobin | Balancer::LeastRequest);
        let now = Instant::now();
        let warmup = balance.warmup.filter(|_| by_weight);
        let warmup = warmup.filter(|warmup| all.iter().any(|member| !member.ejected && member.is_young(warmup, now)));
        let weight = |member: &Member| match &warmup {
            None => u64::from(member.weight.max(1)),
            Some(warmup) => member.weight_at(warmup, now),
        };
        let weighed = all.iter().map(|member| (member, weight(member))).collect();
        let levels = levels(weighed, balance, before.map_or(&[], |before| &before.levels));
        let warming = warmup.map(|warmup| Warming {
            until: now + (warmup.duration / WARMUP_STEPS).max(SHORTEST_STEP),
            renewed: AtomicBool::new(false),
        });
        Self { all: all.into(), levels, warming }
    }

    /// The same endpoints, without those that are ejected now.
    pub(crate) fn rebalanced(&self, balance: &Balance) -> Self {
        Self::new(self.all.to_vec(), balance, Some(self))
    }

    /// Whether the weights have to be recomputed, and no other thread does so.
    pub(crate) fn is_due(&self) -> bool {
        let is_due = |warming: &Warming| {
            !warming.renewed.load(Ordering::Relaxed)
                && warming.until <= Instant::now()
                && !warming.renewed.swap(true, Ordering::Relaxed)
        };
        self.warming.as_ref().is_some_and(is_due)
    }

    /// All endpoints.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.all.iter().map(|member| &member.endpoint)
    }

    /// The number of endpoints.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is no endpoint.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All endpoints with their weights and localities.
    pub(crate) fn members(&self) -> &[Member] {
        &self.all
    }

    /// Picks an endpoint; `None` when there is none to pick.
    pub fn pick(
        &self,
        balancer: &Balancer,
        random: &mut dyn FnMut() -> u64,
        wanted: PickContext<'_>,
    ) -> Result<Option<Arc<EndpointState>>, TableNotReady> {
        let hash = match balancer {
            Balancer::ConsistentHash(_) => wanted.hash.unwrap_or_else(&mut *random),
            Balancer::LeastRequest | Balancer::RoundRobin | Balancer::Random => 0,
        };
        let level = match &*self.levels {
            [] => return Ok(None),
            [only] => only,
            levels => {
                let by_hash = matches!(balancer, Balancer::ConsistentHash(_));
                let point = if by_hash { hash } else { random() } % 100;
                let usual = || levels.iter().find(|level| point < level.end);
                let others = (wanted.excluded != 0).then(|| level::others(levels, wanted.excluded, point)).flatten();
                let Some(level) = others.or_else(usual) else { return Ok(None) };
                level
            }
        };
        let (groups, line) = match &level.inside {
            Inside::Hashing(hashing) => return hashing.pick(hash, wanted.avoid),
            Inside::Groups { groups, line } => (groups, line),
        };
        let group = match &**groups {
            [only] => Some(only),
            _ if *balancer == Balancer::RoundRobin => line.next().and_then(|number| groups.get(number)),
            _ => line.at(random()).and_then(|number| groups.get(number)),
        };
        Ok(group.and_then(|group| group.pick(balancer, random, wanted.avoid)).map(Arc::clone))
    }

    /// The bit of an endpoint's priority; 0 beyond the thirty-second priority.
    pub(crate) fn priority_bit(&self, id: u64) -> u32 {
        let member = self.all.iter().find(|member| member.endpoint.id == id);
        member.and_then(|member| 1_u32.checked_shl(member.priority)).unwrap_or(0)
    }

    /// Waits until the hash tables are built (DR-11).
    pub(crate) async fn wait_for_table(&self) {
        for level in &self.levels {
            if let Inside::Hashing(hashing) = &level.inside {
                hashing.wait().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
