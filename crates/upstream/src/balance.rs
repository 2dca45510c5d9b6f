//! Which endpoint takes the next request (DR-10). Randomness is an argument.

use crate::endpoint::EndpointState;
use ir::Balance;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Choices that may fall on the endpoint to be avoided before its neighbour is taken.
const TRIES: usize = 3;

/// The endpoints of a cluster at one moment.
#[derive(Debug)]
pub struct EndpointList {
    /// All of them, with their weights.
    all: Box<[(Arc<EndpointState>, u32)]>,
    /// Those that may be chosen: not ejected when the list was made.
    endpoints: Box<[Arc<EndpointState>]>,
    /// When the weights of these differ.
    weights: Option<Weights>,
    turn: Turn,
}

/// Weights laid out on a line: an endpoint's share of it is its weight.
#[derive(Debug)]
struct Weights {
    /// Where each endpoint's share ends.
    ends: Box<[u64]>,
    /// How far round-robin walks on the line each time: about the golden section of it, so that neighbouring turns are far apart and an
    /// endpoint's turns are spread, and without a common divisor, so that each place comes once in a round.
    stride: u64,
}

/// Whose turn it is. In a cache line of its own: every worker writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Turn(AtomicU64);

impl EndpointList {
    /// Endpoints and their weights. Round-robin goes on where `before` was. Where fewer than `panic` of a hundred are not ejected, all
    /// are used (DR-30 `minHealthPercent`).
    pub(crate) fn new(all: Vec<(Arc<EndpointState>, u32)>, panic: u32, before: Option<&Self>) -> Self {
        let mut healthy: Vec<_> = all.iter().filter(|(endpoint, _)| !endpoint.is_ejected()).cloned().collect();
        if 100 * healthy.len() < all.len() * panic as usize {
            healthy.clone_from(&all);
        }
        let weights = Weights::new(&healthy);
        let turn = before.map_or(0, |before| before.turn.0.load(Ordering::Relaxed));
        let endpoints = healthy.into_iter().map(|(endpoint, _)| endpoint).collect();
        Self { all: all.into(), endpoints, weights, turn: Turn(AtomicU64::new(turn)) }
    }

    /// The same endpoints, chosen by which of them are ejected now.
    pub(crate) fn rebalanced(&self, panic: u32) -> Self {
        Self::new(self.all.to_vec(), panic, Some(self))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.all.iter().map(|(endpoint, _)| endpoint)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them with their weights.
    pub(crate) fn weighted(&self) -> &[(Arc<EndpointState>, u32)] {
        &self.all
    }

    /// The weight of one that may be chosen; 1 where all are equal.
    fn weight(&self, number: usize) -> u64 {
        let Some(Weights { ends, .. }) = &self.weights else { return 1 };
        let start = number.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        ends.get(number).map_or(1, |end| end - start)
    }

    /// Chooses an endpoint; those whose ids are in `avoid` are not taken when others are found.
    pub fn pick(
        &self,
        balance: Balance,
        random: &mut dyn FnMut() -> u64,
        avoid: &[u64],
    ) -> Option<&Arc<EndpointState>> {
        if let [only] = &*self.endpoints {
            return Some(only);
        }
        let mut number = 0;
        for _ in 0..TRIES {
            number = self.pick_number(balance, random)?;
            let picked = self.endpoints.get(number)?;
            if !avoid.contains(&picked.id) {
                return Some(picked);
            }
        }
        self.endpoints.get((number + 1) % self.endpoints.len())
    }

    fn pick_number(&self, balance: Balance, random: &mut dyn FnMut() -> u64) -> Option<usize> {
        match balance {
            Balance::Random => self.at(random()),
            Balance::RoundRobin => {
                let turn = self.turn.0.fetch_add(1, Ordering::Relaxed);
                self.at(self.weights.as_ref().map_or(turn, |weights| weights.place(turn)))
            }
            Balance::LeastRequest => {
                let one = self.at(random())?;
                let other = self.other_than(one, random())?;
                Some(if self.is_less_loaded(other, one) { other } else { one })
            }
        }
    }

    /// The endpoint at a place on the line of all weights.
    fn at(&self, place: u64) -> Option<usize> {
        let length = self.weights.as_ref().map_or(self.endpoints.len() as u64, Weights::total);
        let place = place.checked_rem(length)?;
        match &self.weights {
            None => usize::try_from(place).ok(),
            Some(weights) => Some(weights.ends.partition_point(|end| *end <= place)),
        }
    }

    /// The second choice. Where all weights are equal it is another one for sure.
    fn other_than(&self, one: usize, random: u64) -> Option<usize> {
        if self.weights.is_some() {
            return self.at(random);
        }
        let others = (self.endpoints.len() as u64).checked_sub(1)?;
        let step = usize::try_from(random.checked_rem(others)?).ok()? + 1;
        Some((one + step) % self.endpoints.len())
    }

    /// Whether `one` has fewer requests for its weight. When idle, neither has: the first choice stays, which is by weight alone.
    fn is_less_loaded(&self, one: usize, other: usize) -> bool {
        let active = |number: usize| self.endpoints.get(number).map_or(0, |endpoint| u64::from(endpoint.active()));
        active(one).saturating_mul(self.weight(other)) < active(other).saturating_mul(self.weight(one))
    }
}

impl Weights {
    fn new(endpoints: &[(Arc<EndpointState>, u32)]) -> Option<Self> {
        let (_, first) = endpoints.first()?;
        if endpoints.iter().all(|(_, weight)| weight == first) {
            return None;
        }
        let mut end = 0_u64;
        let mut add = |weight: u32| {
            end += u64::from(weight.max(1));
            end
        };
        let ends = endpoints.iter().map(|(_, weight)| add(*weight)).collect();
        Some(Self { ends, stride: stride(end) })
    }

    fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn place(&self, turn: u64) -> u64 {
        let total = u128::from(self.total().max(1));
        let place = (u128::from(turn) % total) * u128::from(self.stride) % total;
        u64::try_from(place).unwrap_or(0)
    }
}

/// The number nearest above the golden section of `total` that has no divisor in common with it.
fn stride(total: u64) -> u64 {
    let golden = u64::try_from(u128::from(total) * 618_034 / 1_000_000).unwrap_or(1).max(1);
    (golden..).find(|stride| greatest_common_divisor(*stride, total) == 1).unwrap_or(1)
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests;
