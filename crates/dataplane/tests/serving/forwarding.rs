//! The forward proxy for clients in HTTP/2, and its tunnels in both versions (E-40, E-41).

use crate::backend::Backend;
use crate::client;
use crate::gateway::{Gateway, Setup, TIMEOUT};
use crate::streams;
use bytes::Bytes;
use http::{Method, Request, Uri};
use ir::ForwardProtocol::{Http, Tcp, Tls};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

fn gateway(backend: &Backend) -> Gateway {
    let setup = Setup::default().cluster("c", &[backend.address]);
    Gateway::serving(&setup.proxying(&[
        ("a.test", 80, Http, "c"),
        ("b.test", 22, Tcp, "c"),
        ("tls.test", 443, Tls, "c"),
    ]))
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri.parse::<Uri>().unwrap()).body(()).unwrap()
}

fn connect(authority: &str) -> Request<()> {
    let uri = Uri::builder().authority(authority).build().unwrap();
    Request::builder().method(Method::CONNECT).uri(uri).body(()).unwrap()
}

#[test]
fn e_40_a_stream_names_its_destination_by_scheme_and_authority() {
    let backend = Backend::start(|side| {
        let head = side.head().unwrap();
        assert!(head.starts_with("GET /x?y HTTP/1.1\r\n") && head.contains("host: a.test\r\n"), "{head}");
        assert!(head.contains("via: 1.1 moongate\r\n") && !head.contains("x-forwarded"), "{head}");
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = gateway(&backend);
    streams::run(async {
        let client = streams::connect(gateway.addresses()[0]).await;
        let ask = async |request| {
            let answer = streams::ask(&mut client.clone(), request, &[], None).await.unwrap();
            (answer.status, answer.text().to_owned())
        };
        assert_eq!(ask(request(Method::GET, "http://a.test/x?y")).await, (200, "ok".to_owned()));
        for (uri, status) in [
            ("https://a.test/", 403),
            ("http://b.test/", 403),
            ("http://127.1/", 400),
            ("http://a.test./", 400),
            ("http://a.test:81/", 403),
        ] {
            let (got, reason) = ask(request(Method::GET, uri)).await;
            assert!(got == status && !reason.is_empty(), "{uri}: {got} {reason}");
        }
        assert_eq!(ask(connect("evil.test:443")).await.0, 403);
        assert_eq!(ask(connect("a.test:80")).await.0, 403);
        assert_eq!(ask(connect("b.test")).await.0, 400);
    });
}

#[test]
fn e_41_a_stream_is_a_tunnel_both_ways_and_each_side_ends_for_itself() {
    let backend = Backend::start(|side| {
        assert_eq!(side.exactly(4).unwrap(), b"ping");
        side.send("pong");
        assert!(side.more().is_none());
        side.send("last words");
    });
    let gateway = gateway(&backend);
    streams::run(async {
        let mut client = streams::connect(gateway.addresses()[0]).await;
        let (response, mut send) = client.send_request(connect("b.test:22"), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut receive = response.into_body();
        send.send_data(Bytes::from_static(b"ping"), false).unwrap();
        assert_eq!(receive.data().await.unwrap().unwrap(), "pong");
        let _ = receive.flow_control().release_capacity(4);
        send.send_data(Bytes::new(), true).unwrap();
        let (rest, _) = streams::read(&mut receive).await.unwrap();
        assert_eq!(rest, b"last words");
    });
}

#[test]
fn e_41_octets_that_come_with_connect_are_the_tunnels_and_http_10_is_served() {
    let backend = Backend::start(|side| {
        let early = side.exactly(5).unwrap();
        side.send(early);
    });
    let gateway = gateway(&backend);
    for version in ["1.1", "1.0"] {
        let mut client = gateway.client();
        client.send(format!("CONNECT b.test:22 HTTP/{version}\r\nHost: b.test:22\r\n\r\nearly"));
        let rest = String::from_utf8(client.rest()).unwrap();
        assert_eq!(rest, "HTTP/1.1 200 Connection established\r\n\r\nearly", "{version}");
    }
    let mut client = gateway.client();
    client.send("CONNECT b.test:22 HTTP/1.1\r\nHost: b.test:22\r\nContent-Length: 5\r\n\r\nearly");
    assert_eq!(client.answer().status, 400);
}

/// What was sent is incomplete, and the other end must not take it for all of it, as it would after a regular end.
#[test]
fn s_125_a_reset_of_one_end_of_a_tunnel_resets_the_other() {
    let (sender, ends) = mpsc::channel();
    let backend = Backend::start(move |side| {
        assert_eq!(side.exactly(4).unwrap(), b"ping");
        side.send("pong");
        if side.number == 0 {
            return client::reset(&side.stream);
        }
        sender.send(side.stream.read(&mut [0]).map_err(|error| error.kind())).unwrap();
    });
    let gateway = gateway(&backend);
    let open = || {
        let mut client = gateway.client();
        client.send("CONNECT b.test:22 HTTP/1.1\r\nHost: b.test:22\r\n\r\nping");
        let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
        assert_eq!(client.exactly(answer.len()).unwrap(), answer);
        client
    };
    let mut first = open();
    // The reset may overtake what was sent before.
    let error = loop {
        match first.stream.read(&mut [0; 16]) {
            Ok(count) => assert_ne!(count, 0, "a regular end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut second = open();
    assert_eq!(second.exactly(4).unwrap(), b"pong");
    second.reset();
    assert_eq!(ends.recv_timeout(TIMEOUT).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_tunnel_to_a_port_of_tls_begins_with_a_client_hello_for_its_destination() {
    let backend = Backend::start(|side| assert!(side.more().is_none(), "nothing is sent"));
    let gateway = gateway(&backend);
    let mut client = gateway.client();
    client.send("CONNECT tls.test:443 HTTP/1.1\r\nHost: tls.test:443\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    let rest = client.rest();
    assert!(rest.starts_with(b"HTTP/1.1 200 ") && rest.ends_with(&[21, 3, 3, 0, 2, 2, 112]), "{rest:?}");
}

/// The body was read for the first attempt, so that what follows it is the next request.
#[test]
fn e_40_a_request_that_is_sent_again_in_vain_leaves_the_next_one_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let until = |stream: &mut TcpStream, end: &[u8]| {
            let (mut text, mut octet) = (Vec::new(), [0]);
            while !text.ends_with(end) {
                stream.read_exact(&mut octet).unwrap();
                text.push(octet[0]);
            }
        };
        until(&mut stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        until(&mut stream, b"0123456789");
    });
    let setup = Setup::default().cluster("c", &[address]);
    let gateway = Gateway::serving(&setup.proxying(&[("a.test", 80, Http, "c")]));
    let mut client = gateway.client();
    client.send("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n0123456789");
    let answer = client.answer();
    assert!(answer.status == 502 && answer.text().contains("cannot be reached"), "{} {}", answer.status, answer.text());
    backend.join().unwrap();
    client.send("GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(client.answer().status, 403);
}

#[test]
fn e_41_what_follows_a_refused_connect_is_no_request() {
    let backend = Backend::start(|side| assert!(side.more().is_none(), "nothing is sent"));
    let gateway = gateway(&backend);
    let mut client = gateway.client();
    client.send("CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\nGET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    assert!(client.is_closed());
}
