//! Snapshots, listeners, and draining.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{ANY, Gateway, Setup, forward, listener_id, respond, until};
use dataplane::Limits;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

fn free_port() -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, testkit::ports::free()))
}

#[test]
fn a_change_shows_on_connections_that_are_open() {
    let gateway = Gateway::start(2, Limits::default(), None);
    gateway.apply(&Setup::default().host("*", respond(200, "before")));
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().text(), "before");
    let outcome = gateway.apply(&Setup::default().host("*", respond(200, "after")));
    assert_eq!(client.get("/").answer().text(), "after");
    assert_eq!(gateway.plane.generations(), [outcome.generation; 2]);
    assert_eq!(gateway.metric(r#"moongate_worker_generation{worker="1"}"#), Some(outcome.generation as f64));
}

#[test]
fn every_worker_accepts_connections() {
    let gateway = Gateway::start(2, Limits::default(), None);
    gateway.apply(&Setup::default().host("*", respond(200, "ok")));
    let mut clients: Vec<Client> = (0..64).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").answer().text(), "ok");
    }
    for worker in 0..2 {
        let open = gateway.metric(&format!(r#"moongate_downstream_connections_open{{worker="{worker}"}}"#));
        assert!(open.is_some_and(|open| open > 0.0), "worker {worker}: {open:?}");
    }
}

#[test]
fn a_port_in_use_is_reported_and_the_rest_serves() {
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap();
    let gateway = Gateway::start(2, Limits::default(), None);
    let outcome = gateway.apply(&Setup::default().listening(&[ANY, address]).host("*", respond(200, "ok")));
    assert_eq!(outcome.problems.len(), 1);
    assert_eq!(outcome.problems[0].listener, listener_id(address));
    assert!(outcome.problems[0].message.contains("in use"), "{:?}", outcome.problems);
    assert_eq!(gateway.client().get("/").answer().text(), "ok");
    drop(taken);
    until("the port is bound after all", || gateway.plane.retry().is_empty());
    assert_eq!(Client::connect(address).get("/").answer().text(), "ok");
}

#[test]
fn a_port_that_another_of_its_kind_shares_is_in_use() {
    let shared = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    shared.set_reuse_port(true).unwrap();
    shared.set_reuse_address(true).unwrap();
    shared.bind(&ANY.into()).unwrap();
    shared.listen(1).unwrap();
    let address = shared.local_addr().unwrap().as_socket().unwrap();
    let gateway = Gateway::start(1, Limits::default(), None);
    let outcome = gateway.apply(&Setup::default().listening(&[address]).host("*", respond(200, "ok")));
    assert_eq!(outcome.problems.len(), 1);
}

#[test]
fn added_and_removed_listeners_leave_the_connections_of_others_open() {
    let (stays, goes) = (free_port(), free_port());
    let gateway = Gateway::start(2, Limits::default(), None);
    let both = Setup::default().listening(&[stays, goes]).host("*", respond(200, "ok"));
    assert_eq!(gateway.apply(&both).problems, []);
    let (mut kept, mut last) = (Client::connect(stays), Client::connect(goes));
    assert_eq!(kept.get("/").answer().text(), "ok");
    assert_eq!(last.get("/").answer().text(), "ok");
    gateway.apply(&both.clone().listening(&[stays]));
    until("the port is closed", || TcpStream::connect(goes).is_err());
    let answer = last.get("/").answer();
    assert_eq!((answer.text(), answer.header("connection")), ("ok", Some("close")));
    assert!(last.is_closed());
    assert_eq!(kept.get("/").answer().header("connection"), None);
    assert_eq!(gateway.apply(&both).problems, []);
    assert_eq!(Client::connect(goes).get("/").answer().text(), "ok");
    assert_eq!(kept.get("/").answer().header("connection"), None);
}

#[test]
fn idle_connections_of_a_removed_listener_are_closed_after_a_grace_period() {
    let goes = free_port();
    let limits = Limits { retire_grace: Duration::from_millis(100), ..Limits::default() };
    let gateway = Gateway::start(1, limits, None);
    let setup = Setup::default().host("*", respond(200, "ok"));
    gateway.apply(&setup.clone().listening(&[goes]));
    let mut client = Client::connect(goes);
    assert_eq!(client.get("/").answer().text(), "ok");
    gateway.apply(&setup);
    assert!(client.is_closed());
}

#[test]
fn any_address_is_every_address_and_ipv4_peers_look_like_themselves() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let setup = Setup::default()
        .listening(&["[::]:0".parse().unwrap()])
        .host("*", forward("c", None))
        .cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup);
    let port = gateway.addresses()[0].port();
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(client.get("/").answer().status, 200);
    assert!(backend.only().contains("x-forwarded-for: 127.0.0.1\r\n"), "{}", backend.only());
}

#[test]
fn a_drain_lets_requests_end_and_announces_the_close() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |side| {
        side.request();
        wait.lock().unwrap().recv().unwrap();
        side.send_with_length(b"done");
    });
    let gateway = Gateway::to(backend.address);
    let address = gateway.addresses()[0];
    let (mut busy, mut idle) = (gateway.client(), gateway.client());
    busy.get("/");
    until("the request is there", || !backend.seen().is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| gateway.drain(Duration::from_secs(10)));
        until("nobody listens", || TcpStream::connect(address).is_err());
        go.send(()).unwrap();
        let answer = busy.answer();
        assert_eq!((answer.text(), answer.header("connection")), ("done", Some("close")));
        assert!(busy.is_closed());
        assert!(idle.is_closed());
    });
}

#[test]
fn a_drain_ends_when_its_grace_does() {
    let backend = Backend::start(|side| {
        side.request();
        side.more();
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.get("/");
    until("the request is there", || !backend.seen().is_empty());
    let begun = Instant::now();
    gateway.drain(Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(client.is_closed());
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let (one, other) = (Backend::echo(), Backend::echo());
    let setup = |at: &Backend| {
        Setup::default().host("*", forward("c", Some(Duration::from_secs(9)))).cluster("c", &[at.address])
    };
    let gateway = Gateway::start(2, Limits::default(), None);
    let address = {
        gateway.apply(&setup(&one));
        gateway.addresses()[0]
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut client = Client::connect(address);
            let mut count = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                assert_eq!(client.with_body("POST", "abc").answer().text(), "abc");
                count += 1;
            }
            count
        };
        let asking = [scope.spawn(ask), scope.spawn(ask)];
        for turn in 0..100 {
            gateway.apply(&setup(if turn % 2 == 0 { &other } else { &one }));
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        for asked in asking {
            assert!(asked.join().unwrap() > 0);
        }
    });
}
