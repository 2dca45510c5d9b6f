use super::*;
use ir::Warmup;

const MINUTE: Duration = Duration::from_secs(60);

fn balance(balancer: Balancer, minimum_percent: f64, aggression: f64) -> Balance {
    Balance { warmup: Some(Warmup { duration: MINUTE, minimum_percent, aggression }), ..balancer.into() }
}

/// Two endpoints of the given ages, in seconds, at a time at which both may be chosen.
async fn two(balance: &Balance, [old, young]: [u64; 2]) -> EndpointList {
    let mut all = members(1, &[1]);
    tokio::time::advance(Duration::from_secs(old - young)).await;
    all.extend(members(2, &[1]));
    tokio::time::advance(Duration::from_secs(young)).await;
    EndpointList::new(all, balance, None)
}

async fn assert_shares(balance: Balance, ages: [u64; 2], weights: [u32; 2]) {
    let list = two(&balance, ages).await;
    // The ids come from two stores, and are equal.
    let first = Arc::clone(list.iter().next().unwrap());
    let mut random = seeded(9);
    let mut counted = [0, 0];
    for _ in 0..20_000 {
        let picked = list.pick(&balance.balancer, &mut random, PickContext::default()).unwrap().unwrap();
        counted[usize::from(!Arc::ptr_eq(&picked, &first))] += 1;
    }
    assert_within_three_sigma(&counted, &weights);
}

#[tokio::test(start_paused = true)]
async fn dr_12_the_share_of_a_new_endpoint_grows() {
    for balancer in [Balancer::RoundRobin, Balancer::LeastRequest] {
        let straight = || balance(balancer.clone(), 10.0, 1.0);
        assert_shares(straight(), [600, 0], [10, 1]).await;
        assert_shares(straight(), [600, 3], [10, 1]).await;
        assert_shares(straight(), [600, 30], [2, 1]).await;
        assert_shares(straight(), [600, 45], [4, 3]).await;
        assert_shares(straight(), [600, 60], [1, 1]).await;
        // Both endpoints are new: only the ratio of their weights counts.
        assert_shares(straight(), [40, 20], [2, 1]).await;
        assert_shares(straight(), [5, 5], [1, 1]).await;
        // (15/60)^(1/2) is a half.
        assert_shares(balance(balancer.clone(), 10.0, 2.0), [600, 15], [2, 1]).await;
        assert_shares(balance(balancer.clone(), 50.0, 1.0), [600, 6], [2, 1]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dr_12_random_and_hashing_have_no_warm_up() {
    assert_shares(balance(Balancer::Random, 10.0, 1.0), [600, 1], [1, 1]).await;
}

#[tokio::test(start_paused = true)]
async fn dr_12_weights_are_updated_only_during_the_warm_up() {
    let balance = balance(Balancer::RoundRobin, 10.0, 1.0);
    let mut list = two(&balance, [600, 10]).await;
    assert!(!list.is_due());
    let mut renewed = 0;
    for _ in 0..MINUTE.as_millis() / 100 {
        tokio::time::advance(Duration::from_millis(100)).await;
        if list.is_due() {
            assert!(!list.is_due(), "one sets them anew, and no other");
            list = list.rebalanced(&balance);
            renewed += 1;
        }
    }
    // 50 s were left, in steps of 0.6 s.
    assert_eq!(renewed, 84);
    assert!(list.warming.is_none());
}

#[tokio::test(start_paused = true)]
async fn dr_12_a_restored_endpoint_keeps_its_age() {
    let balance = balance(Balancer::RoundRobin, 10.0, 1.0);
    let list = two(&balance, [600, 30]).await;
    let young = Arc::clone(list.iter().nth(1).unwrap());
    young.set_ejected(true);
    let list = list.rebalanced(&balance);
    assert!(list.warming.is_none(), "none that may be chosen is new");
    tokio::time::advance(Duration::from_secs(15)).await;
    young.set_ejected(false);
    let list = list.rebalanced(&balance);
    assert!(list.warming.is_some());
    let mut random = seeded(9);
    let mut pick = || list.pick(&balance.balancer, &mut random, PickContext::default()).unwrap().unwrap();
    let count = (0..7_000).filter(|_| Arc::ptr_eq(&pick(), &young)).count();
    assert!(count.abs_diff(3000) < 10, "{count}");
}
