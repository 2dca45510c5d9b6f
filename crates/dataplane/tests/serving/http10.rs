//! Clients that speak HTTP/1.0 (S-120).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, respond};
use crate::observe::Lines;
use dataplane::Limits;
use ir::LogFormat;
use ir::{Http10, MeshConnectionSettings};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn http10(default_host: Option<&str>) -> MeshConnectionSettings {
    MeshConnectionSettings {
        http10: Some(Http10 { default_host: default_host.map(|host| ir::Authority::parse(host).unwrap()) }),
        ..MeshConnectionSettings::default()
    }
}

fn setup(backend: &Backend) -> Setup {
    Setup::default().host("a.test", forward("c", None)).cluster("c", &[backend.address])
}

fn whole(gateway: &Gateway, request: &str) -> String {
    String::from_utf8(gateway.client().send(request).rest()).unwrap()
}

#[test]
fn s_120_http_1_0_is_refused_unless_it_is_switched_on() {
    let backend = Backend::answering(LENGTH);
    let gateway = Gateway::serving(&setup(&backend));
    let answer = gateway.client().send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!((answer.status, backend.connections()), (426, 0));
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(None)));
    let answer = whole(&gateway, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    // Backends receive HTTP/1.1.
    assert!(backend.only().starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn s_120_a_connection_is_kept_alive_if_the_client_asks_for_it() {
    let backend = Backend::answering(LENGTH);
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(None)));
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
        let head = client.head();
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("\r\nconnection: keep-alive"), "{head}");
        assert_eq!(client.exactly(2).unwrap(), b"ok");
    }
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn s_120_no_chunks_are_sent_to_http_1_0_clients() {
    let backend = Backend::answering(CHUNKED);
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(None)));
    let answer = whole(&gateway, "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nok") && !answer.contains("transfer-encoding"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().header("transfer-encoding"), Some("chunked"));
}

#[test]
fn s_120_a_request_without_a_host_is_for_the_default_one() {
    let backend = Backend::answering(LENGTH);
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(None)));
    assert!(whole(&gateway, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 400 "));
    assert!(whole(&gateway, "GET http://a.test/x HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 "));
    assert_eq!(gateway.client().send("GET / HTTP/1.1\r\n\r\n").answer().status, 400);
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(Some("a.test"))));
    assert!(whole(&gateway, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 "));
    assert!(backend.seen().pop().unwrap().contains("\r\nhost: a.test\r\n"));
    assert_eq!(gateway.client().send("GET / HTTP/1.1\r\n\r\n").answer().status, 400);
}

#[test]
fn s_120_features_unknown_to_http_1_0_are_neither_sent_nor_accepted() {
    let backend = Backend::start(|side| {
        while side.request().is_some() {
            side.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
            side.send(LENGTH);
        }
    });
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(None)));
    let head = "Expect: 100-continue\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n";
    let answer = whole(&gateway, &format!("POST / HTTP/1.0\r\nHost: a.test\r\n{head}\r\nx"));
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    let seen = backend.only();
    assert!(!seen.contains("expect") && !seen.contains("upgrade"), "{seen}");
    let chunked = "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(whole(&gateway, chunked).contains(" 400 "));
}

#[test]
fn s_120_a_status_for_a_grpc_web_call_keeps_the_connection_as_requested() {
    let backend = Backend::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno");
    let gateway = Gateway::serving(&setup(&backend).mesh_settings(http10(None)).grpc_web());
    let mut client = gateway.client();
    for _ in 0..2 {
        let head = "Connection: keep-alive\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n";
        let told = client.send(format!("POST /p.S/M HTTP/1.0\r\nHost: a.test\r\n{head}")).head();
        assert!(told.starts_with("HTTP/1.0 ") && told.contains("\r\nconnection: keep-alive\r\n"), "{told}");
        assert!(told.contains("\r\ngrpc-status: 14\r\ngrpc-message: no\r\n"), "{told}");
    }
}

#[test]
fn s_120_answers_of_the_gateways_own_and_the_log_say_1_0() {
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), LogFormat::istio_text())));
    gateway.apply(&Setup::default().host("a.test", respond(200, "hi")).mesh_settings(http10(None)));
    let answer = whole(&gateway, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("hi"), "{answer}");
    assert!(lines.get(1)[0].contains("\"GET / HTTP/1.0\" 200"));
}
