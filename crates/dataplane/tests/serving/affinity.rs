//! The same endpoint for the same key, over real sockets (DR-11, VS-40, VS-66).

use crate::backend::Backend;
use crate::client::Answer;
use crate::gateway::{Gateway, Setup, forward, retrying};
use crate::streams::{ask, connect, get, run};
use ir::{ConsistentHash, CookieName, CookieText, HashCookie, HashKey, HashTable, Retries, RetryOn};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const RING: HashTable = HashTable::Ring { minimum_size: 1024 };

fn hash(key: HashKey, table: HashTable) -> ConsistentHash {
    ConsistentHash { key: Some(key), table }
}

fn cookie(ttl: Option<u64>) -> HashKey {
    let (name, text) = (|text| CookieName::parse(text).unwrap(), |text| CookieText::parse(text).unwrap());
    let attributes = [(name("SameSite"), text("Lax"))].into();
    HashKey::Cookie(HashCookie { name: name("stick"), path: text("/"), ttl: ttl.map(Duration::from_secs), attributes })
}

/// Backends that respond with their number.
fn backends(count: usize) -> Vec<Backend> {
    (0..count)
        .map(|number| Backend::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")))
        .collect()
}

fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.address).collect()
}

fn to(backends: &[Backend], hash: ConsistentHash) -> Gateway {
    Gateway::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &addresses(backends)).hashed(hash))
}

/// The answer to a request with some header lines.
fn answer(gateway: &Gateway, target: &str, headers: &str) -> Answer {
    gateway.client().send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n")).answer()
}

#[test]
fn dr_11_a_header_leads_to_one_endpoint_and_others_to_others() {
    let backends = backends(5);
    for table in [RING, HashTable::Maglev { size: 65_537 }] {
        let gateway = to(&backends, hash(HashKey::Header("x-user".into()), table));
        let of = |user: usize| answer(&gateway, "/", &format!("X-User: {user}\r\n")).text().to_owned();
        let first: Vec<String> = (0..100).map(of).collect();
        assert_eq!(first, (0..100).map(of).collect::<Vec<_>>());
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 5);
        let without: BTreeSet<String> = (0..100).map(|_| answer(&gateway, "/", "").text().to_owned()).collect();
        assert_eq!(without.len(), 5, "without the key any is taken");
    }
}

#[test]
fn dr_11_a_query_parameter_and_the_address_are_keys() {
    let backends = backends(5);
    let gateway = to(&backends, hash(HashKey::QueryParameter("user".into()), RING));
    let of = |user: usize| answer(&gateway, &format!("/?a=b&user={user}"), "").text().to_owned();
    let first: Vec<String> = (0..100).map(of).collect();
    assert_eq!(first, (0..100).map(of).collect::<Vec<_>>());
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 5);
    let gateway = to(&backends, hash(HashKey::SourceIp, RING));
    let all: BTreeSet<String> = (0..20).map(|_| answer(&gateway, "/", "").text().to_owned()).collect();
    assert_eq!(all.len(), 1);
}

#[test]
fn dr_11_a_cookie_is_made_and_leads_where_the_first_request_went() {
    let backends = backends(8);
    let gateway = to(&backends, hash(cookie(Some(60)), RING));
    for _ in 0..20 {
        let first = answer(&gateway, "/", "");
        let made = first.header("set-cookie").unwrap();
        let value = made
            .strip_prefix("stick=\"")
            .and_then(|rest| rest.strip_suffix("\"; Max-Age=60; Path=/; SameSite=Lax; HttpOnly"));
        let value = value.unwrap_or_else(|| panic!("{made}"));
        assert!(value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        for headers in
            [format!("Cookie: stick={value}\r\n"), format!("Cookie: a=b\r\nCookie: c=d; stick=\"{value}\"\r\n")]
        {
            let next = answer(&gateway, "/", &headers);
            assert_eq!((next.text(), next.header("set-cookie")), (first.text(), None));
        }
    }
    let session = to(&backends, hash(cookie(Some(0)), RING));
    let made = answer(&session, "/", "");
    assert!(made.header("set-cookie").unwrap().ends_with("\"; Path=/; SameSite=Lax; HttpOnly"));
    let never = to(&backends, hash(cookie(None), RING));
    assert_eq!(answer(&never, "/", "").header("set-cookie"), None);
}

#[test]
fn dr_11_streams_of_one_connection_get_one_cookie() {
    let backends = backends(4);
    let gateway = to(&backends, hash(cookie(Some(60)), RING));
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            let answer = ask(&mut client, get("/"), b"", None).await.unwrap();
            seen.insert((answer.header("set-cookie").unwrap().to_owned(), answer.text().to_owned()));
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
    });
}

/// The number of endpoints at which a request with a key is tried, of two that both respond with errors.
fn tried(avoid: Option<bool>) -> usize {
    let unwell = || Backend::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let backends = [unwell(), unwell()];
    let retries = Retries {
        attempts: 3,
        on: RetryOn::SERVER_ERROR,
        backoff: Duration::from_millis(1),
        avoid_tried: avoid,
        implied: false,
        ..Retries::default()
    };
    let setup = Setup::default().host("*", retrying("c", None, Some(retries))).cluster("c", &addresses(&backends));
    let gateway = Gateway::serving(&setup.hashed(hash(HashKey::Header("x-user".into()), RING)));
    assert_eq!(answer(&gateway, "/", "X-User: a\r\n").status, 503);
    assert_eq!(backends.iter().map(|backend| backend.seen().len()).sum::<usize>(), 4);
    backends.iter().filter(|backend| !backend.seen().is_empty()).count()
}

#[test]
fn vs_40_retries_with_consistent_hashing_use_the_same_endpoint_unless_configured() {
    assert_eq!([tried(None), tried(Some(false)), tried(Some(true))], [1, 1, 2]);
}

#[test]
fn vs_66_tcp_connections_hash_the_address_of_the_client() {
    let greeting = |number: usize| Backend::start(move |side| assert!(side.send(number.to_string())));
    let backends: Vec<Backend> = (0..5).map(greeting).collect();
    let seen = |key: Option<HashKey>| {
        let setup = Setup::default().tcp("c").cluster("c", &addresses(&backends));
        let gateway = Gateway::serving(&setup.hashed(ConsistentHash { key, table: RING }));
        (0..30).map(|_| gateway.client().rest()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(seen(Some(HashKey::SourceIp)), 1);
    // A connection ignores keys other than the source address.
    assert!(seen(Some(HashKey::Header("x-user".into()))) > 1);
}

#[test]
fn dr_11_a_removed_endpoint_moves_only_its_own_keys() {
    let backends = backends(4);
    let key = || hash(HashKey::Header("x-user".into()), RING);
    let setup =
        |addresses: &[SocketAddr]| Setup::default().host("*", forward("c", None)).cluster("c", addresses).hashed(key());
    let gateway = Gateway::serving(&setup(&addresses(&backends)));
    let of = |user: usize| answer(&gateway, "/", &format!("X-User: {user}\r\n")).text().to_owned();
    let before: Vec<String> = (0..60).map(of).collect();
    gateway.apply(&setup(&addresses(&backends)[1..]));
    let after: Vec<String> = (0..60).map(of).collect();
    assert!(!after.contains(&"0".to_owned()));
    let moved = before.iter().zip(&after).filter(|(before, after)| **before != "0" && before != after).count();
    // Where the points of the ring lie depends on the ports: six move on average, and hardly ever as many as fifteen.
    assert!(moved < 25, "{moved}: {before:?} {after:?}");
}

#[test]
fn vs_41_retry_remote_localities_tries_another_priority_after_two_attempts() {
    let unwell = || Backend::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let tried = |remote_localities: bool| {
        let backends = [unwell(), unwell()];
        let retries = Retries {
            attempts: 2,
            on: RetryOn::SERVER_ERROR,
            backoff: Duration::from_millis(1),
            avoid_tried: Some(false),
            remote_localities,
            implied: false,
            ..Retries::default()
        };
        let setup = Setup::default().host("*", retrying("c", None, Some(retries)));
        let gateway = Gateway::serving(&setup.cluster("c", &addresses(&backends)).in_priorities());
        assert_eq!(gateway.client().get("/").answer().status, 503);
        backends.each_ref().map(|backend| backend.seen().len())
    };
    assert_eq!(tried(false), [3, 0]);
    assert_eq!(tried(true), [2, 1]);
}
