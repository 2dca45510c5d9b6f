use super::*;
use crate::endpoint::InFlight;
use ir::{Endpoint, EndpointAddress, Localities, Locality};
use std::collections::HashMap;
use std::net::SocketAddr;

mod hash;
mod localities;
mod warmup;

/// Members at ports from `first` on, as a list has them.
fn members(first: u16, weights: &[u32]) -> Vec<Member> {
    let all = Arc::default();
    let member = |(port, weight): (u16, &u32)| {
        let address = EndpointAddress::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
        let state = EndpointState::new(&all, address.clone(), Duration::from_secs(1));
        Member::new(Endpoint { address, weight: *weight, locality: None, priority: 0 }, Arc::new(state), None)
    };
    (first..).zip(weights).map(member).collect()
}

fn list(weights: &[u32]) -> EndpointList {
    EndpointList::new(members(1, weights), &Balancer::Random.into(), None)
}

/// SplitMix64: the same sequence in every run.
fn seeded(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn picks(list: &EndpointList, balancer: Balancer, count: usize, avoid: Option<u64>) -> Vec<u64> {
    let mut random = seeded(42);
    let wanted = PickContext { avoid: avoid.as_slice(), ..PickContext::default() };
    (0..count).map(|_| list.pick(&balancer, &mut random, wanted).unwrap().unwrap().id).collect()
}

fn counts(list: &EndpointList, picks: &[u64]) -> Vec<usize> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    picks.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
    list.iter().map(|endpoint| counts.get(&endpoint.id).copied().unwrap_or(0)).collect()
}

fn assert_within_three_sigma(counted: &[usize], weights: &[u32]) {
    let picks = counted.iter().sum::<usize>() as f64;
    let total = f64::from(weights.iter().sum::<u32>());
    for (count, weight) in counted.iter().zip(weights) {
        let share = f64::from(*weight) / total;
        let sigma = (picks * share * (1.0 - share)).sqrt();
        assert!((*count as f64 - picks * share).abs() < 3.0 * sigma, "{count} of {}", picks * share);
    }
}

#[test]
fn dr_10_round_robin_takes_turns_by_weight() {
    for weights in [&[1, 1, 1][..], &[1, 3], &[5, 1, 1], &[100, 1], &[7, 11, 13, 17]] {
        let list = list(weights);
        let round = weights.iter().sum::<u32>() as usize;
        let expected: Vec<_> = weights.iter().map(|weight| *weight as usize * 3).collect();
        assert_eq!(counts(&list, &picks(&list, Balancer::RoundRobin, 3 * round, None)), expected);
    }
}

#[test]
fn dr_10_round_robin_spreads_the_turns_of_a_heavy_endpoint() {
    // Every sequence of turns contains about the share of the endpoint, wherever the sequence begins.
    let list = list(&[50, 30, 20]);
    let picked = picks(&list, Balancer::RoundRobin, 300, None);
    for stretch in picked.windows(10) {
        for (count, share) in counts(&list, stretch).iter().zip([5_usize, 3, 2]) {
            assert!(count.abs_diff(share) <= 2, "{:?}", counts(&list, stretch));
        }
    }
}

#[test]
fn round_robin_continues_when_endpoints_change() {
    let before = list(&[1, 1, 1]);
    picks(&before, Balancer::RoundRobin, 1, None);
    let after = before.rebalanced(&Balancer::RoundRobin.into());
    assert_eq!(picks(&after, Balancer::RoundRobin, 1, None)[0], before.iter().nth(1).unwrap().id);
}

#[test]
fn random_and_least_request_keep_to_the_weights_within_three_sigma() {
    for balancer in [Balancer::Random, Balancer::LeastRequest] {
        for weights in [[1, 2, 3], [1, 1, 1], [1, 1, 98]] {
            let list = list(&weights);
            assert_within_three_sigma(&counts(&list, &picks(&list, balancer.clone(), 30_000, None)), &weights);
        }
    }
}

#[test]
fn dr_10_least_request_always_prefers_the_less_loaded_of_two() {
    let list = list(&[1, 1]);
    let _load = InFlight::new(list.iter().next().unwrap());
    assert_eq!(counts(&list, &picks(&list, Balancer::LeastRequest, 1000, None)), [0, 1000]);
}

#[test]
fn dr_10_least_request_measures_load_by_weight() {
    let list = list(&[1, 4]);
    let [light, heavy] = [0, 1].map(|number| list.iter().nth(number).unwrap());
    let _load: Vec<_> = (0..3).map(|_| InFlight::new(heavy)).chain([InFlight::new(light)]).collect();
    // A load of 3 for weight 4 against 1 for weight 1: the heavy endpoint has less load, so it is picked whenever it is one of the two.
    let counted = counts(&list, &picks(&list, Balancer::LeastRequest, 10_000, None));
    assert_within_three_sigma(&counted, &[1, 24]);
}

#[test]
fn a_load_ends_with_its_guard() {
    let list = list(&[1]);
    let endpoint = list.iter().next().unwrap();
    let load = InFlight::new(endpoint);
    assert_eq!(endpoint.active(), 1);
    drop(load);
    assert_eq!(endpoint.active(), 0);
}

#[test]
fn an_avoided_endpoint_is_picked_only_if_it_is_the_only_one() {
    let alone = list(&[1]);
    let only = alone.iter().next().unwrap().id;
    assert_eq!(picks(&alone, Balancer::LeastRequest, 1, Some(only)), [only]);
    for balancer in [Balancer::RoundRobin, Balancer::LeastRequest, Balancer::Random] {
        for weights in [&[1, 1][..], &[1, 1000, 1], &[1; 10]] {
            let list = list(weights);
            let avoid = list.iter().nth(1).unwrap().id;
            assert!(!picks(&list, balancer.clone(), 200, Some(avoid)).contains(&avoid));
        }
    }
}

#[test]
fn nothing_is_picked_from_an_empty_list() {
    let list = list(&[]);
    for balancer in [Balancer::RoundRobin, Balancer::LeastRequest, Balancer::Random] {
        assert!(list.pick(&balancer, &mut || 7, PickContext::default()).unwrap().is_none());
    }
}

#[test]
fn dr_30_all_endpoints_are_used_if_too_few_are_healthy() {
    let before = list(&[1; 4]);
    let used = |ejected: usize, panic_threshold: u32| {
        before.iter().enumerate().for_each(|(at, endpoint)| endpoint.set_ejected(at < ejected));
        let list = before.rebalanced(&Balance { panic_threshold, ..Balancer::Random.into() });
        let mut random = seeded(7);
        let mut pick = || list.pick(&Balancer::Random, &mut random, PickContext::default()).unwrap();
        let mut ids: Vec<_> = (0..100).filter_map(|_| Some(pick()?.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    assert_eq!([0, 1, 2, 3, 4].map(|ejected| used(ejected, 0)), [4, 3, 2, 1, 0]);
    assert_eq!([0, 1, 2, 3, 4].map(|ejected| used(ejected, 50)), [4, 3, 2, 4, 4]);
    // Three of four healthy endpoints count as all: Envoy's factor is 1.4.
    assert_eq!([0, 1, 2, 4].map(|ejected| used(ejected, 100)), [4, 3, 4, 4]);
}
