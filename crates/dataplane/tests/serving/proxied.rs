//! PROXY headers from clients (S-112), and to backends (DR-51).

use crate::backend::Backend;
use crate::certificates::{Authority, shake_on};
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward};
use crate::observe::Lines;
use crate::streams::{ask, connect, get, run, runtime};
use dataplane::Limits;
use ir::LogFormat;
use ir::{ClientAuth, MeshConnectionSettings, ProxyProtocol, ProxyProtocolVersion};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::proxy_protocol::Ends;

const LINE: &str = "PROXY TCP4 203.0.113.7 198.51.100.1 51000 443\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The proxies whose headers are trusted.
fn believing(from: &[&str]) -> MeshConnectionSettings {
    let from = from.iter().map(|range| range.parse().unwrap()).collect();
    MeshConnectionSettings { proxy_protocol: Some(ProxyProtocol { from }), ..MeshConnectionSettings::default() }
}

/// What the whole text of version 2 is for the same two ends.
fn binary() -> Vec<u8> {
    let ends = Ends { source: "203.0.113.7:51000".parse().unwrap(), destination: "198.51.100.1:443".parse().unwrap() };
    let mut out = Vec::new();
    wire::proxy_protocol::write(wire::proxy_protocol::Version::V2, Some(&ends), &mut out);
    out
}

fn forwarded_for(backend: &Backend) -> Vec<String> {
    let line = |head: &String| head.lines().find(|line| line.starts_with("x-forwarded-for:")).map(str::to_owned);
    backend.seen().iter().filter_map(line).collect()
}

#[test]
fn s_112_the_header_has_the_address_of_the_client() {
    let backend = Backend::answering(OK);
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), LogFormat::istio_text())));
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    gateway.apply(&setup.mesh_settings(believing(&[])));
    // All at once, byte by byte, and in front of a second request.
    let mut client = gateway.client();
    assert_eq!(client.send(LINE).get("/").answer().status, 200);
    assert_eq!(client.get("/").answer().status, 200);
    let mut client = gateway.client();
    for byte in binary() {
        client.send([byte]);
    }
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(gateway.client().send("PROXY UNKNOWN\r\n").get("/").answer().status, 200);
    let told = "x-forwarded-for: 203.0.113.7";
    assert_eq!(forwarded_for(&backend), [told, told, told, "x-forwarded-for: 127.0.0.1"]);
    let lines = lines.get(4);
    assert!(lines[0].contains(" 198.51.100.1:443 203.0.113.7:51000 "), "{}", lines[0]);
}

#[test]
fn s_112_without_the_header_nothing_is_served() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.clone().mesh_settings(believing(&[])));
    assert!(gateway.client().get("/").is_closed());
    assert!(gateway.client().send("PROXY TCP4 1.2.3.4\r\n").is_closed());
    gateway.has_counted("moongate_proxy_headers_refused_total 2");
    // A listener without PROXY protocol rejects the header as a request.
    let gateway = Gateway::serving(&setup);
    assert_eq!(gateway.client().send(LINE).answer().status, 400);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn s_112_the_header_has_its_time() {
    let backend = Backend::answering(OK);
    let limits = Limits { client_hello_timeout: Duration::from_millis(100), ..Limits::default() };
    let gateway = Gateway::start(1, limits, None);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    gateway.apply(&setup.mesh_settings(believing(&[])));
    assert!(gateway.client().send("PROXY TCP4").is_closed());
}

#[test]
fn s_112_only_those_that_are_trusted_may_say_whose_it_is() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.clone().mesh_settings(believing(&["10.0.0.0/8", "127.0.0.0/8"])));
    assert_eq!(gateway.client().send(LINE).get("/").answer().status, 200);
    let gateway = Gateway::serving(&setup.mesh_settings(believing(&["10.0.0.0/8"])));
    assert!(gateway.client().send(LINE).get("/").is_closed());
    gateway.has_counted("moongate_proxy_headers_refused_total 1");
}

#[test]
fn s_112_the_header_precedes_tls_and_tcp_as_well() {
    let backend = Backend::answering(OK);
    let authority = Authority::new();
    let termination = authority.sign(&["a.test"]).termination(ClientAuth::None);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.tls(&["a.test"], Some(termination)).plain().mesh_settings(believing(&[])));
    let address = gateway.addresses()[0];
    run(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&binary()).await.unwrap();
        let mut stream = shake_on(stream, "a.test", None, &["http/1.1"]).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
    assert_eq!(gateway.client().send(LINE).get("/").answer().status, 200);
    assert_eq!(forwarded_for(&backend), ["x-forwarded-for: 203.0.113.7", "x-forwarded-for: 203.0.113.7"]);

    let echo = Backend::start(|side| {
        while side.more().is_some() {}
        let all = side.taken();
        side.send(all);
    });
    let bytes = Setup::default().cluster("c", &[echo.address]);
    for setup in [bytes.clone().tcp("c"), bytes.tls_tcp(&["a.test"], None, "c").plain().tcp("c")] {
        let gateway = Gateway::serving(&setup.mesh_settings(believing(&[])));
        let mut client = gateway.client();
        client.send(LINE).send("hello").finish();
        assert_eq!(client.rest(), b"hello");
    }
}

#[test]
fn s_112_the_setting_holds_for_connections_that_come_after_it() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup);
    let mut before = gateway.client();
    assert_eq!(before.get("/").answer().status, 200);
    gateway.apply(&setup.mesh_settings(believing(&[])));
    assert_eq!(before.get("/").answer().status, 200);
    let address: SocketAddr = gateway.addresses()[0];
    let mut after = Client::connect(address);
    after.stream.write_all(LINE.as_bytes()).unwrap();
    assert_eq!(after.get("/").answer().status, 200);
}

/// The first lines that a backend received on each connection.
fn told(backend: &Backend) -> Vec<String> {
    let first = |head: &String| head.lines().next().filter(|line| line.starts_with("PROXY")).map(str::to_owned);
    backend.seen().iter().filter_map(first).collect()
}

#[test]
fn dr_51_each_client_has_connections_of_its_own() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.told(ProxyProtocolVersion::V1));
    let mut clients = [gateway.client(), gateway.client()];
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").answer().status, 200);
        }
    }
    let line = |client: &Client| {
        let (own, other) = (client.stream.local_addr().unwrap(), client.stream.peer_addr().unwrap());
        format!("PROXY TCP4 {} {} {} {}", own.ip(), other.ip(), own.port(), other.port())
    };
    assert_eq!(backend.connections(), 2);
    assert_eq!(told(&backend), [line(&clients[0]), line(&clients[1])]);
}

#[test]
fn dr_51_a_received_client_address_is_forwarded() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.told(ProxyProtocolVersion::V1).mesh_settings(believing(&[])));
    assert_eq!(gateway.client().send(LINE).get("/").answer().status, 200);
    assert_eq!(told(&backend), [LINE.trim_end()]);
}

#[test]
fn dr_51_bytes_have_it_in_front_and_tls_behind_it() {
    let backend = Backend::start(|side| {
        while side.more().is_some() {}
        let all = side.taken();
        side.send(all);
    });
    let setup = Setup::default().cluster("c", &[backend.address]).told(ProxyProtocolVersion::V2).tcp("c");
    let gateway = Gateway::serving(&setup.clone().mesh_settings(believing(&[])));
    let mut client = gateway.client();
    client.send(LINE).send("hello").finish();
    assert_eq!(client.rest(), [&binary()[..], b"hello"].concat());

    let first = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&first);
    let backend = Backend::start(move |side| {
        let length = binary().len() + 1;
        *seen.lock().unwrap() = side.exactly(length).unwrap();
    });
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).encrypted();
    let gateway = Gateway::serving(&setup.told(ProxyProtocolVersion::V2).mesh_settings(believing(&[])));
    assert_eq!(gateway.client().send(LINE).get("/").answer().status, 503);
    // 22 is the first octet of a handshake record.
    assert_eq!(*first.lock().unwrap(), [&binary()[..], &[22]].concat());
}

#[test]
fn dr_51_streams_of_two_clients_do_not_share_a_connection() {
    let runtime = runtime();
    let (address, told) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut header = vec![0; binary().len()];
                stream.read_exact(&mut header).await.unwrap();
                let ends = wire::proxy_protocol::parse(&header).unwrap().unwrap().ends.unwrap();
                list.lock().unwrap().push(ends.source);
                let source = ends.source.to_string();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let answer = http::Response::builder().header("x-source", &source).body(()).unwrap();
                        respond.send_response(answer, true).unwrap();
                    }
                });
            }
        });
        (address, told)
    });
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[address]).http2("c");
    let gateway = Gateway::serving(&setup.told(ProxyProtocolVersion::V2));
    runtime.block_on(async {
        let mut shown = Vec::new();
        for _ in 0..10 {
            let mut client = connect(gateway.addresses()[0]).await;
            let mut of_client = Vec::new();
            for _ in 0..3 {
                let answer = ask(&mut client, get("/"), &[], None).await.unwrap();
                of_client.push(answer.header("x-source").unwrap().to_owned());
            }
            of_client.dedup();
            assert_eq!(of_client.len(), 1);
            shown.append(&mut of_client);
        }
        let told: Vec<String> = told.lock().unwrap().iter().map(SocketAddr::to_string).collect();
        assert_eq!(shown, told);
    });
}
