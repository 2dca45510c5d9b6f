//! Responses of the gateway itself, strict parsing, and time limits.

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, respond, until};
use dataplane::Limits;
use ir::{HeaderAppend, HeaderChanges, HeaderName, HeaderText};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn vs_36_a_direct_answer_has_its_body_and_the_routes_headers() {
    let change = (HeaderName::parse("x-by-route").unwrap(), HeaderText::parse("yes").unwrap(), HeaderAppend::Append);
    let setup = Setup::default().route("*", respond(418, "teapot"), HeaderChanges::new(Vec::new(), vec![change]));
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.get("/").answer();
        assert_eq!((answer.status, answer.text()), (418, "teapot"));
        assert_eq!(answer.header("x-by-route"), Some("yes"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer_to_head().header("content-length"), Some("6"));
    assert_eq!(client.get("/").answer().text(), "teapot");
}

#[test]
fn vs_47_a_routes_headers_are_on_its_failures_too() {
    let change = (HeaderName::parse("x-by-route").unwrap(), HeaderText::parse("yes").unwrap(), HeaderAppend::Append);
    let changes = HeaderChanges::new(Vec::new(), vec![change]);
    let missing = Setup::default().route("*", forward("missing", None), changes.clone());
    let empty = Setup::default().route("*", forward("c", None), changes).cluster("c", &[]);
    for setup in [missing, empty] {
        let gateway = Gateway::serving(&setup);
        let answer = gateway.client().get("/").answer();
        assert_eq!((answer.status, answer.header("x-by-route")), (503, Some("yes")));
    }
}

#[test]
fn a_direct_answer_to_a_request_with_a_body_reads_the_body() {
    let gateway = Gateway::serving(&Setup::default().host("*", respond(200, "ok")));
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.with_body("POST", vec![b'x'; 50_000]).answer().text(), "ok");
    }
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(client.get("/").answer().text(), "ok");
}

#[test]
fn a_direct_answer_arrives_though_the_body_is_large() {
    let gateway = Gateway::serving(&Setup::default().host("*", respond(200, "ok")));
    let mut client = gateway.client();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        let _ = writer.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
        for _ in 0..100 {
            if writer.write_all(&vec![0; 1_000_000]).is_err() {
                return;
            }
        }
    });
    assert_eq!(client.answer().text(), "ok");
    drop(client);
    sender.join().unwrap();
}

#[test]
fn ambiguous_heads_are_rejected_and_not_forwarded() {
    let backend = Backend::answering(OK);
    let gateway = Gateway::to(backend.address);
    let filling = "x".repeat(70_000);
    for (status, head) in [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n".to_owned()),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na".to_owned()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n".to_owned()),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned()),
        (426, "GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned()),
        (505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nA: {filling}\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100))),
        (431, format!("GET /{filling} HTTP/1.1\r\nHost: a\r\n\r\n")),
    ] {
        let mut client = gateway.client();
        // A second request after the invalid one must not be answered.
        client.send(&head).send("GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status, status, "{:?}", head.get(..80.min(head.len())));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
    assert_eq!(backend.seen(), Vec::<String>::new());
}

#[test]
fn a_bad_chunk_ends_the_exchange() {
    let backend = Backend::start(|side| {
        if let Some(head) = side.head() {
            side.body(&head);
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX");
    assert_eq!(client.answer().status, 400);
    assert!(client.is_closed());
}

#[test]
fn s_120_http_1_0_is_answered_426_with_an_empty_body() {
    let gateway = Gateway::serving(&Setup::default().host("*", respond(200, "ok")));
    let mut client = gateway.client();
    let answer = client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!((answer.status, answer.text()), (426, ""));
}

#[test]
fn a_slow_head_is_408() {
    let limits = Limits { head_timeout: Duration::from_millis(200), ..Limits::default() };
    let backend = Backend::answering(OK);
    let gateway = Gateway::with_limits(backend.address, limits);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a.te");
    assert_eq!(client.answer().status, 408);
    assert!(client.is_closed());
}

#[test]
fn the_timeout_of_a_head_is_not_extended_by_single_bytes() {
    let limits = Limits { head_timeout: Duration::from_millis(400), ..Limits::default() };
    let backend = Backend::answering(OK);
    let gateway = Gateway::with_limits(backend.address, limits);
    let mut client = gateway.client();
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        let begun = std::time::Instant::now();
        let mut last = begun;
        let _ = writer.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nA: ");
        while begun.elapsed() < Duration::from_secs(5) {
            if last.elapsed() > Duration::from_millis(20) {
                last = std::time::Instant::now();
                if writer.write_all(b"a").is_err() {
                    return;
                }
            }
            std::thread::yield_now();
        }
    });
    assert_eq!(client.answer().status, 408);
}

#[test]
fn a_slow_body_is_408() {
    let limits = Limits { body_timeout: Duration::from_millis(200), ..Limits::default() };
    let backend = Backend::echo();
    let gateway = Gateway::with_limits(backend.address, limits);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(client.answer().status, 408);
    assert!(client.is_closed());
}

#[test]
fn s_121_an_idle_connection_is_closed_in_the_end() {
    let limits = Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() };
    let backend = Backend::answering(OK);
    let gateway = Gateway::with_limits(backend.address, limits);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert!(client.is_closed());
    assert!(gateway.client().is_closed());
}

#[test]
fn connections_beyond_the_bound_are_closed_while_none_is_idle() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let backend = Backend::echo();
    let gateway = Gateway::with_limits(backend.address, limits);
    let (mut one, mut other) = (gateway.client(), gateway.client());
    for client in [&mut one, &mut other] {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nha");
    }
    until("both have a request", || backend.connections() == 2);
    assert!(gateway.client().get("/").is_closed());
    assert_eq!(gateway.metric("moongate_downstream_connections_refused_total{cause=\"limit\"}"), Some(1.0));
    assert_eq!((one.send("lf").answer().text(), other.send("lf").answer().text()), ("half", "half"));
}

#[test]
fn s_34_hosts_are_matched_by_name() {
    let (one, other) = (Backend::answering(OK), Backend::answering(OK));
    let setup = Setup::default()
        .host("a.test", forward("one", None))
        .host("*.b.test", forward("other", None))
        .cluster("one", &[one.address])
        .cluster("other", &[other.address]);
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    for host in ["a.test", "x.b.test", "A.TEST:8080", "y.b.test"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    }
    client.send("GET / HTTP/1.1\r\nHost: c.test\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    assert_eq!((one.seen().len(), other.seen().len()), (2, 2));
}
