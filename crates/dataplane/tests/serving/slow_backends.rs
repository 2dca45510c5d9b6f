//! Slow backends, and timeouts (DR-21, VS-39, VS-66).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, until};
use crate::streams::{Streams, ask, connect, get, run};
use ir::PoolLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(150);
/// The time of a route whose backend has to begin its answer within it.
const ROUTE: Duration = Duration::from_secs(1);

#[test]
fn dr_21_idle_connections_are_closed_after_the_idle_timeout() {
    for most in [None, Some(4)] {
        let closed = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&closed);
        let backend = Backend::start(move |side| {
            while side.request().is_some() && side.send(OK) {}
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let limits = PoolLimits { max_connections: most, ..PoolLimits::default() };
        let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).limits(limits);
        let gateway = Gateway::serving(&setup.with_clusters(|cluster| cluster.timeouts.idle = SHORT));
        assert_eq!(gateway.client().get("/").answer().status, 200);
        until("it is closed", || closed.load(Ordering::SeqCst) == 1);
        assert_eq!(gateway.client().get("/").answer().status, 200);
        assert_eq!(backend.connections(), 2);
    }
    let streams = Streams::echo();
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[streams.address]).http2("c");
    let gateway = Gateway::serving(&setup.with_clusters(|cluster| cluster.timeouts.idle = SHORT));
    until("a second connection", || {
        assert_eq!(gateway.client().get("/").answer().status, 200);
        std::thread::sleep(2 * SHORT);
        streams.connections() == 2
    });
}

#[test]
fn vs_66_idle_tcp_connections_are_closed_after_the_idle_timeout() {
    let backend = Backend::start(|side| while side.more().is_some() {});
    let gateway = Gateway::serving(&Setup::default().tcp_idle("c", SHORT).cluster("c", &[backend.address]));
    let mut client = gateway.client();
    client.send("something");
    assert!(client.rest().is_empty());
}

#[test]
fn a_response_that_arrives_byte_by_byte_is_forwarded_whole() {
    let backend = Backend::start(|side| {
        side.request();
        for byte in "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n".bytes() {
            side.send([byte]);
            std::thread::yield_now();
        }
        side.request();
        side.send(OK);
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().text(), "abc");
    assert_eq!(client.get("/").answer().text(), "ok");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn vs_39_an_incomplete_response_ends_with_the_route_timeout_and_is_not_complete_for_the_client() {
    let backend = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        while side.more().is_some() {}
    });
    let setup = Setup::default().host("*", forward("c", Some(ROUTE))).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup);
    let broken = gateway.client().get("/").try_answer(false);
    assert!(broken.is_err(), "{broken:?}");
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        assert!(ask(&mut client, get("/"), b"", None).await.is_err());
    });
    gateway.has_counted(r#"response_code="200",response_flags="UT""#);
}

#[test]
fn vs_39_a_stream_without_a_response_is_504_and_its_connection_stays() {
    let backend = Streams::start(|request, mut respond, _| async move {
        if request.uri().path() == "/never" {
            let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
        } else {
            respond.send_response(http::Response::new(()), true).unwrap();
        }
    });
    let setup = Setup::default().host("*", forward("c", Some(ROUTE))).cluster("c", &[backend.address]).http2("c");
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    let answer = client.get("/never").answer();
    assert_eq!((answer.status, answer.text()), (504, "upstream request timeout"));
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_backend_that_does_not_speak_the_configured_http_2_is_502_or_503() {
    for (words, status) in [("HTTP/1.1 400 Bad Request\r\n\r\n", 502), ("", 503)] {
        let backend = Backend::start(move |side| {
            side.more();
            side.send(words);
        });
        let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c");
        let gateway = Gateway::serving(&setup);
        assert_eq!(gateway.client().get("/").answer().status, status);
    }
}
