//! HTTP/2 on either side, and each version translated into the other (RFC 9113 §8).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, respond, until};
use crate::streams::{Streams, ask, connect, get, meanwhile, post, read, run};
use bytes::Bytes;
use dataplane::Limits;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn to_streams(backend: &Streams) -> Gateway {
    Gateway::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"))
}

fn trailers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn prior_knowledge_is_understood_on_the_port_of_http_1() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    assert_eq!(gateway.client().with_body("POST", "one").answer().text(), "one");
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, post("/x?y=1"), b"two", None).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.header("server")), (200, "two", Some("istio-envoy")));
        assert_eq!(answer.header("content-length"), Some("3"));
        assert_eq!(answer.header("connection"), None);
    });
    let head = &backend.seen()[1];
    assert!(head.starts_with("POST /x?y=1 HTTP/1.1\r\nhost: a.test\r\n"), "{head}");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
}

#[test]
fn an_upgrade_to_h2c_stays_http_1() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(!backend.only().contains("upgrade") && !backend.only().contains("http2-settings"));
}

#[test]
fn many_streams_at_once_are_answered_each() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    run(async {
        let client = connect(gateway.addresses()[0]).await;
        let asking = (0..100).map(|number| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let body = format!("body {number}").repeat(100);
                let answer = ask(&mut client, post("/"), body.as_bytes(), None).await.unwrap();
                assert_eq!(answer.text(), body);
            })
        });
        for one in asking.collect::<Vec<_>>() {
            one.await.unwrap();
        }
    });
    gateway.has_counted("response_code=\"200\",response_flags=\"-\"} 100");
}

#[test]
fn large_bodies_pass_both_ways_within_the_windows() {
    for streams in [false, true] {
        let (one, two) = (Backend::echo(), Streams::echo());
        let gateway = if streams { to_streams(&two) } else { Gateway::to(one.address) };
        run(async {
            let mut client = connect(gateway.addresses()[0]).await;
            let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
            let (response, mut send) = client.send_request(post("/"), false).unwrap();
            let sending = async {
                for piece in body.chunks(10_000) {
                    let mut piece = Bytes::copy_from_slice(piece);
                    while !piece.is_empty() {
                        send.reserve_capacity(piece.len());
                        let room = std::future::poll_fn(|context| send.poll_capacity(context)).await.unwrap().unwrap();
                        send.send_data(piece.split_to(room.min(piece.len())), false).unwrap();
                    }
                }
                send.send_data(Bytes::new(), true).unwrap();
            };
            let reading = async { read(response.await.unwrap().body_mut()).await.unwrap().0 };
            let ((), received) = tokio::join!(sending, reading);
            assert!(received == body, "{} of {} bytes", received.len(), body.len());
        });
    }
}

#[test]
fn trailers_are_passed_on_in_every_direction() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 7\r\nContent-Length: 3\r\n\r\n",
    );
    let gateway = Gateway::to(backend.address);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, post("/"), b"x", Some(trailers(&[("x-end", "1")]))).await.unwrap();
        assert_eq!((answer.text(), answer.trailers.clone()), ("ok", Some(trailers(&[("grpc-status", "7")]))));
    });
    let backend = Streams::echo();
    let gateway = to_streams(&backend);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, post("/"), b"x", Some(trailers(&[("x-end", "1")]))).await.unwrap();
        assert_eq!((answer.text(), answer.trailers.clone()), ("x", Some(trailers(&[("x-end", "1")]))));
    });
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-End: 2\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.text(), &answer.trailers[..]), ("x", &[("x-end".to_owned(), "2".to_owned())][..]));
}

#[test]
fn http_1_becomes_http_2_for_an_http_2_backend() {
    let backend = Streams::echo();
    let gateway = to_streams(&backend);
    let mut client = gateway.client();
    client
        .send("GET /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nConnection: x-gone\r\nX-Gone: 1\r\nCookie: a=1; b=2\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.header("x-head"), Some("GET http://a.test:80/a?b=c None [\"a=1; b=2\"]"));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    client.get("/again");
    assert_eq!(client.answer().header("x-head"), Some("GET http://a.test/again None []"));
    assert_eq!(backend.connections(), 1);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, Request::get("http://a.test/2").body(()).unwrap(), b"", None).await.unwrap();
        assert_eq!(answer.header("x-head"), Some("GET http://a.test/2 None []"));
    });
    assert_eq!(backend.connections(), 1);
}

#[test]
fn rfc_9113_8_2_3_cookies_are_joined_for_http_1() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let request = Request::get("http://a.test/").header("cookie", "a=1").header("cookie", "b=2");
        ask(&mut client, request.body(()).unwrap(), b"", None).await.unwrap();
    });
    assert!(backend.only().contains("cookie: a=1; b=2\r\n"), "{}", backend.only());
}

#[test]
fn answers_of_the_gateway_itself_are_streams_as_well() {
    let setup = Setup::default().host("a.test", respond(418, "teapot")).host("gone.test", forward("none", None));
    let gateway = Gateway::serving(&setup.cluster("none", &[]));
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, get("/"), b"", None).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.header("content-length")), (418, "teapot", Some("6")));
        let head = Request::head("http://a.test/").body(()).unwrap();
        let answer = ask(&mut client, head, b"", None).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.header("content-length")), (418, "", Some("6")));
        let unknown = Request::get("http://b.test/").body(()).unwrap();
        assert_eq!(ask(&mut client, unknown, b"", None).await.unwrap().status, 404);
        let empty = Request::get("http://gone.test/").body(()).unwrap();
        let answer = ask(&mut client, empty, b"", None).await.unwrap();
        assert_eq!((answer.status, answer.text()), (503, "no healthy upstream"));
    });
}

#[test]
fn a_stream_reset_by_the_client_is_reset_at_the_backend() {
    let backend = Backend::start(|side| {
        side.head();
        // Nothing more is sent until the end.
        assert_eq!(side.more(), None);
    });
    let gateway = Gateway::to(backend.address);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let (response, mut send) = client.send_request(get("/"), false).unwrap();
        meanwhile(|| !backend.seen().is_empty()).await;
        send.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        // The connection stays usable.
        let (response, _send) = client.send_request(get("/"), false).unwrap();
        meanwhile(|| backend.seen().len() == 2).await;
        drop(response);
    });
    // The request that was reset, and the one that ended with its connection.
    gateway.has_counted("response_code=\"0\",response_flags=\"DC\"} 2");
}

#[test]
fn an_aborted_response_is_aborted_for_the_client() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf");
    let gateway = Gateway::with_limits(backend.address, Limits { replay_bytes: 0, ..Limits::default() });
    let closing = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[closing.address]));
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let error = ask(&mut client, get("/"), b"", None).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    });
}

#[test]
fn a_refused_stream_is_retried() {
    let backend = Streams::start(|_, mut respond, (connection, count)| async move {
        if (connection, count) == (0, 0) {
            respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let gateway = to_streams(&backend);
    let mut client = gateway.client();
    // The request is not idempotent, but it was not processed.
    assert_eq!(client.with_body("POST", "x").answer().status, 200);
    assert_eq!(gateway.metric("moongate_requests_replayed_total"), Some(1.0));
}

#[test]
fn a_reset_stream_is_not_retried() {
    let backend = Streams::start(|_, mut respond, _| async move { respond.send_reset(Reason::INTERNAL_ERROR) });
    let gateway = to_streams(&backend);
    assert_eq!(gateway.client().with_body("POST", "x").answer().status, 503);
    gateway.has_counted("response_code=\"503\",response_flags=\"UC\"} 1");
}

#[test]
fn a_drain_sends_goaway_and_lets_streams_end() {
    let backend = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::to(backend.address);
    let address = gateway.addresses()[0];
    let asking = std::thread::spawn(move || {
        run(async move {
            let (mut send, connection) =
                h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
            let ended = tokio::spawn(connection);
            let answer = ask(&mut send, get("/"), b"", None).await.unwrap();
            assert_eq!(answer.text(), "ok");
            drop(send);
            ended.await.unwrap().unwrap();
        });
    });
    until("the backend has the request", || !backend.seen().is_empty());
    gateway.drain(Duration::from_secs(10));
    asking.join().unwrap();
}

#[test]
fn websockets_cross_from_http_2_to_http_1_and_back() {
    let backend = Backend::start(|side| {
        let head = side.head().unwrap();
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("sec-websocket-key: "), "{head}");
        side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello");
        while let Some(byte) = side.exactly(1) {
            side.send(byte);
        }
    });
    let gateway = Gateway::to(backend.address);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        std::future::poll_fn(|context| client.poll_ready(context)).await.unwrap();
        let mut request =
            Request::connect("http://a.test/chat").header("sec-websocket-version", "13").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (response, mut send) = client.send_request(request, false).unwrap();
        let (parts, mut receive) = response.await.unwrap().into_parts();
        assert_eq!((parts.status.as_u16(), parts.headers.get("sec-websocket-accept")), (200, None));
        let mut got = receive.data().await.unwrap().unwrap().to_vec();
        send.send_data(Bytes::from_static(b"echo"), true).unwrap();
        while let Some(data) = receive.data().await {
            got.extend_from_slice(&data.unwrap());
        }
        assert_eq!(got, b"helloecho");
    });
}

#[test]
fn websockets_cross_from_http_1_to_http_2() {
    let backend = Streams::start(|request, mut respond, _| async move {
        let (parts, mut receive) = request.into_parts();
        assert_eq!(parts.method.as_str(), "CONNECT");
        assert_eq!(parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str), Some("websocket"));
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = receive.data().await {
            send.send_data(data, false).unwrap();
        }
        send.send_data(Bytes::from_static(b"end"), true).unwrap();
    });
    let gateway = to_streams(&backend);
    run(async {
        let mut stream = TcpStream::connect(gateway.addresses()[0]).await.unwrap();
        let head = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"abc").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert!(all.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{all}");
        // RFC 6455 §1.3 has this pair as its example.
        assert!(all.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{all}");
        assert!(all.ends_with("\r\n\r\nabcend"), "{all}");
    });
}
