//! Tables from hashes to endpoints: a ring or a Maglev table, with Envoy's layout (DR-11). When an endpoint is removed, about its own share of the
//! keys moves to other endpoints, and no other key.

use super::xxhash::xxhash64;
use crate::endpoint::EndpointState;
use ir::{EndpointAddress, HashTable};
use std::io::Write as _;
use std::sync::Arc;

/// The maximum number of points of a ring, as in Envoy.
const LARGEST_RING: u64 = 8 * 1024 * 1024;
/// A table with more entries than this is not built by workers. Building a smaller table takes about a millisecond.
const SMALL: u64 = 16 * 1024;
/// The approximate number of points in a part of a ring.
const POINTS_OF_PART: usize = 8;

/// An endpoint and its share of all weights.
pub(super) type Share = (Arc<EndpointState>, f64);

/// All endpoints.
pub(super) type Shares = Box<[Share]>;

/// Numbers of endpoints by hash.
#[derive(Debug)]
pub(super) enum Table {
    /// Points.
    Ring(Ring),
    /// The endpoint of each remainder.
    Maglev(Box<[u32]>),
}

/// A ring of points, each with the number of its endpoint.
#[derive(Debug)]
pub(super) struct Ring {
    /// Sorted by hash.
    points: Box<[(u64, u32)]>,
    /// The index of the first point of each of the equal parts of the ring. A lookup searches one part: a search of a large ring would miss the
    /// caches at each step.
    parts: Box<[u32]>,
    /// The number of leading bits of a hash that select a part.
    bits: u32,
}

impl Table {
    /// Whether a worker may build it, because that is quick.
    pub(super) fn is_small(kind: HashTable, shares: &Shares) -> bool {
        match kind {
            HashTable::Ring { minimum_size } => ring_scale(minimum_size, shares) <= SMALL as f64,
            // Several entries are probed for each entry.
            HashTable::Maglev { size } => size <= SMALL / 8,
        }
    }

    /// Builds a table.
    pub(super) fn build(kind: HashTable, shares: &Shares) -> Self {
        match kind {
            HashTable::Ring { minimum_size } => Self::Ring(ring(minimum_size, shares)),
            HashTable::Maglev { size } => Self::Maglev(maglev(size, shares)),
        }
    }

    /// The number of the endpoint of a hash. Each `attempt` finds another one.
    pub(super) fn find(&self, hash: u64, attempt: usize) -> Option<usize> {
        let owner = match self {
            Self::Ring(ring) => {
                let at = ring.behind(hash).checked_add(attempt)?.checked_rem(ring.points.len())?;
                ring.points.get(at).map(|(_, owner)| owner)
            }
            Self::Maglev(entries) => {
                let hash = if attempt == 0 { hash } else { hash ^ (attempt as u64).wrapping_neg() };
                entries.get(usize::try_from(hash.checked_rem(entries.len() as u64)?).ok()?)
            }
        };
        owner.and_then(|owner| usize::try_from(*owner).ok())
    }
}

/// The number of points of all endpoints, chosen so that the endpoint of least weight has a whole number of points.
fn ring_scale(minimum_size: u64, shares: &Shares) -> f64 {
    let least = shares.iter().map(|(_, share)| *share).fold(1.0, f64::min);
    let minimum = minimum_size.clamp(1, LARGEST_RING) as f64;
    ((least * minimum).ceil() / least).min(LARGEST_RING as f64)
}

fn ring(minimum_size: u64, shares: &Shares) -> Ring {
    let scale = ring_scale(minimum_size, shares);
    let mut points: Vec<(u64, u32)> = Vec::with_capacity(scale as usize + shares.len());
    let mut wanted = 0.0;
    for (number, (endpoint, share)) in (0_u32..).zip(shares) {
        let mut key = text(&endpoint.address);
        key.push(b'_');
        let name = key.len();
        wanted += scale * share;
        for copy in 0_u64.. {
            if points.len() as f64 >= wanted {
                break;
            }
            key.truncate(name);
            let _ = write!(key, "{copy}");
            points.push((xxhash64(&key, 0), number));
        }
    }
    points.sort_unstable();
    Ring::new(points)
}

impl Ring {
    fn new(points: Vec<(u64, u32)>) -> Self {
        let bits = (points.len() / POINTS_OF_PART).checked_ilog2().unwrap_or(0);
        let begin = |part: u64| {
            let first = part.checked_shl(u64::BITS - bits).unwrap_or(0);
            u32::try_from(points.partition_point(|(point, _)| *point < first)).unwrap_or(u32::MAX)
        };
        let parts = (0..1_u64 << bits).map(begin).collect();
        Self { points: points.into(), parts, bits }
    }

    /// The number of the first point that is not before a hash.
    fn behind(&self, hash: u64) -> usize {
        let part = usize::try_from(hash.checked_shr(u64::BITS - self.bits).unwrap_or(0)).unwrap_or(0);
        let begin = |part: usize| self.parts.get(part).map_or(self.points.len(), |begin| *begin as usize);
        let (from, to) = (begin(part), begin(part + 1));
        let points = self.points.get(from..to).unwrap_or_default();
        from + points.partition_point(|(point, _)| *point < hash)
    }
}

/// An endpoint's permutation through the table.
struct Permutation {
    place: u64,
    skip: u64,
    share: f64,
    /// The round of its next turn.
    due: f64,
}

fn maglev(size: u64, shares: &Shares) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let size = size.max(2);
    let most = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    let permutation = |(endpoint, share): &Share| {
        let key = text(&endpoint.address);
        let skip = xxhash64(&key, 1) % (size - 1) + 1;
        Permutation { place: xxhash64(&key, 0) % size, skip, share: *share, due: 0.0 }
    };
    let mut permutations: Vec<Permutation> = shares.iter().map(permutation).collect();
    let mut entries = vec![FREE; usize::try_from(size).unwrap_or(0)];
    let mut left = if permutations.is_empty() { 0 } else { entries.len() };
    let mut round = 1.0;
    let mut before = usize::MAX;
    // A round that fills no entry ends the loop. It occurs only if the size is not a prime number.
    while left > 0 && left < before {
        before = left;
        for (number, permutation) in (0_u32..).zip(&mut permutations) {
            // An endpoint of the largest weight has a turn in each round, others have fewer.
            if left == 0 || round * permutation.share < permutation.due {
                continue;
            }
            permutation.due += most;
            for _ in 0..size {
                let Some(entry) = usize::try_from(permutation.place).ok().and_then(|place| entries.get_mut(place))
                else {
                    break;
                };
                permutation.place = (permutation.place + permutation.skip) % size;
                if *entry == FREE {
                    *entry = number;
                    left -= 1;
                    break;
                }
            }
        }
        round += 1.0;
    }
    entries.into()
}

/// The text of an endpoint that is hashed.
fn text(address: &EndpointAddress) -> Vec<u8> {
    address.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dr_11_a_ring_in_parts_is_searched_as_one_that_is_whole() {
        for count in [0, 1, 7, 8, 100, 5000] {
            let mut points: Vec<(u64, u32)> =
                (0..count).map(|one: u32| (xxhash64(&one.to_le_bytes(), 3), one)).collect();
            points.sort_unstable();
            let ring = Ring::new(points.clone());
            let hashes = (0..2000_u32).map(|one| xxhash64(&one.to_le_bytes(), 4));
            for hash in hashes.chain([0, u64::MAX]).chain(points.iter().map(|(point, _)| *point)) {
                assert_eq!(ring.behind(hash), points.partition_point(|(point, _)| *point < hash), "{count} {hash}");
            }
        }
    }
}
