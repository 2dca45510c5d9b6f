//! Limits of concurrent requests and connections of a cluster (DR-20, DR-21).

use crate::backend::Backend;
use crate::certificates::Authority;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward, retrying, until};
use crate::streams::{Streams, ask, connect, get, meanwhile, run};
use dataplane::Limits;
use ir::{ClientAuth, ClientTls, PoolLimits, Retries, RetryLimit, RetryOn, Share, Sni, TlsParameters, Verify};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OVERFLOW: &str = "upstream connect error or disconnect/reset before headers. reset reason: overflow";

/// A gate that responses wait for; each opening releases one.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    fn open(&self, times: usize) {
        *self.0.0.lock().unwrap() += times;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.1.wait_while(self.0.0.lock().unwrap(), |open| *open == 0).unwrap();
        *open -= 1;
    }

    /// A backend whose responses wait for the gate.
    fn backend(&self) -> Backend {
        let gate = self.clone();
        Backend::start(move |side| {
            while side.request().is_some() {
                gate.pass();
                if !side.send(OK) {
                    return;
                }
            }
        })
    }
}

fn limited(endpoints: &[SocketAddr], limits: PoolLimits) -> Setup {
    Setup::default().host("*", forward("c", None)).cluster("c", endpoints).limits(limits)
}

fn connections(most: u32) -> PoolLimits {
    PoolLimits { max_connections: Some(most), ..PoolLimits::default() }
}

fn is_overflow(client: &mut Client) {
    let answer = client.get("/").answer();
    assert_eq!((answer.status, answer.text(), answer.header("x-envoy-overloaded")), (503, OVERFLOW, Some("true")));
}

fn pending(gateway: &Gateway, count: f64) {
    until("requests wait", || gateway.metric("envoy_cluster_upstream_rq_pending_active{") == Some(count));
}

#[test]
fn dr_20_requests_wait_for_a_connection_in_their_order_and_beyond_the_limit_are_503_uo() {
    let gate = Gate::default();
    let backend = gate.backend();
    let limits = PoolLimits { max_pending_requests: Some(2), ..connections(1) };
    let gateway = Gateway::serving(&limited(&[backend.address], limits));
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.get(&format!("/{number}"));
        // The first request has the connection, and the others wait for it.
        until("it is there", || backend.seen().len() == 1);
        pending(&gateway, number as f64);
    }
    is_overflow(&mut gateway.client());
    gateway.has_counted(r#"response_code="503",response_flags="UO""#);
    gate.open(3);
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().text(), "ok"));
    let seen = backend.seen();
    let order: Vec<_> = seen.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!((order, backend.connections()), (vec!["/0", "/1", "/2"], 1));
    assert_eq!(gateway.metric("envoy_cluster_upstream_rq_pending_overflow_total{"), Some(1.0));
    pending(&gateway, 0.0);
}

#[test]
fn dr_20_connections_are_counted_over_all_workers() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (current, highest) = (Arc::clone(&now), Arc::clone(&most));
    let backend = Backend::start(move |side| {
        let open = current.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(open, Ordering::SeqCst);
        while side.request().is_some() && side.send(OK) {}
        current.fetch_sub(1, Ordering::SeqCst);
    });
    let gateway = Gateway::start(4, Limits::default(), None);
    gateway.apply(&limited(&[backend.address], connections(2)));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = gateway.client();
                assert!((0..25).all(|_| client.get("/").answer().status == 200));
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?}");
    assert_eq!(backend.connections(), 2);
}

#[test]
fn dr_20_connections_in_tls_are_counted_over_all_workers_though_they_stay_with_one() {
    let backend = Backend::answering(OK);
    let signed = Authority::new().sign(&["b.test"]);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let behind = Gateway::serving(&setup.tls(&["*"], Some(signed.termination(ClientAuth::None))));
    let tls = ClientTls {
        sni: Sni::Name("b.test".into()),
        verify: Verify::Nothing,
        identity: None,
        key_pins: Vec::new(),
        parameters: TlsParameters::default(),
    };
    let tls = Arc::new(tls);
    for most in [1, 3] {
        let gateway = Gateway::start(4, Limits::default(), None);
        let setup = limited(&[behind.addresses()[0]], connections(most));
        gateway.apply(&setup.with_clusters(|cluster| cluster.tls = Some(Arc::clone(&tls))));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = gateway.client();
                    assert!((0..20).all(|_| client.get("/").answer().status == 200));
                });
            }
        });
        let open = gateway.metric("envoy_cluster_upstream_cx_active{").unwrap();
        assert!((1.0..=f64::from(most)).contains(&open), "{open}");
        // In sequence, each from any worker.
        assert!((0..20).all(|_| gateway.client().get("/").answer().status == 200));
    }
}

#[test]
fn dr_20_an_idle_connection_makes_room_for_one_to_another_endpoint() {
    let (one, two) = (Backend::answering(OK), Backend::answering(OK));
    let gateway = Gateway::serving(&limited(&[one.address, two.address], connections(1)));
    let mut client = gateway.client();
    assert!((0..6).all(|_| client.get("/").answer().status == 200));
    assert_eq!((one.connections(), two.connections()), (3, 3));
}

#[test]
fn dr_20_a_pending_request_waits_at_most_for_the_timeout_of_the_route_and_while_its_client_waits() {
    let gate = Gate::default();
    let backend = gate.backend();
    let action = forward("c", Some(Duration::from_millis(150)));
    let limits = connections(1);
    let setup = Setup::default().host("a.test", forward("c", None)).host("b.test", action);
    let gateway = Gateway::serving(&setup.cluster("c", &[backend.address]).limits(limits));
    let mut first = gateway.client();
    first.get("/");
    until("it is there", || backend.seen().len() == 1);
    let answer = gateway.client().send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").answer();
    assert_eq!((answer.status, answer.text()), (504, "upstream request timeout"));
    let mut gone = gateway.client();
    gone.get("/");
    pending(&gateway, 1.0);
    // The end of the sending direction is no reset, and does not hide one.
    gone.finish();
    gone.reset();
    pending(&gateway, 0.0);
    gateway.has_counted(r#"response_flags="DC""#);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let (response, mut stream) = client.send_request(get("/"), true).unwrap();
        let waiting = |count| gateway.metric("envoy_cluster_upstream_rq_pending_active{") == Some(count);
        meanwhile(|| waiting(1.0)).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        meanwhile(|| waiting(0.0)).await;
    });
    assert_eq!(backend.seen().len(), 1);
    gate.open(1);
    assert_eq!(first.answer().status, 200);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn dr_21_requests_under_way_are_limited_in_both_versions() {
    let gate = Gate::default();
    let backend = gate.backend();
    let limits = PoolLimits { max_requests: Some(1), ..PoolLimits::default() };
    let gateway = Gateway::serving(&limited(&[backend.address], limits.clone()));
    let mut first = gateway.client();
    first.get("/");
    until("it is there", || backend.seen().len() == 1);
    let mut second = gateway.client();
    is_overflow(&mut second);
    gate.open(2);
    assert_eq!(first.answer().status, 200);
    until("it has ended", || gateway.metric("envoy_cluster_upstream_rq_active{") == Some(0.0));
    assert_eq!(second.get("/").answer().status, 200);

    let backend = Streams::start(|_, mut respond, _| async move {
        // Until the stream is reset.
        let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
    });
    let gateway = Gateway::serving(&limited(&[backend.address], limits).http2("c"));
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let (held, _) = client.send_request(get("/"), true).unwrap();
        let active = || gateway.metric("envoy_cluster_upstream_rq_active{") == Some(1.0);
        while !active() {
            tokio::task::yield_now().await;
        }
        let answer = ask(&mut client, get("/"), b"", None).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.header("x-envoy-overloaded")), (503, OVERFLOW, Some("true")));
        drop(held);
    });
    until("it has ended", || gateway.metric("envoy_cluster_upstream_rq_active{") == Some(0.0));
}

#[test]
fn dr_21_requests_that_wait_for_a_new_connection_count_in_both_versions() {
    for http2 in [false, true] {
        let (full, _waiting) = crate::failures::full_queue();
        let limits = PoolLimits { max_pending_requests: Some(1), ..PoolLimits::default() };
        let setup = limited(&[full], limits);
        let gateway = Gateway::serving(&if http2 { setup.http2("c") } else { setup });
        let mut first = gateway.client();
        first.get("/");
        pending(&gateway, 1.0);
        is_overflow(&mut gateway.client());
    }
}

#[test]
fn dr_21_a_connection_carries_so_many_requests() {
    for (most, made) in [(1, 6), (2, 3), (4, 2)] {
        let limits = PoolLimits { max_requests_per_connection: Some(most), ..PoolLimits::default() };
        for limits in [limits.clone(), PoolLimits { max_connections: Some(1), ..limits.clone() }] {
            let (one, two) = (Backend::answering(OK), Streams::echo());
            let worlds = [limited(&[one.address], limits.clone()), limited(&[two.address], limits).http2("c")];
            for gateway in worlds.iter().map(Gateway::serving) {
                let mut client = gateway.client();
                assert!((0..6).all(|_| client.get("/").answer().status == 200));
            }
            assert_eq!((one.connections(), two.connections()), (made, made));
        }
    }
}

#[test]
fn dr_20_a_connection_accepts_no_requests_after_its_maximum_duration() {
    let limits = PoolLimits { max_connection_duration: Some(Duration::from_millis(30)), ..PoolLimits::default() };
    for limits in [limits.clone(), PoolLimits { max_connections: Some(1), ..limits.clone() }] {
        let (one, two) = (Backend::answering(OK), Streams::echo());
        for setup in [limited(&[one.address], limits.clone()), limited(&[two.address], limits.clone()).http2("c")] {
            let gateway = Gateway::serving(&setup);
            let mut client = gateway.client();
            until("a second connection", || {
                assert_eq!(client.get("/").answer().status, 200);
                gateway.metric("moongate_upstream_connections_total") >= Some(2.0)
            });
        }
    }
}

#[test]
fn dr_20_a_request_may_outlive_the_maximum_duration_of_its_connection() {
    let gate = Gate::default();
    let backend = gate.backend();
    let life = Duration::from_millis(30);
    let limits = PoolLimits { max_connection_duration: Some(life), ..connections(1) };
    let gateway = Gateway::serving(&limited(&[backend.address], limits));
    let mut client = gateway.client();
    client.get("/");
    until("the request", || backend.seen().len() == 1);
    let begun = Instant::now();
    until("the end of the connection's time", || begun.elapsed() > life);
    gate.open(2);
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(backend.connections(), 2);
}

#[test]
fn dr_20_tcp_connections_beyond_the_limit_are_closed() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let backend = Backend::start(move |side| {
        side.send("hello");
        waiting.pass();
    });
    let setup = Setup::default().tcp("c").cluster("c", &[backend.address]).limits(connections(1));
    let gateway = Gateway::serving(&setup);
    let mut first = gateway.client();
    assert_eq!(first.exactly(5).unwrap(), b"hello");
    assert!(gateway.client().rest().is_empty());
    gateway.has_counted(r#"response_flags="UO""#);
    gate.open(2);
    assert!(first.rest().is_empty());
    first.finish();
    until("the place is free", || gateway.metric("envoy_cluster_upstream_cx_active{") == Some(0.0));
    assert_eq!(gateway.client().rest(), b"hello");
}

#[test]
fn dr_20_a_tcp_connection_is_closed_after_its_maximum_duration() {
    let backend = Backend::start(|side| while side.more().is_some() {});
    let limits = PoolLimits { max_connection_duration: Some(Duration::from_millis(50)), ..PoolLimits::default() };
    let setup = Setup::default().tcp("c").cluster("c", &[backend.address]).limits(limits);
    let gateway = Gateway::serving(&setup);
    // Traffic does not extend it.
    let mut client = gateway.client();
    until("it is closed", || client.send("more").is_closed());
    gateway.has_counted(r#"response_flags="DT""#);
}

#[test]
fn dr_21_a_budget_limits_retries_by_the_requests_in_flight() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |side| {
        while let Some((head, _)) = side.request() {
            let first = head.contains("x-envoy-attempt-count: 1\r\n") && !head.contains("/held ");
            if first {
                side.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
            } else {
                held.pass();
                side.send(OK);
            }
        }
    });
    let policy = Retries {
        attempts: 1,
        on: RetryOn::SERVER_ERROR,
        backoff: Duration::from_millis(1),
        implied: false,
        ..Retries::default()
    };
    let budget = RetryLimit::Budget { percent: Share::of_percent(50.0), min_concurrency: 1 };
    let limits = PoolLimits { max_retries: Some(budget), ..PoolLimits::default() };
    let setup = Setup::default().host("*", retrying("c", None, Some(policy))).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.limits(limits));
    let held = |count: usize, target: &str| -> Vec<Client> {
        let before = backend.seen().len();
        let clients = (0..count).map(|_| {
            let mut client = gateway.client();
            client.get(target);
            client
        });
        let clients = clients.collect();
        until("they are there", || backend.seen().len() >= before + count);
        clients
    };
    // One retry is always allowed.
    let mut clients = held(1, "/retried");
    until("the request is retried", || gateway.metric("moongate_requests_retried_total") == Some(1.0));
    assert_eq!(gateway.client().get("/").answer().status, 503);
    gateway.has_counted(r#"response_flags="UO""#);
    // With four requests in progress, two retries are allowed.
    clients.extend(held(3, "/held"));
    clients.extend(held(1, "/retried"));
    until("the request is retried", || gateway.metric("moongate_requests_retried_total") == Some(2.0));
    gate.open(clients.len());
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    assert_eq!(gateway.metric("envoy_cluster_upstream_rq_retry_overflow_total{"), Some(1.0));
}

#[test]
fn dr_20_limits_that_change_hold_for_connections_that_are_there() {
    let gate = Gate::default();
    let backend = gate.backend();
    let with = |most| limited(&[backend.address], connections(most));
    let gateway = Gateway::serving(&with(1));
    let (mut first, mut second) = (gateway.client(), gateway.client());
    first.get("/");
    until("it is there", || backend.seen().len() == 1);
    second.get("/");
    pending(&gateway, 1.0);
    gateway.apply(&with(2));
    until("the second is there", || backend.seen().len() == 2);
    gate.open(2);
    assert_eq!((first.answer().status, second.answer().status), (200, 200));
}

#[test]
fn dr_21_a_websocket_is_a_request_for_as_long_as_it_lasts() {
    let backend = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        while side.more().is_some() {}
    });
    let limits = PoolLimits { max_requests: Some(1), ..PoolLimits::default() };
    let gateway = Gateway::serving(&limited(&[backend.address], limits));
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut first = gateway.client();
    assert_eq!(first.send(ask).answer().status, 101);
    is_overflow(&mut gateway.client());
    drop(first);
    until("it has ended", || gateway.metric("envoy_cluster_upstream_rq_active{") == Some(0.0));
    assert_eq!(gateway.client().send(ask).answer().status, 101);
}

/// Sends this number of requests at the same time, so that there are as many connections.
fn ask_at_once(gateway: &Gateway, gate: &Gate, backend: &Backend, count: usize) {
    let before = backend.seen().len();
    let mut clients: Vec<_> = (0..count).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.get("/");
    }
    until("all are under way", || backend.seen().len() == before + count);
    gate.open(count);
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
}

#[test]
fn dr_20_a_limit_that_is_lowered_closes_idle_connections_beyond_it() {
    for before in [Some(connections(8)), Some(PoolLimits::default()), None] {
        let open = Arc::new(AtomicUsize::new(0));
        let (gate, counter) = (Gate::default(), Arc::clone(&open));
        let waiting = gate.clone();
        let backend = Backend::start(move |side| {
            counter.fetch_add(1, Ordering::SeqCst);
            while side.request().is_some() {
                waiting.pass();
                if !side.send(OK) {
                    break;
                }
            }
            counter.fetch_sub(1, Ordering::SeqCst);
        });
        let gateway = match before {
            Some(limits) => Gateway::serving(&limited(&[backend.address], limits)),
            None => Gateway::to(backend.address),
        };
        ask_at_once(&gateway, &gate, &backend, 6);
        assert_eq!(open.load(Ordering::SeqCst), 6);
        gateway.apply(&limited(&[backend.address], connections(2)));
        until("the others are closed", || open.load(Ordering::SeqCst) <= 2);
        // No more than two are open from now on.
        let mut clients: Vec<_> = (0..6).map(|_| gateway.client()).collect();
        let seen = backend.seen().len();
        for client in &mut clients {
            client.get("/");
        }
        for done in 0..6 {
            until("two are under way", || backend.seen().len() >= (seen + done + 2).min(seen + 6));
            // One that was closed for another worker counts until its thread of the backend has noticed.
            until("no more than two are open", || open.load(Ordering::SeqCst) <= 2);
            gate.open(1);
        }
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    }
}

#[test]
fn dr_20_a_connection_in_use_when_a_limit_is_lowered_is_closed_when_it_is_free() {
    let gate = Gate::default();
    let backend = gate.backend();
    let gateway = Gateway::serving(&limited(&[backend.address], connections(4)));
    let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.get("/");
    }
    until("all are under way", || backend.seen().len() == 4);
    gateway.apply(&limited(&[backend.address], connections(1)));
    // One request waits, and does not get one of the surplus connections.
    let mut last = gateway.client();
    last.get("/last");
    pending(&gateway, 1.0);
    gate.open(4);
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    gate.open(1);
    assert_eq!(last.answer().status, 200);
    assert_eq!(gateway.metric("envoy_cluster_upstream_cx_active{"), Some(1.0));
}
