//! Backends that fail, and the responses that clients receive.

use crate::backend::Backend;
use crate::client::reset;
use crate::gateway::{Gateway, Setup, forward, until};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::ports::refusing;

#[test]
fn vs_39_a_route_that_takes_too_long_is_504() {
    let backend = Backend::start(|side| {
        side.request();
        side.more();
    });
    let action = forward("c", Some(Duration::from_millis(200)));
    let gateway = Gateway::serving(&Setup::default().host("*", action).cluster("c", &[backend.address]));
    let mut client = gateway.client();
    for method in ["GET", "POST"] {
        let answer = client.with_body(method, "abc").answer();
        assert_eq!((answer.status, answer.text()), (504, "upstream request timeout"));
    }
    until("both are counted", || gateway.metric("istio_requests_total{") == Some(2.0));
    gateway.has_counted(r#"response_code="504",response_flags="UT""#);
}

#[test]
fn vs_39_the_time_that_a_connection_takes_counts() {
    // A full queue accepts no connections: the system does not respond.
    let (full, _waiting) = full_queue();
    let action = forward("c", Some(Duration::from_millis(200)));
    let gateway = Gateway::serving(&Setup::default().host("*", action).cluster("c", &[full]));
    assert_eq!(gateway.client().get("/").answer().status, 504);
}

#[test]
fn dr_20_a_connection_that_takes_too_long_is_503_uf() {
    let (full, _waiting) = full_queue();
    let setup = Setup::default().host("*", forward("c", None)).cluster_with("c", &[full], Duration::from_millis(200));
    let gateway = Gateway::serving(&setup);
    let answer = gateway.client().get("/").answer();
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.text(),
        "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: connection timeout"
    );
    gateway.has_counted(r#"response_flags="URX,UF""#);
}

/// A listening socket whose queue is full, and the connections that fill it.
pub(crate) fn full_queue() -> (SocketAddr, impl Drop) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = vec![socket];
    for _ in 0..4 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        waiting.push(socket);
    }
    (address, waiting)
}

#[test]
fn a_refused_connection_is_503_uf() {
    let gateway = Gateway::to(refusing());
    let mut client = gateway.client();
    let answer = client.get("/").answer();
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("upstream connect error or disconnect/reset before headers"), "{answer:?}");
    assert_eq!(answer.header("server"), Some("istio-envoy"));
    // The client's connection is not affected.
    assert_eq!(client.get("/").answer().status, 503);
}

#[test]
fn an_endpoint_that_refuses_is_left_for_another() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[refusing(), backend.address]);
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    for _ in 0..6 {
        assert_eq!(client.with_body("POST", "no byte of it was written").answer().status, 200);
    }
}

#[test]
fn s_05_no_endpoint_is_503_uh() {
    let gateway = Gateway::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[]));
    let answer = gateway.client().get("/").answer();
    assert_eq!((answer.status, answer.text()), (503, "no healthy upstream"));
    gateway.has_counted(r#"response_code="503",response_flags="UH""#);
}

#[test]
fn vs_32_no_cluster_is_503_nc() {
    let gateway = Gateway::serving(&Setup::default().host("*", forward("missing", None)));
    let answer = gateway.client().get("/").answer();
    assert_eq!((answer.status, answer.text()), (503, ""));
    gateway.has_counted(r#"response_code="503",response_flags="NC""#);
}

#[test]
fn no_host_is_404_nr() {
    let gateway = Gateway::serving(&Setup::default().host("b.test", forward("c", None)));
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.get("/").answer();
        assert_eq!((answer.status, answer.text(), answer.header("content-length")), (404, "", Some("0")));
    }
    gateway.has_counted(r#"response_code="404",response_flags="NR""#);
}

#[test]
fn a_fresh_connection_that_ends_without_an_answer_is_503_uc() {
    for half_a_head in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let backend = Backend::start(move |side| {
            side.request();
            side.send(half_a_head);
        });
        let gateway = Gateway::to(backend.address);
        let answer = gateway.client().get("/").answer();
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.text(),
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
        );
        assert_eq!(backend.connections(), 1, "RULES: nothing is sent twice on a fresh connection");
        gateway.has_counted(r#"response_flags="UC""#);
    }
}

#[test]
fn a_reset_before_the_answer_is_503_uc() {
    let backend = Backend::start(|side| {
        side.request();
        reset(&side.stream);
    });
    let gateway = Gateway::to(backend.address);
    assert_eq!(gateway.client().get("/").answer().status, 503);
}

#[test]
fn an_incomplete_body_is_not_treated_as_complete() {
    for head in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        for with_reset in [false, true] {
            let backend = Backend::start(move |side| {
                side.request();
                side.send(format!("HTTP/1.1 200 OK\r\n{head}"));
                if with_reset {
                    reset(&side.stream);
                }
            });
            let gateway = Gateway::to(backend.address);
            let mut client = gateway.client();
            client.get("/");
            assert!(client.try_answer(false).is_err());
        }
    }
}

#[test]
fn answers_that_a_strict_reader_refuses_are_502() {
    for (what, answer) in [
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
        ("length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a bare line feed", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        ("a NUL", "HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n"),
        (
            "a switch that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
        ("an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("an odd status", "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let backend = Backend::answering(answer);
        let gateway = Gateway::to(backend.address);
        let got = gateway.client().get("/").answer();
        assert_eq!(got.status, 502, "{what}: {got:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_502() {
    let backend =
        Backend::answering(&format!("HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(70_000)));
    let gateway = Gateway::to(backend.address);
    assert_eq!(gateway.client().get("/").answer().status, 502);
}

#[test]
fn large_heads_within_the_bound_pass() {
    let value = "a".repeat(50_000);
    let backend = Backend::answering(&format!("HTTP/1.1 200 OK\r\nA: {value}\r\nContent-Length: 0\r\n\r\n"));
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nB: {value}\r\n\r\n"));
    assert_eq!(client.answer().header("a"), Some(value.as_str()));
    assert!(backend.only().contains(&value));
}

#[test]
fn bytes_behind_an_answer_are_no_part_of_the_next() {
    let backend = Backend::start(|side| {
        while side.request().is_some() {
            side.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").answer().text(), "ok");
    }
    assert_eq!(backend.connections(), 5);
}

#[test]
fn bytes_that_come_while_a_connection_is_idle_are_no_answer() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (sent, was_sent) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        if side.number == 0 {
            wait.lock().unwrap().recv().unwrap();
            side.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            sent.send(()).unwrap();
        }
        side.more();
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().text(), "ok");
    go.send(()).unwrap();
    was_sent.recv().unwrap();
    assert_eq!(client.get("/").answer().text(), "ok");
}

#[test]
fn a_client_that_resets_ends_its_request() {
    let (ended, end) = std::sync::mpsc::channel::<bool>();
    let (got, was_got) = std::sync::mpsc::channel::<()>();
    let backend = Backend::start(move |side| {
        side.request();
        got.send(()).unwrap();
        ended.send(side.more().is_none()).unwrap();
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.get("/");
    was_got.recv().unwrap();
    client.reset();
    assert_eq!(end.recv_timeout(crate::gateway::TIMEOUT), Ok(true), "the backend works for nobody");
}

#[test]
fn a_client_that_has_sent_its_request_may_close_its_side() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |side| {
        side.request();
        wait.lock().unwrap().recv().unwrap();
        side.send_with_length(b"late");
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.get("/").finish();
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), "late");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_leaves_within_its_body_ends_the_request() {
    let (ended, end) = std::sync::mpsc::channel::<bool>();
    let backend = Backend::start(move |side| {
        let head = side.head().unwrap();
        ended.send(side.body(&head).is_none()).unwrap();
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf").finish();
    assert_eq!(end.recv_timeout(crate::gateway::TIMEOUT), Ok(true));
    assert!(client.is_closed());
}
