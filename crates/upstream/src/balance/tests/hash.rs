use super::*;
use ir::{ConsistentHash, HashTable};

fn balance(table: HashTable) -> Balance {
    Balancer::ConsistentHash(Arc::new(ConsistentHash { key: None, table })).into()
}

const TABLES: [HashTable; 2] = [HashTable::Ring { minimum_size: 1024 }, HashTable::Maglev { size: 2003 }];

/// The id of the endpoint of a hash.
fn find(list: &EndpointList, balance: &Balance, hash: u64, avoid: &[u64]) -> Option<u64> {
    let wanted = PickContext { hash: Some(hash), avoid, ..PickContext::default() };
    let mut none = || panic!("a hash needs no randomness");
    list.pick(&balance.balancer, &mut none, wanted).unwrap().map(|endpoint| endpoint.id)
}

fn owners(list: &EndpointList, balance: &Balance, hashes: &[u64]) -> Vec<u64> {
    hashes.iter().map(|hash| find(list, balance, *hash, &[]).unwrap()).collect()
}

fn hashes(count: usize) -> Vec<u64> {
    std::iter::repeat_with(seeded(7)).take(count).collect()
}

fn ports(list: &EndpointList, balance: &Balance, hashes: &[u64]) -> Vec<usize> {
    let first = list.iter().next().unwrap().id;
    owners(list, balance, hashes).iter().map(|id| 90 + (id - first) as usize).collect()
}

#[test]
fn dr_11_the_ring_is_envoys() {
    // From Envoy's own tests: the first points of a ring of twelve for 127.0.0.1:90 to :95.
    let balance = balance(HashTable::Ring { minimum_size: 12 });
    let list = EndpointList::new(members(90, &[1; 6]), &balance, None);
    let points = [
        (94, 833_437_586_790_550_860),
        (92, 928_266_305_478_181_108),
        (90, 1_033_482_794_131_418_490),
        (95, 3_551_244_743_356_806_947),
        (93, 3_851_675_632_748_031_481),
        (91, 5_583_722_120_771_150_861),
        (91, 6_311_230_543_546_372_928),
        (93, 7_700_377_290_971_790_572),
        (95, 13_144_177_310_400_110_813),
        (92, 13_444_792_449_719_432_967),
        (94, 15_516_499_411_664_133_160),
        (90, 16_117_243_373_044_804_889),
    ];
    for (at, (port, point)) in points.iter().enumerate() {
        assert_eq!(ports(&list, &balance, &[*point]), [*port], "{point}");
        let next = points[(at + 1) % points.len()].0;
        assert_eq!(ports(&list, &balance, &[*point + 1]), [next], "behind {point}");
    }
}

#[test]
fn dr_11_maglevs_table_is_envoys() {
    // Also from Envoy's own tests.
    let balance = balance(HashTable::Maglev { size: 7 });
    let list = EndpointList::new(members(90, &[1; 6]), &balance, None);
    assert_eq!(ports(&list, &balance, &[0, 1, 2, 3, 4, 5, 6, 3 * 7]), [92, 94, 90, 91, 95, 90, 93, 92]);
}

#[test]
fn dr_11_keys_are_spread_by_weight() {
    for table in TABLES {
        let balance = balance(table);
        let weights = [1, 2, 1, 4];
        let list = EndpointList::new(members(1, &weights), &balance, None);
        let counted = counts(&list, &owners(&list, &balance, &hashes(80_000)));
        for (count, weight) in counted.iter().zip(weights) {
            let expected = 10_000 * weight as usize;
            // A ring of about a thousand points has this deviation.
            assert!(count.abs_diff(expected) < expected / 5, "{table:?}: {counted:?}");
        }
    }
}

#[test]
fn dr_11_when_an_endpoint_leaves_its_keys_move_and_hardly_any_other() {
    let hashes = hashes(20_000);
    for table in TABLES {
        for count in [2, 3, 10, 50] {
            let balance = balance(table);
            let all = EndpointList::new(members(1, &vec![1; count]), &balance, None);
            let before = owners(&all, &balance, &hashes);
            for leaving in [0, count / 2, count - 1] {
                let endpoint = all.iter().nth(leaving).unwrap();
                endpoint.set_ejected(true);
                let rest = all.rebalanced(&balance);
                let after = owners(&rest, &balance, &hashes);
                assert!(!after.contains(&endpoint.id));
                let others = before.iter().zip(&after).filter(|(before, after)| before != after);
                let moved = others.filter(|(before, _)| **before != endpoint.id).count();
                // The remaining endpoints share the free keys: Envoy's ring gives each more points, and Maglev more entries.
                assert!(moved < hashes.len() / 10, "{table:?}, {count} endpoints: {moved} moved besides");
                endpoint.set_ejected(false);
                assert_eq!(owners(&rest.rebalanced(&balance), &balance, &hashes), before);
            }
        }
    }
}

#[test]
fn dr_11_a_request_without_the_key_is_balanced_at_random() {
    let balance = balance(HashTable::Maglev { size: 2003 });
    let list = EndpointList::new(members(1, &[1; 4]), &balance, None);
    let counted = counts(&list, &picks(&list, balance.balancer, 20_000, None));
    assert!(counted.iter().all(|count| count.abs_diff(5000) < 300), "{counted:?}");
}

#[test]
fn dr_11_another_endpoint_is_found_if_that_of_the_key_is_avoided() {
    for table in TABLES {
        let balance = balance(table);
        let list = EndpointList::new(members(1, &[1; 8]), &balance, None);
        let avoided = |hash: &u64| {
            let first = find(&list, &balance, *hash, &[]).unwrap();
            find(&list, &balance, *hash, &[first]).unwrap() != first
        };
        assert!(hashes(1000).iter().all(avoided), "{table:?}");
    }
}

#[test]
fn dr_11_nothing_is_found_without_endpoints_or_if_all_are_ejected() {
    for table in TABLES {
        let balance = balance(table);
        let none = EndpointList::new(Vec::new(), &balance, None);
        assert_eq!(find(&none, &balance, 1, &[]), None);
        let list = EndpointList::new(members(1, &[1]), &balance, None);
        list.iter().for_each(|endpoint| endpoint.set_ejected(true));
        assert_eq!(find(&list.rebalanced(&balance), &balance, 1, &[]), None);
    }
}

#[tokio::test]
async fn dr_11_a_large_table_is_built_on_a_thread_while_the_previous_one_is_used() {
    let balance = balance(HashTable::Maglev { size: 65_537 });
    let list = EndpointList::new(members(1, &[1; 20]), &balance, None);
    let wanted = PickContext { hash: Some(5), ..PickContext::default() };
    let first = list.pick(&balance.balancer, &mut || 0, wanted);
    assert_eq!(first.unwrap_err(), TableNotReady);
    list.wait_for_table().await;
    let hashes = hashes(500);
    let before = owners(&list, &balance, &hashes);
    let gone = list.iter().next().unwrap();
    gone.set_ejected(true);
    // From now on there is always a table, and no ejected endpoint is picked from either table.
    let rest = list.rebalanced(&balance);
    let meanwhile = owners(&rest, &balance, &hashes);
    assert!(!meanwhile.contains(&gone.id));
    assert!(before.iter().zip(&meanwhile).filter(|(before, after)| before != after).count() < 100);
    rest.wait_for_table().await;
    assert!(!owners(&rest, &balance, &hashes).contains(&gone.id));
}
