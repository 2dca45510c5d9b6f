//! A property of bodies: for all versions of the client and the backend, and for all sizes of pieces, each side receives what the other has sent, with
//! the trailers.

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward};
use crate::streams::{Streams, connect, read, runtime};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;

/// A body that is sent and returned.
#[derive(Debug, Clone)]
struct Message {
    body: Vec<u8>,
    /// Sizes of the pieces.
    cuts: Vec<usize>,
    /// The trailers, if the version supports them.
    trailer: Option<String>,
    /// Whether HTTP/1 sends a length, and no trailers.
    length: bool,
}

impl Message {
    fn pieces(&self) -> Vec<Bytes> {
        let mut rest = Bytes::from(self.body.clone());
        let mut pieces = Vec::new();
        for cut in &self.cuts {
            let piece = rest.split_to((*cut).min(rest.len()));
            if !piece.is_empty() {
                pieces.push(piece);
            }
        }
        pieces.push(rest);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let value = self.trailer.as_ref().filter(|_| !self.length)?;
        Some([(http::HeaderName::from_static("x-end"), value.parse().unwrap())].into_iter().collect())
    }

    /// The octets after an HTTP/1 head.
    fn chunks(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in self.pieces() {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(&piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n");
        if let Some(trailers) = self.trailers() {
            out.extend_from_slice(format!("x-end: {}\r\n", trailers["x-end"].to_str().unwrap()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The body followed by the trailer, which both backends return as a body.
    fn told(&self) -> Vec<u8> {
        let end = self.trailers().map(|trailers| format!("x-end: {}", trailers["x-end"].to_str().unwrap()));
        [&self.body[..], end.unwrap_or_default().as_bytes()].concat()
    }
}

fn messages() -> impl Strategy<Value = Message> {
    let body = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (1..120_000_usize, any::<u8>()).prop_map(|(length, octet)| vec![octet; length]),
    ];
    let cuts = prop::collection::vec(prop_oneof![1..40_usize, 1..40_000_usize], 0..6);
    (body, cuts, prop::option::of("[a-z]{1,8}"), any::<bool>()).prop_map(|(body, cuts, trailer, length)| Message {
        body,
        cuts,
        trailer,
        length,
    })
}

/// Both backends return what they received, and the trailer also as a trailer, if the version supports it.
fn backends() -> (Backend, Streams) {
    let one = Backend::start(|side| {
        while let Some((head, body)) = side.request() {
            let end = head.lines().find_map(|line| line.strip_prefix("x-tell: "));
            let answer = Message { body, cuts: vec![7, 9000], trailer: end.map(str::to_owned), length: false };
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            if !side.send([head.as_bytes(), &answer.chunks()].concat()) {
                return;
            }
        }
    });
    let two = Streams::start(|request, mut respond, _| async move {
        let (parts, mut receive) = request.into_parts();
        let Ok((mut body, trailers)) = read(&mut receive).await else { return };
        if let Some(trailers) = trailers {
            body.extend_from_slice(format!("x-end: {}", trailers["x-end"].to_str().unwrap()).as_bytes());
        }
        let trailer = parts.headers.get("x-tell").map(|value| value.to_str().unwrap().to_owned());
        let answer = Message { body, cuts: vec![7, 9000], trailer, length: false };
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        for piece in answer.pieces() {
            stream.send_data(piece, false).unwrap();
        }
        match answer.trailers() {
            Some(trailers) => stream.send_trailers(trailers).unwrap(),
            None => stream.send_data(Bytes::new(), true).unwrap(),
        }
    });
    (one, two)
}

fn in_http_1(client: &mut crate::client::Client, host: &str, message: &Message) -> (Vec<u8>, Option<String>) {
    let tell = message.trailer.as_ref().map_or_else(String::new, |trailer| format!("x-tell: {trailer}\r\n"));
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\n{tell}");
    if message.length {
        client.send(format!("{head}Content-Length: {}\r\n\r\n", message.body.len()));
        client.send(&message.body);
    } else {
        client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
        client.send(message.chunks());
    }
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    let end = answer.trailers.iter().find(|(name, _)| name == "x-end").map(|(_, value)| value.clone());
    (answer.body, end)
}

async fn in_http_2(
    client: &mut SendRequest<Bytes>,
    host: &str,
    message: &Message,
) -> Result<(Vec<u8>, Option<String>), h2::Error> {
    let mut request = Request::post(format!("http://{host}/"));
    if let Some(trailer) = &message.trailer {
        request = request.header("x-tell", trailer);
    }
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), false)?;
    for piece in message.pieces() {
        stream.send_data(piece, false)?;
    }
    match message.trailers() {
        Some(trailers) => stream.send_trailers(trailers)?,
        None => stream.send_data(Bytes::new(), true)?,
    }
    let (parts, mut receive) = response.await?.into_parts();
    assert_eq!(parts.status, 200);
    let (body, trailers) = read(&mut receive).await?;
    Ok((body, trailers.map(|trailers| trailers["x-end"].to_str().unwrap().to_owned())))
}

#[test]
fn a_body_and_its_trailers_arrive_in_every_pair_of_versions() {
    let (one, two) = backends();
    let setup = Setup::default().host("one.test", forward("one", None)).host("two.test", forward("two", None));
    let setup = setup.cluster("one", &[one.address]).cluster("two", &[two.address]).http2("two");
    let gateway = Gateway::serving(&setup);
    let runtime = runtime();
    let mut streams = runtime.block_on(connect(gateway.addresses()[0]));
    let mut client = gateway.client();
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let client = std::cell::RefCell::new(&mut client);
    let streams = std::cell::RefCell::new(&mut streams);
    runner
        .run(&messages(), |message| {
            for host in ["one.test", "two.test"] {
                let end = message.trailer.clone();
                let told = in_http_1(&mut client.borrow_mut(), host, &message);
                prop_assert_eq!(&told, &(message.told(), end.clone()), "HTTP/1 for {}", host);
                let asked = in_http_2_in_time(&runtime, &mut streams.borrow_mut(), host, &message);
                prop_assert_eq!(&asked, &(message.told(), end), "HTTP/2 for {}", host);
            }
            Ok(())
        })
        .unwrap();
}

fn in_http_2_in_time(
    runtime: &tokio::runtime::Runtime,
    client: &mut SendRequest<Bytes>,
    host: &str,
    message: &Message,
) -> (Vec<u8>, Option<String>) {
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), in_http_2(client, host, message)).await.unwrap().unwrap()
    })
}
