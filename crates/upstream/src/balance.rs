//! Which endpoint takes the next request (DR-10).

use crate::endpoint::EndpointState;
use ir::Balance;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The endpoints of a cluster at one moment.
#[derive(Debug)]
pub struct EndpointList {
    endpoints: Box<[Arc<EndpointState>]>,
    /// Sums of the weights, when they differ.
    cumulative: Option<Box<[u64]>>,
}

impl EndpointList {
    /// Endpoints and their weights.
    pub fn new(endpoints: Vec<(Arc<EndpointState>, u32)>) -> Self {
        let first = endpoints.first().map_or(1, |(_, weight)| *weight);
        let differ = endpoints.iter().any(|(_, weight)| *weight != first);
        let mut sum = 0;
        let mut add = |weight: u32| {
            sum += u64::from(weight.max(1));
            sum
        };
        let cumulative = differ.then(|| endpoints.iter().map(|(_, weight)| add(*weight)).collect());
        Self { endpoints: endpoints.into_iter().map(|(endpoint, _)| endpoint).collect(), cumulative }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.endpoints.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The endpoint at a place on the line of all weights.
    fn at(&self, place: u64) -> Option<&Arc<EndpointState>> {
        let number = match &self.cumulative {
            None => usize::try_from(place % self.endpoints.len().max(1) as u64).unwrap_or(0),
            Some(sums) => {
                let place = place % sums.last().copied().unwrap_or(1);
                sums.partition_point(|sum| *sum <= place)
            }
        };
        self.endpoints.get(number)
    }

    /// Chooses an endpoint; `avoid` is not taken when there is another one.
    pub fn pick(
        &self,
        balance: Balance,
        cursor: &AtomicUsize,
        random: &mut dyn FnMut() -> u64,
        avoid: Option<u64>,
    ) -> Option<&Arc<EndpointState>> {
        if let [only] = &*self.endpoints {
            return Some(only);
        }
        let first = self.pick_one(balance, cursor, random)?;
        if avoid != Some(first.id) {
            return Some(first);
        }
        self.endpoints.iter().find(|endpoint| avoid != Some(endpoint.id)).or(Some(first))
    }

    fn pick_one(
        &self,
        balance: Balance,
        cursor: &AtomicUsize,
        random: &mut dyn FnMut() -> u64,
    ) -> Option<&Arc<EndpointState>> {
        match balance {
            Balance::Random => self.at(random()),
            Balance::RoundRobin => self.at(cursor.fetch_add(1, Ordering::Relaxed) as u64),
            Balance::LeastRequest => {
                let (one, other) = (self.at(random())?, self.at(random())?);
                Some(if other.active() < one.active() { other } else { one })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::InFlight;
    use ir::EndpointAddress;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    fn list(weights: &[u32]) -> EndpointList {
        let endpoint = |(port, weight): (usize, &u32)| {
            let address = EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], port as u16 + 1)));
            (Arc::new(EndpointState::new(address)), *weight)
        };
        EndpointList::new(weights.iter().enumerate().map(endpoint).collect())
    }

    /// SplitMix64: the same sequence in every run.
    fn seeded() -> impl FnMut() -> u64 {
        let mut state = 42_u64;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    fn counts(list: &EndpointList, balance: Balance, picks: usize) -> Vec<usize> {
        let (cursor, mut random) = (AtomicUsize::new(0), seeded());
        let mut counts: BTreeMap<u64, usize> = list.iter().map(|endpoint| (endpoint.id, 0)).collect();
        for _ in 0..picks {
            let picked = list.pick(balance, &cursor, &mut random, None).unwrap();
            *counts.entry(picked.id).or_default() += 1;
        }
        counts.into_values().collect()
    }

    #[test]
    fn round_robin_takes_turns_by_weight() {
        assert_eq!(counts(&list(&[1, 1, 1]), Balance::RoundRobin, 30), [10, 10, 10]);
        assert_eq!(counts(&list(&[1, 3]), Balance::RoundRobin, 40), [10, 30]);
    }

    #[test]
    fn random_keeps_to_the_weights_within_three_sigma() {
        let picks = 30_000_f64;
        for (balance, weights) in [(Balance::Random, [1, 2, 3]), (Balance::LeastRequest, [1, 2, 3])] {
            for (count, share) in
                counts(&list(&weights), balance, picks as usize).iter().zip([1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0])
            {
                let sigma = (picks * share * (1.0 - share)).sqrt();
                assert!((*count as f64 - picks * share).abs() < 3.0 * sigma, "{count} of {}", picks * share);
            }
        }
    }

    #[test]
    fn dr_10_least_request_prefers_the_less_loaded() {
        let list = list(&[1, 1]);
        let _load: Vec<_> = (0..5).map(|_| InFlight::new(list.iter().next().unwrap())).collect();
        let counts = counts(&list, Balance::LeastRequest, 1000);
        assert!(counts[1] > 700, "{counts:?}");
    }

    #[test]
    fn one_that_is_to_be_avoided_is_taken_only_when_alone() {
        let list = list(&[1, 1]);
        let first = list.iter().next().unwrap().id;
        let (cursor, mut random) = (AtomicUsize::new(0), seeded());
        for _ in 0..20 {
            assert_ne!(list.pick(Balance::RoundRobin, &cursor, &mut random, Some(first)).unwrap().id, first);
        }
    }
}
