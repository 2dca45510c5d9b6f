//! Faults that routes put in (VS-43, VS-44).

use crate::backend::Backend;
use crate::gateway::{Gateway, World, forward, respond};
use ir::{Abort, Fault, Share};
use std::time::{Duration, Instant};

const ALL: f64 = 100.0;

fn faulty(backend: &Backend, timeout: Option<Duration>, fault: Fault) -> Gateway {
    let world = World::default().host("a.test", forward("c", timeout)).host("b.test", respond(200, "fixed"));
    Gateway::serving(&world.fault(fault).cluster("c", &[backend.address]))
}

fn abort(percent: f64, abort: Abort) -> Fault {
    Fault { delay: None, abort: Some((Share::of_percent(percent), abort)) }
}

#[test]
fn vs_44_an_abort_answers_before_the_backend_is_asked() {
    let backend = Backend::echo();
    let gateway = faulty(&backend, None, abort(ALL, Abort::Http(418)));
    let mut client = gateway.client();
    for host in ["a.test", "b.test"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (418, "fault filter abort"));
    }
    assert_eq!(backend.connections(), 0);
    gateway.has_counted(r#"response_flags="FI""#);
}

#[test]
fn vs_44_a_status_of_grpc_is_told_in_each_ones_own_way() {
    let backend = Backend::echo();
    let gateway = faulty(&backend, None, abort(ALL, Abort::Grpc(14)));
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 503);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
    assert_eq!(answer.header("grpc-message"), Some("fault filter abort"));
}

#[test]
fn vs_43_a_delay_does_not_count_for_the_routes_time() {
    let backend = Backend::echo();
    let wait = Duration::from_millis(150);
    let fault = Fault { delay: Some((Share::of_percent(ALL), wait)), abort: None };
    let gateway = faulty(&backend, Some(Duration::from_millis(100)), fault);
    let begun = Instant::now();
    assert_eq!(gateway.client().get("/").answer().status, 200);
    assert!(begun.elapsed() >= wait);
    gateway.has_counted(r#"response_flags="DI""#);
}

#[test]
fn vs_43_a_share_is_a_share() {
    let backend = Backend::echo();
    let gateway = faulty(&backend, None, abort(25.0, Abort::Http(503)));
    let mut client = gateway.client();
    let aborted = (0..1000).filter(|_| client.get("/").answer().status == 503).count();
    // Three times the deviation of a thousand.
    assert!((209..=291).contains(&aborted), "{aborted}");
}
