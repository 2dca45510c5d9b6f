//! Faults that routes inject (VS-43, VS-44).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, respond, until};
use crate::streams::{connect, get, run};
use ir::{Abort, Fault, Share};
use std::time::{Duration, Instant};

const ALL: f64 = 100.0;

fn faulty(backend: &Backend, timeout: Option<Duration>, fault: Fault) -> Gateway {
    let setup = Setup::default().host("a.test", forward("c", timeout)).host("b.test", respond(200, "fixed"));
    Gateway::serving(&setup.fault(fault).cluster("c", &[backend.address]))
}

fn abort(percent: f64, abort: Abort) -> Fault {
    Fault { delay: None, abort: Some((Share::of_percent(percent), abort)) }
}

#[test]
fn vs_44_an_abort_responds_before_the_request_is_forwarded() {
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
fn vs_44_a_grpc_status_is_written_for_each_protocol() {
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
    let wait = Duration::from_millis(1200);
    let fault = Fault { delay: Some((Share::of_percent(ALL), wait)), abort: None };
    let gateway = faulty(&backend, Some(Duration::from_secs(1)), fault);
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
    // Three standard deviations of a thousand requests.
    assert!((209..=291).contains(&aborted), "{aborted}");
}

/// Requests wait for so long that only their clients can end them.
fn waiting(backend: &Backend) -> Gateway {
    let delay = Some((Share::of_percent(ALL), Duration::from_secs(3600)));
    faulty(backend, None, Fault { delay, abort: None })
}

const NOTICED: &str = r#"response_code="0",response_flags="DI,DC""#;

#[test]
fn vs_43_a_client_that_closes_during_its_delay_is_detected_and_its_request_is_not_forwarded() {
    let backend = Backend::echo();
    let requests = [
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhalf",
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ];
    for request in requests {
        let gateway = waiting(&backend);
        // Repeated, since the client may have reset the connection before the gateway read its request.
        until("the reset is noticed", || {
            let mut client = gateway.client();
            client.send(request);
            std::thread::sleep(Duration::from_millis(10));
            // Unread data, and the end of the sending direction, do not hide the reset.
            client.send("more").finish();
            std::thread::sleep(Duration::from_millis(10));
            client.reset();
            gateway.metrics().contains(NOTICED)
        });
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn vs_43_a_stream_that_is_reset_during_its_delay_is_not_forwarded() {
    let backend = Backend::echo();
    let gateway = waiting(&backend);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        while !gateway.metrics().contains(NOTICED) {
            let (response, mut stream) = client.send_request(get("/"), false).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
            client = client.ready().await.unwrap();
        }
    });
    assert_eq!(backend.connections(), 0);
}

#[test]
fn vs_43_a_client_that_half_closes_during_its_delay_gets_its_response() {
    let backend = Backend::echo();
    let fault = Fault { delay: Some((Share::of_percent(ALL), Duration::from_millis(100))), abort: None };
    let gateway = faulty(&backend, None, fault);
    let mut client = gateway.client();
    client.get("/").finish();
    assert_eq!(client.answer().status, 200);
}
