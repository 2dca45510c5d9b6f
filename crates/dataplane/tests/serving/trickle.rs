//! Heads and trailers that are sent octet by octet: `head-timeout` limits each of them, from its first octet to its last, and nothing else.

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward};
use crate::raw::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, OK, SETTINGS, answer, field, frame, head,
};
use crate::streams::{ask, connect, get, run};
use dataplane::Limits;
use std::io::Write;
use std::time::Duration;

/// The limit of a head.
const LIMIT: Duration = Duration::from_millis(400);
/// The time between octets.
const PAUSE: Duration = Duration::from_millis(20);
/// Far more octets than the limit allows, so that a missing limit is detected.
const OCTETS: usize = 400;

fn limits() -> Limits {
    Limits { head_timeout: LIMIT, ..Limits::default() }
}

/// Sends octets one by one; `false` when the gateway has closed the connection.
fn trickle(to: &mut impl Write, octets: impl IntoIterator<Item = u8>) -> bool {
    octets.into_iter().all(|octet| {
        std::thread::sleep(PAUSE);
        to.write_all(&[octet]).is_ok()
    })
}

fn endless() -> impl Iterator<Item = u8> {
    std::iter::repeat_n(b'a', OCTETS)
}

/// A gateway in front of an HTTP/1.1 backend that sends this, and then octets one by one.
fn before_one(begin: &'static str) -> (Gateway, Backend) {
    let backend = Backend::start(move |side| {
        side.request();
        side.send(begin);
        assert!(!trickle(&mut side.stream, endless()), "nobody ended it");
    });
    (Gateway::with_limits(backend.address, limits()), backend)
}

/// The same in HTTP/2.
fn before_two(begin: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> (Gateway, Backend) {
    let backend = raw::backend(move |raw, stream| {
        raw.send(begin(stream));
        assert!(!trickle(&mut raw.side.stream, endless()), "nobody ended it");
    });
    (raw::gateway(&backend, limits()), backend)
}

/// The beginning of a frame whose payload is not sent.
fn partial(kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    frame(kind, flags, stream, &[0; 16_000])[..9].to_vec()
}

#[test]
fn heads_of_answers_that_trickle_are_504() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nA: ";
    let begun = ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 103 Early Hints\r\nA: ", interim];
    let mut gateways: Vec<_> = begun.into_iter().map(before_one).collect();
    gateways.push(before_two(|stream| partial(HEADERS, END_HEADERS, stream)));
    gateways.push(before_two(|stream| {
        [frame(HEADERS, 0, stream, OK), partial(CONTINUATION, END_HEADERS, stream)].concat()
    }));
    gateways.push(before_two(|stream| {
        [head(0, stream, &field(":status", "103")), partial(HEADERS, END_HEADERS, stream)].concat()
    }));
    for (at, (gateway, _backend)) in gateways.iter().enumerate() {
        let mut client = gateway.client();
        client.get("/");
        let mut answer = client.answer();
        while answer.status < 200 {
            answer = client.answer();
        }
        assert_eq!((answer.status, answer.text()), (504, "upstream response header timeout"), "{at}");
        gateway.has_counted("response_code=\"504\",response_flags=\"UT\"} 1");
    }
}

#[test]
fn trailers_of_answers_that_trickle_are_no_end() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: ";
    let begun = |stream| [head(0, stream, OK), frame(DATA, 0, stream, b"ok")].concat();
    let gateways = [
        before_one(chunked),
        before_two(move |stream| [begun(stream), partial(HEADERS, END_HEADERS | END_STREAM, stream)].concat()),
    ];
    for (gateway, _backend) in gateways {
        let mut client = gateway.client();
        let got = client.get("/").try_answer(false);
        assert!(got.is_err(), "{got:?}");
        run(async {
            let mut client = connect(gateway.addresses()[0]).await;
            let got = ask(&mut client, get("/"), b"", None).await;
            assert!(got.is_err(), "{got:?}");
        });
    }
}

#[test]
fn bodies_and_interim_responses_take_longer_than_a_head_may() {
    let steps = (2 * LIMIT.as_millis() / PAUSE.as_millis()) as usize;
    let one = Backend::start(move |side| {
        side.request();
        for _ in 0..3 {
            side.send("HTTP/1.1 102 Processing\r\n\r\n");
            std::thread::sleep(LIMIT / 2);
        }
        side.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {steps}\r\n\r\n"));
        assert!(trickle(&mut side.stream, std::iter::repeat_n(b'a', steps)));
    });
    let two = raw::backend(move |raw, stream| {
        for _ in 0..3 {
            raw.send(head(0, stream, &field(":status", "102")));
            std::thread::sleep(LIMIT / 2);
        }
        raw.send(head(0, stream, OK));
        // The payload of one frame, octet by octet.
        raw.send(&frame(DATA, END_STREAM, stream, &vec![0; steps])[..9]);
        assert!(trickle(&mut raw.side.stream, std::iter::repeat_n(b'a', steps)));
    });
    for gateway in [Gateway::with_limits(one.address, limits()), raw::gateway(&two, limits())] {
        let mut client = gateway.client();
        client.get("/");
        assert_eq!([102; 3].map(|_| client.answer().status), [102; 3]);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (200, steps));
    }
}

#[test]
fn trailers_of_requests_that_trickle_are_408() {
    let backend = Backend::start(|side| while side.more().is_some() {});
    let gateway = Gateway::with_limits(backend.address, limits());
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: ");
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || trickle(&mut sender, endless()));
    assert_eq!(client.answer().status, 408);
    drop(client);
    assert!(!sending.join().unwrap());
}

#[test]
fn header_blocks_of_clients_that_trickle_end_their_connection() {
    let backend = raw::backend(|raw, stream| {
        raw.send(answer(stream, b"ok"));
    });
    let gateway = Gateway::start(1, limits(), None);
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"));
    let request = [0x83, 0x86, 0x84, 0x41, 1, b'a'];
    let begun = |stream| [head(0, stream, &request), frame(DATA, 0, stream, b"x")].concat();
    for begin in [
        partial(HEADERS, END_HEADERS | END_STREAM, 1),
        [frame(HEADERS, 0, 1, &request), partial(CONTINUATION, END_HEADERS, 1)].concat(),
        [begun(1), partial(HEADERS, END_HEADERS | END_STREAM, 1)].concat(),
        partial(SETTINGS, 0, 0)[..3].to_vec(),
    ] {
        let mut client = gateway.client();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send(frame(SETTINGS, 0, 0, b"")).send(begin);
        let mut sender = client.stream.try_clone().unwrap();
        assert!(!trickle(&mut sender, endless()), "nobody ended it");
    }
}
