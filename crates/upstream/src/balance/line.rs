//! Weighted items on a line, each as long as its weight: endpoints of a locality, or localities. An item is picked by a point of the line, or in
//! turn.

use std::sync::atomic::{AtomicU64, Ordering};

/// The positions of items on a line.
#[derive(Debug)]
pub(super) struct Line {
    count: usize,
    /// The weights differ.
    weights: Option<Weights>,
    turn: Turn,
}

/// Weights on a line: an item's share of it is its weight.
#[derive(Debug)]
struct Weights {
    /// The end of each share.
    ends: Box<[u64]>,
    /// The step of round-robin: about the golden section of the line, so that the turns of an item are spread, and without a common divisor with
    /// its length, so that each point is visited once in a round.
    stride: u64,
}

/// The current turn, in a cache line of its own, since every worker writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Turn(AtomicU64);

impl Line {
    /// Items of these weights, after `turn` turns.
    pub(super) fn new(weights: &[u64], turn: u64) -> Self {
        Self { count: weights.len(), weights: Weights::new(weights), turn: Turn(AtomicU64::new(turn)) }
    }

    /// The number of turns so far.
    pub(super) fn turn(&self) -> u64 {
        self.turn.0.load(Ordering::Relaxed)
    }

    /// Whether all weights are equal.
    pub(super) fn is_even(&self) -> bool {
        self.weights.is_none()
    }

    /// The weight of an item; 1 if all are equal.
    pub(super) fn weight(&self, number: usize) -> u64 {
        let Some(Weights { ends, .. }) = &self.weights else { return 1 };
        let start = number.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        ends.get(number).map_or(1, |end| end - start)
    }

    /// The item at a point of the line; points beyond its end wrap around.
    pub(super) fn at(&self, point: u64) -> Option<usize> {
        let length = self.weights.as_ref().map_or(self.count as u64, Weights::total);
        let point = point.checked_rem(length)?;
        match &self.weights {
            None => usize::try_from(point).ok(),
            Some(weights) => Some(weights.ends.partition_point(|end| *end <= point)),
        }
    }

    /// The item whose turn it is.
    pub(super) fn next(&self) -> Option<usize> {
        let turn = self.turn.0.fetch_add(1, Ordering::Relaxed);
        self.at(self.weights.as_ref().map_or(turn, |weights| weights.point(turn)))
    }
}

impl Weights {
    fn new(weights: &[u64]) -> Option<Self> {
        let first = weights.first()?;
        if weights.iter().all(|weight| weight == first) {
            return None;
        }
        let mut end = 0_u64;
        let mut add = |weight: &u64| {
            end = end.saturating_add((*weight).max(1));
            end
        };
        let ends = weights.iter().map(&mut add).collect();
        Some(Self { ends, stride: stride(end) })
    }

    fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn point(&self, turn: u64) -> u64 {
        let total = u128::from(self.total().max(1));
        let point = (u128::from(turn) % total) * u128::from(self.stride) % total;
        u64::try_from(point).unwrap_or(0)
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
