//! Switches of protocols (S-118).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward};
use crate::streams::Streams;

const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[test]
fn s_118_after_101_bytes_flow_both_ways_and_each_side_ends_for_itself() {
    let backend = Backend::start(|side| {
        let head = side.head().unwrap();
        assert!(head.contains("upgrade: websocket\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: x"), "{head}");
        side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
        assert_eq!(side.exactly(4).unwrap(), b"ping");
        side.send("pong");
        // The client has closed its sending direction; the backend still sends.
        assert!(side.more().is_none());
        side.send("last words");
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    let answer = client.send(ASK).answer();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(client.exactly(5).unwrap(), b"hello");
    assert_eq!(client.send("ping").exactly(4).unwrap(), b"pong");
    client.finish();
    assert_eq!(client.rest(), b"last words");
}

#[test]
fn bytes_that_a_client_sends_before_101_are_forwarded_after_it() {
    let backend = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        let early = side.exactly(5).unwrap();
        side.send(early);
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send(format!("{ASK}early"));
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.rest(), b"early");
}

#[test]
fn much_flows_through_a_tunnel() {
    const ALL: usize = 8 << 20;
    let backend = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        let all = side.exactly(ALL).unwrap();
        side.send(all);
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.send(ASK).answer().status, 101);
    let sent: Vec<u8> = (0..ALL).map(|at| (at % 253) as u8).collect();
    client.send(&sent);
    assert!(client.rest() == sent);
}

#[test]
fn a_refused_switch_stays_http() {
    let backend = Backend::answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.send(ASK).answer();
        assert_eq!((answer.status, answer.text()), (426, "no"));
        assert_eq!(client.get("/").answer().status, 426);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_switch_to_something_else_is_502() {
    for head in ["Upgrade: h2c\r\nConnection: upgrade\r\n", ""] {
        let backend = Backend::answering(&format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\n"));
        let gateway = Gateway::to(backend.address);
        assert_eq!(gateway.client().send(ASK).answer().status, 502);
    }
}

#[test]
fn a_request_behind_a_refused_switch_is_a_request() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 200);
    assert!(backend.seen()[1].starts_with("GET /next "));
}

#[test]
fn an_upgrade_with_a_body_is_not_requested() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab",
    );
    assert_eq!(client.answer().text(), "ab");
    assert!(!backend.only().contains("upgrade"), "{}", backend.only());
}

#[test]
fn rfc_6455_4_1_an_upgrade_with_another_method_than_get_is_not_requested() {
    let post = ASK.replacen("GET ", "POST ", 1);
    let (one, two) = (Backend::echo(), Streams::echo());
    let cluster = |address| Setup::default().host("*", forward("c", None)).cluster("c", &[address]);
    for setup in [cluster(one.address), cluster(two.address).http2("c")] {
        let gateway = Gateway::serving(&setup);
        let mut client = gateway.client();
        assert_eq!(client.send(&post).answer().status, 200);
        assert_eq!(client.get("/").answer().status, 200);
    }
    assert!(one.seen()[0].starts_with("POST "), "{}", one.seen()[0]);
    assert!(!one.seen()[0].contains("upgrade"), "{}", one.seen()[0]);
}

#[test]
fn s_118_other_switches_and_connect_are_not_offered() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(!backend.only().contains("upgrade"), "{}", backend.only());
    client.send("CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n");
    assert_eq!(client.answer().status, 404);
}
