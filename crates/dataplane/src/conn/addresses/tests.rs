//! Limits of one address.

use super::*;

fn addresses(limits: AddressLimits, trusted: TrustedProxies) -> Arc<Addresses> {
    Addresses::new(limits, trusted, 1000)
}

fn nobody() -> TrustedProxies {
    TrustedProxies::of([])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn connections_of_an_address_are_limited_and_come_back() {
    let limits = AddressLimits { connections: Some(2), ..AddressLimits::default() };
    let all = addresses(limits, nobody());
    let mesh_settings = MeshConnectionSettings::default();
    let one = all.admit(ip("192.0.2.1"), &mesh_settings).unwrap();
    let _two = all.admit(ip("::ffff:192.0.2.1"), &mesh_settings).unwrap();
    assert_eq!(all.admit(ip("192.0.2.1"), &mesh_settings).err(), Some(Rejected::AddressConnections));
    assert!(all.admit(ip("192.0.2.2"), &mesh_settings).is_ok(), "others are others");
    drop(one);
    assert!(all.admit(ip("192.0.2.1"), &mesh_settings).is_ok());
}

#[test]
fn a_network_of_ipv6_is_one_and_one_of_translated_addresses_is_many() {
    assert_eq!(key(ip("2001:db8:1:2::1")), key(ip("2001:db8:1:2:ffff::9")));
    assert_ne!(key(ip("2001:db8:1:2::1")), key(ip("2001:db8:1:3::1")));
    assert_eq!(key(ip("64:ff9b::192.0.2.1")), key(ip("192.0.2.1")));
    assert_ne!(key(ip("64:ff9b::192.0.2.1")), key(ip("64:ff9b::192.0.2.2")));
    assert_ne!(key(ip("192.0.2.1")), key(ip("192.0.2.2")));
}

#[test]
fn a_rate_lets_twice_its_number_come_at_once_and_then_one_for_each_share_of_a_second() {
    let limits = AddressLimits { rate: Some(10), ..AddressLimits::default() };
    let all = addresses(limits, nobody());
    let key = key(ip("192.0.2.1"));
    let admitted = |now: u64| (0..100).filter(|_| all.admit_at(key, now).is_ok()).count();
    assert_eq!(admitted(5000), 20);
    assert_eq!(admitted(5099), 0);
    assert_eq!(admitted(5100), 1);
    assert_eq!(admitted(5600), 5);
    assert_eq!(admitted(5000), 0, "a clock that was read before another worker's changes nothing");
    assert_eq!(admitted(100_000), 20);
}

#[test]
fn handshakes_of_an_address_are_limited_and_end_with_their_connection() {
    let limits = AddressLimits { handshakes: Some(2), ..AddressLimits::default() };
    let all = addresses(limits, nobody());
    let mut permits: Vec<_> =
        (0..3).map(|_| all.admit(ip("192.0.2.1"), &MeshConnectionSettings::default()).unwrap().unwrap()).collect();
    assert_eq!(permits.iter_mut().map(|permit| permit.begin_handshake()).collect::<Vec<_>>(), [true, true, false]);
    permits[0].end_handshake();
    permits[0].end_handshake();
    assert!(permits[2].begin_handshake());
    drop(permits.remove(1));
    assert!(permits[0].begin_handshake());
    assert!(!all.admit(ip("192.0.2.1"), &MeshConnectionSettings::default()).unwrap().unwrap().begin_handshake());
}

#[test]
fn proxies_and_private_addresses_are_not_limited() {
    let limits = AddressLimits { connections: Some(1), ..AddressLimits::default() };
    let held = |trusted: TrustedProxies, mesh_settings: &MeshConnectionSettings, address: &str| {
        let all = addresses(limits, trusted);
        let held: Vec<_> = (0..3).map_while(|_| all.admit(ip(address), mesh_settings).ok()).collect();
        held.len()
    };
    let mesh_settings = MeshConnectionSettings::default();
    for address in ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.3.3", "::1", "fd12::1", "fe80::1"] {
        assert_eq!(held(TrustedProxies::default(), &mesh_settings, address), 3, "{address}");
        assert_eq!(held(nobody(), &mesh_settings, address), 1, "{address}");
    }
    for address in ["192.0.2.1", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
        assert_eq!(held(TrustedProxies::default(), &mesh_settings, address), 1, "{address}");
    }
    // `numTrustedProxies`: there are proxies, and nobody says which.
    let behind = MeshConnectionSettings { trusted_proxies: 1, ..MeshConnectionSettings::default() };
    assert_eq!(held(TrustedProxies::default(), &behind, "192.0.2.1"), 3);
    let named = || TrustedProxies::of(["198.51.100.0/24".parse().unwrap()]);
    assert_eq!(held(named(), &behind, "192.0.2.1"), 1);
    assert_eq!(held(named(), &behind, "198.51.100.7"), 3);
}

#[test]
fn the_table_has_a_bound_and_forgets_what_has_no_connection() {
    let limits = AddressLimits { connections: Some(1), rate: Some(5), handshakes: None };
    let all = addresses(limits, nobody());
    let kept: Vec<_> = (0..1000).map(|at| all.admit_at(at, 0).unwrap()).collect();
    for at in 0..200_000_u128 {
        drop(all.admit_at(1000 + at, at as u64));
    }
    let sizes: Vec<usize> = all.parts.iter().map(|part| part.lock().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= all.room), "{sizes:?}");
    for at in 0..1000 {
        assert_eq!(all.admit_at(at, 300_000).err(), Some(Rejected::AddressConnections), "{at} is forgotten");
    }
    drop(kept);
    assert!(all.admit_at(7, 300_000).is_ok());
}
