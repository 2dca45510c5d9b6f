//! Hundreds of malformed heads, chunks and responses: what a strict parser rejects is not forwarded, and does not become the response to a later
//! request.

use crate::backend::Backend;
use crate::frames::{DATA, END_STREAM, PROTOCOL_ERROR, Peer, field, head, request};
use crate::gateway::Gateway;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Every byte that is invalid within a word of a head.
fn controls() -> impl Iterator<Item = char> {
    (0..=0x1f_u8).chain([0x7f]).filter(|byte| *byte != b'\t').map(char::from)
}

fn heads() -> Vec<String> {
    let mut heads = Vec::new();
    for control in controls() {
        heads.push(format!("GET / HTTP/1.1\r\nHost: a.test\r\nA: b{control}c\r\n\r\n"));
        heads.push(format!("GET / HTTP/1.1\r\nHost: a.test\r\nA{control}B: c\r\n\r\n"));
        heads.push(format!("G{control}T / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        heads.push(format!("GET /a{control}b HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        heads.push(format!("GET / HTTP/1.1{control}\r\nHost: a.test\r\n\r\n"));
        heads.push(format!("GET / HTTP/1.1\r\nHost: a{control}.test\r\n\r\n"));
    }
    let separators = "()<>@,;\\\"/[]?={} ";
    heads.extend(separators.chars().map(|c| format!("GET / HTTP/1.1\r\nHost: a.test\r\nA{c}B: c\r\n\r\n")));
    heads.extend(separators.chars().map(|c| format!("G{c}T / HTTP/1.1\r\nHost: a.test\r\n\r\n")));
    let lines = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET /",
        "GET",
        "/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / HTTPS/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET http:/a.test/ HTTP/1.1",
        "GET ftp://a.test/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://a@b/ HTTP/1.1",
        "GET http://a.test:x/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "GET /%00 HTTP/1.1",
    ];
    heads.extend(lines.map(|line| format!("{line}\r\nHost: a.test\r\n\r\n")));
    let fields = [
        ": b",
        "A",
        "A b",
        "A : b",
        "A\t: b",
        " A: b",
        "\tA: b",
        "A: b\r\n folded: c",
        "Host: b.test",
        "Host : a.test",
        "Expect: 200-ok",
        "Connection: host",
        "Connection: content-length",
        "Connection: close, transfer-encoding",
        "Connection: x-forwarded-for",
    ];
    heads.extend(fields.map(|field| format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n\r\n")));
    let hosts = ["Host: a b", "Host: a/b", "Host: a@b", "Host: a:b", "Host: [a", "Host: a,b/", "Host: a\\b", "X: y"];
    heads.extend(hosts.map(|host| format!("GET / HTTP/1.1\r\n{host}\r\n\r\n")));
    heads
}

#[test]
fn malformed_heads_are_not_forwarded_and_end_the_connection() {
    let backend = Backend::answering(OK);
    let gateway = Gateway::to(backend.address);
    let heads = heads();
    assert!(heads.len() >= 150, "{}", heads.len());
    for head in heads {
        let mut client = gateway.client();
        client.send(&head).send(SECOND).finish();
        let answer = client.answer();
        assert!((400..=505).contains(&answer.status), "{head:?}: {answer:?}");
        assert!(client.try_answer(false).is_err(), "{head:?}: the request behind it was answered");
        assert_eq!(backend.seen(), Vec::<String>::new(), "{head:?}");
    }
    assert_eq!(gateway.client().get("/").answer().status, 200);
}

fn answers() -> Vec<String> {
    let mut answers = Vec::new();
    for control in controls() {
        answers.push(format!("HTTP/1.1 200 OK\r\nA: b{control}c\r\nContent-Length: 0\r\n\r\n"));
        answers.push(format!("HTTP/1.1 200 OK\r\nA{control}B: c\r\nContent-Length: 0\r\n\r\n"));
        answers.push(format!("HTTP/1.1 2{control}0 OK\r\nContent-Length: 0\r\n\r\n"));
    }
    let lines = [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 X",
        "HTTP/1.1 600 X",
        "HTTP/2 200 OK",
        "HTTP/1.1",
        "200 OK",
        "<html>",
    ];
    answers.extend(lines.map(|line| format!("{line}\r\nContent-Length: 0\r\n\r\n")));
    let fields = [
        "Content-Length: +0",
        "Content-Length: 0x0",
        "Content-Length: 0, 0",
        "Content-Length: -1",
        "Content-Length: ",
        "Content-Length: 1e1",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "A : b",
        " A: b",
        "A: b\r\n c",
        ": b",
        "A",
    ];
    answers.extend(fields.map(|field| format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n")));
    answers.push("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok".to_owned());
    answers.push("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned());
    answers.push("HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok".to_owned());
    answers.push("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned());
    answers
}

#[test]
fn malformed_answers_are_502_and_poison_no_later_one() {
    for answer in answers() {
        let sent = answer.clone();
        let backend = Backend::start(move |side| {
            while let Some((head, _)) = side.request() {
                let good = head.starts_with("GET /good");
                if !side.send(if good { OK } else { &sent }) {
                    return;
                }
            }
        });
        let gateway = Gateway::to(backend.address);
        let mut client = gateway.client();
        assert_eq!(client.get("/bad").answer().status, 502, "{answer:?}");
        let later = client.get("/good").answer();
        assert_eq!((later.status, later.body.as_slice()), (200, &b"ok"[..]), "{answer:?}");
    }
}

#[test]
fn malformed_chunks_of_an_answer_never_look_like_its_end() {
    let chunks = [
        "2\nok\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nokX\r\n0\r\n\r\n",
        "2 \r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "\r\nok\r\n0\r\n\r\n",
        ";a\r\nok\r\n0\r\n\r\n",
        "2;a\nok\r\n0\r\n\r\n",
        "2;\0\r\nok\r\n0\r\n\r\n",
        "g\r\nok\r\n0\r\n\r\n",
        "2_0\r\nok\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\nA b\r\n\r\n",
        "2\r\nok\r\n0\r\nA: b\n\r\n",
        "2\r\nok\r\n0\r\n A: b\r\n\r\n",
        "2\r\nok\r\n0\n\r\n",
        "2\r\nok\r\n-0\r\n\r\n",
        "2\r\nok\r\n0 \r\n\r\n",
    ];
    for chunk in chunks {
        let backend = Backend::start(move |side| {
            while let Some((head, _)) = side.request() {
                let bad = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
                if !side.send(if head.starts_with("GET /good") { OK } else { &bad }) {
                    return;
                }
            }
        });
        let gateway = Gateway::to(backend.address);
        let mut client = gateway.client();
        let got = client.get("/bad").try_answer(false);
        // The chunk arrived with the head, so that an error response was still possible.
        assert_eq!(got.as_ref().map(|answer| answer.status), Ok(502), "{chunk:?}: {got:?}");
        let later = gateway.client().get("/good").answer();
        assert_eq!((later.status, later.body.as_slice()), (200, &b"ok"[..]), "{chunk:?}");
    }
}

#[test]
fn chunks_that_are_malformed_behind_an_answer_that_began_break_it_off() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        wait.lock().unwrap().recv().unwrap();
        side.send("x\r\n");
        side.more();
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert!(client.get("/").head().starts_with("HTTP/1.1 200 "));
    assert_eq!(client.exactly(7).unwrap(), b"2\r\nok\r\n");
    go.send(()).unwrap();
    assert!(client.is_closed(), "there is no last chunk");
}

const WINDOW: u32 = 65_535;

/// The result of a head in HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Its stream is reset, or its connection ended (RFC 9113 §8.1.1).
    Reset,
    /// The response has this status.
    Answer(u16),
}

fn streams() -> Vec<(Vec<u8>, Fate)> {
    let mut heads = Vec::new();
    // RFC 9113 §8.2.1: white space around a value, and octets that are invalid in values.
    for value in ["admin ", " admin", "admin\t", "\tadmin", " ", "\t", "a\0b", "a\rb", "a\nb", "a\x7fb", "\x01"] {
        for name in ["x-role", "cookie", "host", "content-type"] {
            heads.push(([request("GET", "/"), field(name, value)].concat(), Fate::Reset));
        }
    }
    // Names that are not tokens, or not in lower case.
    for byte in (0..=0x20_u8).chain(*b"\"(),/:;<=>?@[\\]{}XZ").chain([0x7f]) {
        let name = format!("x{}", char::from(byte));
        heads.push(([request("GET", "/"), field(&name, "y")].concat(), Fate::Reset));
    }
    heads.push(([request("GET", "/"), field("", "y")].concat(), Fate::Reset));
    let own = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];
    for without in [":method", ":scheme", ":path"] {
        let kept: Vec<_> = own.into_iter().filter(|(name, _)| *name != without).collect();
        heads.push((head(&kept), Fate::Reset));
        let empty = own.map(|(name, value)| if name == without { (name, "") } else { (name, value) });
        heads.push((head(&empty), Fate::Reset));
    }
    for more in [(":path", "/"), (":status", "200"), (":unknown", "x"), (":protocol", "websocket")] {
        heads.push((head(&[&own[..], &[more]].concat()), Fate::Reset));
    }
    heads.push((head(&[&[("x-a", "b")][..], &own].concat()), Fate::Reset));
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"] {
        heads.push(([request("GET", "/"), field(name, "x")].concat(), Fate::Reset));
    }
    heads.push(([request("GET", "/"), field("te", "gzip")].concat(), Fate::Reset));
    let connect = |protocol: &str| {
        let connect = [
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.test"),
        ];
        head(&connect)
    };
    // RFC 8441 §4: a token; RFC 9220 §3: one that is not known is not implemented.
    for protocol in ["", " ", "web socket", "web\tsocket", "websocket ", "a\0", "a\x7f", "a\"b", "\u{e9}"] {
        heads.push((connect(protocol), Fate::Reset));
    }
    for protocol in ["connect-udp", "webtransport", "http/1.1", "web-socket", "x"] {
        let fate = if protocol == "http/1.1" { Fate::Reset } else { Fate::Answer(501) };
        heads.push((connect(protocol), fate));
    }
    heads
}

#[test]
fn rfc_9113_8_1_1_malformed_heads_of_streams_are_not_forwarded() {
    let backend = Backend::answering(OK);
    let gateway = Gateway::to(backend.address);
    let heads = streams();
    assert!(heads.len() > 100, "{}", heads.len());
    let mut peer = Peer::connect(gateway.addresses()[0], WINDOW);
    for (head, fate) in heads {
        let shown = String::from_utf8_lossy(&head).into_owned();
        let stream = peer.open(END_STREAM, &head);
        peer.until(&shown, |seen| {
            seen.resets.contains_key(&stream) || seen.goaway.is_some() || seen.heads.contains_key(&stream)
        });
        match fate {
            Fate::Answer(status) => assert_eq!(peer.seen.status(stream), Some(status), "{shown:?}"),
            Fate::Reset => {
                let code = peer.seen.goaway.or(peer.seen.resets.get(&stream).copied());
                assert_eq!(code, Some(PROTOCOL_ERROR), "{shown:?}");
            }
        }
        assert_eq!(backend.seen(), Vec::<String>::new(), "{shown:?}");
        // Each answer is the first of its connection, so that HPACK has no table for its status.
        if peer.seen.goaway.is_some() || fate != Fate::Reset {
            peer = Peer::connect(gateway.addresses()[0], WINDOW);
        }
    }
    let stream = peer.open(END_STREAM, &request("GET", "/"));
    peer.until("an answer", |seen| seen.is_ok(stream));
    // Errors that the library found are not counted.
    assert!(gateway.metric("moongate_http2_streams_refused_total{cause=\"malformed\"}").unwrap() >= 25.0);
}

#[test]
fn rfc_9113_8_1_malformed_trailers_reset_the_stream() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    for trailer in [
        ("x-a", "b "),
        ("x-a", "\tb"),
        ("x\"a", "b"),
        ("X-A", "b"),
        ("x-a", "a\rb"),
        (":path", "/other"),
        (":status", "200"),
        (":method", "GET"),
    ] {
        let mut peer = Peer::connect(gateway.addresses()[0], WINDOW);
        let stream = peer.open(0, &request("POST", "/"));
        peer.frame(DATA, 0, stream, b"body");
        peer.frame(1, 4 | END_STREAM, stream, &head(&[trailer]));
        peer.until("a reset", |seen| seen.resets.contains_key(&stream) || seen.goaway.is_some());
        let code = peer.seen.goaway.or(peer.seen.resets.get(&stream).copied());
        assert_eq!((code, peer.seen.heads.len()), (Some(PROTOCOL_ERROR), 0), "{trailer:?}");
    }
    // The connections of the backend are not affected.
    assert_eq!(gateway.client().with_body("POST", "whole").answer().text(), "whole");
}

#[test]
fn rfc_8441_5_a_success_is_no_switch_of_a_backend_in_http_1() {
    let backend = Backend::answering(OK);
    let gateway = Gateway::to(backend.address);
    let mut peer = Peer::connect(gateway.addresses()[0], WINDOW);
    let connect = head(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a.test"),
        ("sec-websocket-version", "13"),
    ]);
    let stream = peer.open(0, &connect);
    peer.until("an answer", |seen| seen.heads.contains_key(&stream));
    assert_eq!(peer.seen.status(stream), Some(502));
    assert!(backend.only().contains("upgrade: websocket"));
}
