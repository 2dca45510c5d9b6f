use super::*;

const HERE: &str = "r/a/1";

/// Endpoints of these priorities and localities.
fn placed(places: &[(u32, &str)], weight: u32) -> Vec<Member> {
    let mut all = members(1, &vec![weight; places.len()]);
    for (member, (priority, locality)) in all.iter_mut().zip(places) {
        (member.priority, member.locality) = (*priority, Some(Locality((*locality).into())));
    }
    all
}

fn failover(balancer: Balancer) -> Balance {
    Balance { localities: Localities::Failover, ..balancer.into() }
}

/// The share of requests of each priority in percent, when this number of the ten endpoints of each priority is ejected.
fn shares(ejected: &[usize], panic_threshold: u32) -> Vec<u64> {
    let places: Vec<_> = (0..ejected.len() as u32).flat_map(|priority| [(priority, HERE); 10]).collect();
    let balance = Balance { panic_threshold, ..failover(Balancer::Random) };
    let list = EndpointList::new(placed(&places, 1), &balance, None);
    for (priority, count) in ejected.iter().enumerate() {
        list.iter().skip(priority * 10).take(*count).for_each(|endpoint| endpoint.set_ejected(true));
    }
    let list = list.rebalanced(&balance);
    let mut shares = vec![0; ejected.len()];
    let mut before = 0;
    for level in &list.levels {
        // Priorities without a share serve requests that exclude other priorities.
        shares[level.priority as usize] = level.end - before;
        before = level.end;
    }
    shares
}

#[test]
fn dr_13_the_next_priority_gets_what_exceeds_the_healthy_capacity() {
    // The tables of Envoy's documentation, with its factor of 140 %.
    for (ejected, expected) in [
        ([0, 0], [100, 0]),
        ([2, 0], [100, 0]),
        ([3, 0], [98, 2]),
        ([5, 0], [70, 30]),
        ([9, 0], [14, 86]),
        ([10, 0], [0, 100]),
        ([5, 5], [70, 30]),
        ([10, 5], [0, 100]),
        ([10, 10], [0, 0]),
    ] {
        assert_eq!(shares(&ejected, 0), expected, "{ejected:?}");
    }
    assert_eq!(shares(&[8, 5, 0], 0), [28, 70, 2]);
    // The healthy shares add up to less than 100 %: they are scaled to 100 %.
    assert_eq!(shares(&[8, 8], 0), [50, 50]);
}

#[test]
fn dr_30_below_the_panic_threshold_all_endpoints_are_used() {
    // No endpoint is healthy: requests are distributed by the number of endpoints.
    assert_eq!(shares(&[8, 8], 50), [50, 50]);
    assert_eq!(shares(&[10, 10], 50), [50, 50]);
    assert_eq!(shares(&[10, 10], 0), [0, 0]);
    let picked = |ejected: usize, panic_threshold| {
        let balance = Balance { panic_threshold, ..Balancer::Random.into() };
        let list = EndpointList::new(members(1, &[1; 10]), &balance, None);
        list.iter().take(ejected).for_each(|endpoint| endpoint.set_ejected(true));
        let list = list.rebalanced(&balance);
        let counted = counts(&list, &picks(&list, balance.balancer, 1000, None));
        counted.iter().filter(|count| **count > 0).count()
    };
    assert_eq!(picked(6, 50), 10);
    // Enough endpoints are healthy for the whole load, whatever the threshold.
    assert_eq!([picked(6, 0), picked(5, 50), picked(2, 90)], [4, 5, 8]);
}

#[test]
fn dr_13_requests_are_distributed_to_priorities_and_localities_by_weight() {
    let places = [(0, HERE), (0, HERE), (0, "r/a/2"), (0, "r/a/2"), (1, "r/b"), (1, "r/c")];
    for balancer in [Balancer::Random, Balancer::RoundRobin, Balancer::LeastRequest] {
        let balance = failover(balancer.clone());
        let list = EndpointList::new(placed(&places, 3), &balance, None);
        let counted = counts(&list, &picks(&list, balancer.clone(), 40_000, None));
        assert_eq!(counted[4..], [0, 0]);
        for count in &counted[..4] {
            assert!(count.abs_diff(10_000) < 300, "{balancer:?}: {counted:?}");
        }
        // A half of the endpoints is healthy, which counts as 70 %: the priority gets 70 % of the load, and the locality 70 % of its weight.
        list.iter().skip(1).take(2).for_each(|endpoint| endpoint.set_ejected(true));
        let list = list.rebalanced(&balance);
        let counted = counts(&list, &picks(&list, balancer.clone(), 40_000, None));
        for (count, expected) in counted.iter().zip([14_000, 0, 0, 14_000, 6_000, 6_000_usize]) {
            assert!(count.abs_diff(expected) <= expected / 40, "{balancer:?}: {counted:?}");
        }
    }
}

#[test]
fn dr_13_shares_of_localities_hold_whatever_their_sizes() {
    let places = [(0, HERE), (0, "r/b"), (0, "r/b"), (0, "r/b"), (0, "r/c")];
    let shares = [(HERE, 80), ("r/b", 20)].map(|(at, share)| (Some(Locality(at.into())), share));
    for balancer in [Balancer::Random, Balancer::RoundRobin, Balancer::LeastRequest] {
        let localities = Localities::Distribute(shares.to_vec().into());
        let balance = Balance { localities, ..balancer.clone().into() };
        let list = EndpointList::new(placed(&places, 1), &balance, None);
        // Load in one locality sends nothing to another.
        let _load: Vec<_> = (0..50).map(|_| InFlight::new(list.iter().next().unwrap())).collect();
        let counted = counts(&list, &picks(&list, balancer.clone(), 30_000, None));
        assert_eq!(counted[4], 0);
        assert!(counted[0].abs_diff(24_000) < 210, "{balancer:?}: {counted:?}");
        assert!(counted[1..4].iter().all(|count| count.abs_diff(2_000) < 140), "{balancer:?}: {counted:?}");
    }
}

#[test]
fn dr_13_hashes_keep_to_priorities_and_localities() {
    let table = ir::HashTable::Ring { minimum_size: 1024 };
    let balance = failover(Balancer::ConsistentHash(Arc::new(ir::ConsistentHash { key: None, table })));
    let places = [(0, HERE), (0, HERE), (1, "r/b"), (1, "r/b")];
    let list = EndpointList::new(placed(&places, 1), &balance, None);
    let counted = counts(&list, &picks(&list, balance.balancer.clone(), 10_000, None));
    assert!(counted[0] > 4_000 && counted[1] > 4_000 && counted[2..] == [0, 0], "{counted:?}");
    list.iter().next().unwrap().set_ejected(true);
    let list = list.rebalanced(&balance);
    let counted = counts(&list, &picks(&list, balance.balancer.clone(), 10_000, None));
    assert!(counted[0] == 0 && counted[1].abs_diff(7_000) < 150, "{counted:?}");
    assert!(counted[2] > 1_000 && counted[3] > 1_000, "{counted:?}");
}

#[test]
fn vs_41_priorities_that_were_tried_are_left_out_while_others_are_healthy() {
    let places = [(0, HERE), (1, "r/b"), (1, "r/b"), (2, "r/c")];
    let balance = failover(Balancer::Random);
    let list = EndpointList::new(placed(&places, 1), &balance, None);
    let first = list.iter().next().unwrap().id;
    let counted = |list: &EndpointList, excluded: u32| {
        let mut random = seeded(5);
        let wanted = PickContext { excluded, ..PickContext::default() };
        let mut pick = || list.pick(&balance.balancer, &mut random, wanted).unwrap().unwrap().id;
        let mut counted = [0_usize; 4];
        (0..1000).for_each(|_| counted[(pick() - first) as usize] += 1);
        counted
    };
    assert_eq!(counted(&list, 0), [1000, 0, 0, 0]);
    assert_eq!(list.iter().map(|one| list.priority_bit(one.id)).collect::<Vec<_>>(), [1, 2, 2, 4]);
    let without_first = counted(&list, 1);
    assert!(without_first[1] > 400 && without_first[1] + without_first[2] == 1000, "{without_first:?}");
    assert_eq!(counted(&list, 3), [0, 0, 0, 1000]);
    // All priorities were tried: none is excluded.
    assert_eq!(counted(&list, 7), [1000, 0, 0, 0]);
    list.iter().skip(1).take(1).for_each(|endpoint| endpoint.set_ejected(true));
    // 70 % of the second priority, and the rest of the third.
    let counted = counted(&list.rebalanced(&balance), 1);
    assert!(counted[..2] == [0, 0] && counted[2].abs_diff(700) < 60, "{counted:?}");
}
