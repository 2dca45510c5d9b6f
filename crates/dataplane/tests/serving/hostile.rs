//! Hostile backends: malformed responses in HTTP/2, endless interim responses, and floods. HTTP/1.1 is covered by `malformed` and `failures`.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward, respond, until};
use crate::raw::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, OK, PING, RESET, Raw, SETTINGS, WINDOW_UPDATE,
    answer, field, frame, head,
};
use crate::streams::{ask, connect, get, run};
use dataplane::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads interim responses. Returns their number and the final response.
fn skip_interim(client: &mut Client) -> (usize, Result<crate::client::Answer, String>) {
    let mut count = 0;
    loop {
        match client.try_answer(false) {
            Ok(interim) if interim.status < 200 => count += 1,
            other => return (count, other),
        }
    }
}

/// The second request of a connection, and each later one, gets a valid response.
fn bad_then_good(bad: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Backend {
    let first = AtomicUsize::new(0);
    raw::backend(move |raw, stream| {
        let is_first = first.fetch_add(1, Ordering::SeqCst) == 0;
        raw.send(if is_first { bad(stream) } else { answer(stream, b"good") });
    })
}

fn blocks_that_are_no_answer() -> Vec<(&'static str, Vec<u8>)> {
    let with = |name, value| [OK.to_vec(), field(name, value)].concat();
    let status = |value: &str| field(":status", value);
    vec![
        ("a blank before a value", with("a", " b")),
        ("a blank behind a value", with("a", "b ")),
        ("a tab before a value", with("a", "\tb")),
        ("nothing but a blank", with("a", " ")),
        ("CR in a value", with("a", "b\rc")),
        ("LF in a value", with("a", "b\nc: d")),
        ("NUL in a value", with("a", "b\0c")),
        ("a quote in a name", with("x\"", "b")),
        ("a blank in a name", with("x y", "b")),
        ("a colon in a name", with("x:y", "b")),
        ("capitals in a name", with("Xy", "b")),
        ("no name", with("", "b")),
        ("a path", [OK, &[0x84]].concat()),
        ("a path in a literal", with(":path", "/")),
        ("a method", [OK, &[0x82]].concat()),
        ("a scheme", [OK, &[0x86]].concat()),
        ("an authority", with(":authority", "a")),
        ("a field that only looks like one of these", with(":other", "a")),
        ("no status", field("a", "b")),
        ("two statuses", [0x88, 0x88].to_vec()),
        ("a status behind a field", [field("a", "b"), OK.to_vec()].concat()),
        ("status 99", status("099")),
        ("status 101", status("101")),
        ("status 600", status("600")),
        ("status 999", status("999")),
        ("status 1000", status("1000")),
        ("status 20", status("20")),
        ("a status that is no number", status("2x0")),
        ("an empty status", status("")),
        ("connection", with("connection", "close")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("keep-alive", with("keep-alive", "5")),
        ("upgrade", with("upgrade", "websocket")),
        ("te", with("te", "gzip")),
        ("a length that is no number", with("content-length", "x")),
        ("a length with a sign", with("content-length", "+2")),
        ("two lengths", [with("content-length", "4"), field("content-length", "5")].concat()),
        ("101 lines", [OK.to_vec(), field("a", "b").repeat(101)].concat()),
    ]
}

#[test]
fn rfc_9113_8_malformed_heads_of_answers_are_502_in_both_versions_and_poison_no_later_one() {
    let blocks = blocks_that_are_no_answer();
    assert!(blocks.len() >= 35);
    for (what, block) in blocks {
        for ended in [false, true] {
            let block = block.clone();
            let flags = if ended { END_STREAM } else { 0 };
            let backend = bad_then_good(move |stream| {
                let body = if ended { Vec::new() } else { frame(DATA, END_STREAM, stream, b"evil") };
                [head(flags, stream, &block), body].concat()
            });
            let gateway = raw::gateway(&backend, Limits::default());
            let mut client = gateway.client();
            assert_eq!(client.get("/bad").answer().status, 502, "{what}, {ended}");
            let later = client.get("/good").answer();
            assert_eq!((later.status, later.text()), (200, "good"), "{what}");
            gateway.has_counted("response_code=\"502\",response_flags=\"UPE\"} 1");
        }
    }
}

#[test]
fn rfc_9113_8_malformed_interim_heads_are_502() {
    let interim = |more: &[u8]| [&field(":status", "103")[..], more].concat();
    let blocks = [
        ("101", field(":status", "101")),
        ("a blank", interim(&field("a", " b"))),
        ("a path", interim(&[0x84])),
        ("101 lines", interim(&field("a", "b").repeat(101))),
    ];
    for (what, block) in blocks {
        let backend = bad_then_good(move |stream| [head(0, stream, &block), answer(stream, b"evil")].concat());
        let gateway = raw::gateway(&backend, Limits::default());
        assert_eq!(gateway.client().get("/bad").answer().status, 502, "{what}");
    }
    // The end of the stream is not a response.
    let backend = bad_then_good(move |stream| head(END_STREAM, stream, &field(":status", "103")));
    let gateway = raw::gateway(&backend, Limits::default());
    let (count, last) = skip_interim(gateway.client().get("/bad"));
    assert_eq!((count, last.unwrap().status), (1, 502));
}

/// Responses that have begun, and must not be taken for complete ones.
fn ends_that_are_none(stream: u32) -> Vec<(&'static str, Vec<u8>)> {
    let begun = [head(0, stream, OK), frame(DATA, 0, stream, b"part")].concat();
    let with_length = |length: &str, flags, body: &[u8]| {
        let block = [OK, &field("content-length", length)].concat();
        [head(0, stream, &block), frame(DATA, flags, stream, body)].concat()
    };
    let trailers = |block: &[u8]| [begun.clone(), head(END_STREAM, stream, block)].concat();
    vec![
        ("a status in trailers", trailers(OK)),
        ("a status in a literal in trailers", trailers(&field(":status", "200"))),
        ("a status of the table in trailers", {
            let added = [&[0x48, 3][..], b"418"].concat();
            [head(0, stream, &added), frame(DATA, 0, stream, b"part"), head(END_STREAM, stream, &[0xbe])].concat()
        }),
        ("a path in trailers", trailers(&[0x84])),
        ("a blank in trailers", trailers(&field("a", "b "))),
        ("a quote in trailers", trailers(&field("x\"", "b"))),
        ("101 lines of trailers", trailers(&field("a", "b").repeat(101))),
        ("1,500 lines of trailers", trailers(&field("a", "b").repeat(1500))),
        ("trailers that do not end", [begun.clone(), head(0, stream, &field("a", "b"))].concat()),
        ("less than its length", with_length("5", END_STREAM, b"part")),
        ("more than its length", with_length("3", END_STREAM, b"part")),
        ("less than its length, and trailers", {
            [with_length("5", 0, b"part"), head(END_STREAM, stream, &field("a", "b"))].concat()
        }),
        ("a reset", [begun.clone(), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()),
        ("a reset without an error", [begun.clone(), frame(RESET, 0, stream, &[0; 4])].concat()),
        ("data on no stream", [begun.clone(), frame(DATA, 0, 0, b"x")].concat()),
        ("an end of the connection", [begun.clone(), frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1])].concat()),
        ("a frame that is too large", [begun, frame(DATA, 0, stream, &[0; 16_385])].concat()),
    ]
}

#[test]
fn rfc_9113_8_ends_that_are_malformed_never_look_like_an_end() {
    let number = ends_that_are_none(1).len();
    assert!(number >= 15);
    for at in 0..number {
        let (what, _) = ends_that_are_none(1).swap_remove(at);
        let gateway = |second: Arc<AtomicUsize>| {
            let backend = raw::backend(move |raw, stream| {
                let bad = second.fetch_add(1, Ordering::SeqCst) == 0;
                let (_, ends) = ends_that_are_none(stream).swap_remove(at);
                raw.send(if bad { ends } else { answer(stream, b"good") });
            });
            (raw::gateway(&backend, Limits::default()), backend)
        };
        let (to, _backend) = gateway(Arc::default());
        let mut client = to.client();
        let got = client.get("/bad").try_answer(false);
        assert!(got.as_ref().map_or(true, |answer| answer.status >= 502), "{what}: {got:?}");
        assert_eq!(to.client().get("/good").answer().text(), "good", "{what}");
        let (to, _backend) = gateway(Arc::default());
        run(async {
            let mut client = connect(to.addresses()[0]).await;
            let got = ask(&mut client, get("/bad"), b"", None).await;
            assert!(got.as_ref().map_or(true, |answer| answer.status >= 502), "{what}: {got:?}");
            assert_eq!(ask(&mut client, get("/good"), b"", None).await.unwrap().text(), "good", "{what}");
        });
    }
}

#[test]
fn answers_that_only_look_malformed_are_passed_on() {
    let backend = raw::backend(|raw, stream| {
        let bytes = match raw.count {
            // Trailers alone, without a body, and the entries that later blocks refer to.
            0 => head(END_STREAM, stream, &[&[0x48, 3][..], b"418", &[0x40, 1, b'a', 1, b'b']].concat()),
            1 => head(END_STREAM, stream, &[0xbf, 0xbe]),
            2 => [head(0, stream, &[0xbf]), frame(DATA, 0, stream, b"ok"), head(END_STREAM, stream, &[0xbe])].concat(),
            // Padded, with a priority, in three parts.
            _ => [
                frame(HEADERS, 8 | 0x20, stream, &[3, 0, 0, 0, 0, 5, 0x88, 0x84, 0x84, 0x84]),
                frame(CONTINUATION, 0, stream, &[0, 1]),
                frame(CONTINUATION, END_HEADERS, stream, b"c\x01d"),
                frame(DATA, END_STREAM, stream, b"ok"),
            ]
            .concat(),
        };
        raw.send(bytes);
    });
    let gateway = raw::gateway(&backend, Limits::default());
    let mut client = gateway.client();
    for (status, body, header) in [(418, "", "a"), (418, "", "a"), (418, "ok", ""), (200, "ok", "c")] {
        let answer = client.get("/").answer();
        assert_eq!((answer.status, answer.text()), (status, body));
        assert!(header.is_empty() || answer.header(header).is_some());
        assert!(!header.is_empty() || answer.trailers == [("a".to_owned(), "b".to_owned())]);
    }
    assert_eq!(backend.connections(), 1);
}

/// Gateways in front of backends that send this number of interim responses and then the final one, in either version.
fn after_interim(number: usize) -> [(Gateway, Backend); 2] {
    let one = Backend::answering(&[HINT.repeat(number).as_str(), FINAL].concat());
    let two = raw::backend(move |raw, stream| {
        let hint = [&field(":status", "103")[..], &field("link", "</a>")].concat();
        raw.send([head(0, stream, &hint).repeat(number), answer(stream, b"ok")].concat());
    });
    [(Gateway::to(one.address), one), (raw::gateway(&two, Limits::default()), two)]
}

#[test]
fn a_few_interim_responses_are_passed_on_a_thousand_are_read_and_more_are_a_malformed_answer() {
    for (number, passed, status) in [(1, 1, 200), (8, 8, 200), (1000, 8, 200), (1001, 8, 502)] {
        for (gateway, _backend) in after_interim(number) {
            let (count, last) = skip_interim(gateway.client().get("/"));
            assert_eq!((count, last.unwrap().status), (passed, status), "{number}");
            run(async {
                let mut client = connect(gateway.addresses()[0]).await;
                assert_eq!(ask(&mut client, get("/"), b"", None).await.unwrap().status, status, "{number}");
            });
        }
    }
}

#[test]
fn large_interim_responses_are_dropped() {
    let large = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "a".repeat(20_000));
    let backend = Backend::answering(&[&large, HINT, &large, FINAL].concat());
    let gateway = Gateway::to(backend.address);
    let (count, last) = skip_interim(gateway.client().get("/"));
    assert_eq!((count, last.unwrap().status), (1, 200));
}

/// Sends interim responses with a large field from HPACK's table until it is stopped. Returns the number of octets that it could send.
fn send_interim_without_end(raw: &mut Raw<'_>, stream: u32) -> usize {
    // A field of 3.9 KB in the table, and fourteen octets that each refer to it.
    let value = "a".repeat(3900);
    let literal = [&[0x40, 1, b'x', 0x7f, 0xbd, 0x1d][..], value.as_bytes()].concat();
    let mut sent = [head(0, stream, &[&field(":status", "103")[..], &literal].concat())].concat();
    let repeated = head(0, stream, &[&field(":status", "103")[..], &[0xbe; 14]].concat()).repeat(1000);
    let mut octets = sent.len();
    while octets < 256 << 20 && raw.send(&sent) {
        octets += sent.len();
        sent.clone_from(&repeated);
    }
    octets
}

#[test]
fn interim_responses_without_end_are_stopped_whether_the_client_reads_or_not() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&stopped);
    let backend = raw::backend(move |raw, stream| {
        let mut reader = raw.side.stream.try_clone().unwrap();
        let (reset, told) = std::sync::mpsc::channel();
        // Reads the frames of the gateway meanwhile.
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(1..) = std::io::Read::read(&mut reader, &mut room) {}
            reset.send(()).unwrap();
        });
        send_interim_without_end(raw, stream);
        told.recv().unwrap();
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let gateway = raw::gateway(&backend, Limits::default());
    // A client of either version that sends its request and reads nothing.
    let mut one = gateway.client();
    one.get("/");
    until("the first is stopped", || stopped.load(Ordering::SeqCst) == 1);
    let (_, last) = skip_interim(&mut one);
    assert_eq!(last.unwrap().status, 502);
    let mut two = gateway.client();
    let request = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
    two.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    two.send([frame(SETTINGS, 0, 0, b""), head(END_STREAM, 1, &request)].concat());
    until("the second is stopped", || stopped.load(Ordering::SeqCst) == 2);
    gateway.has_counted("response_code=\"502\",response_flags=\"UPE\"} 2");
}

/// A backend sends a flood instead of its first response: the connection is closed, and the next request uses another one.
fn flood(frames: impl Fn(u32, usize) -> Vec<u8> + Send + Sync + 'static) {
    const FRAMES: usize = 100_000;
    let asked = AtomicUsize::new(0);
    let backend = raw::backend(move |raw, stream| {
        if asked.fetch_add(1, Ordering::SeqCst) > 0 {
            raw.send(answer(stream, b"good"));
            return;
        }
        let mut reader = raw.side.stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(1..) = std::io::Read::read(&mut reader, &mut room) {}
        });
        let mut sent = 0;
        while sent < FRAMES && raw.send((sent..sent + 1000).flat_map(|at| frames(stream, at)).collect::<Vec<_>>()) {
            sent += 1000;
        }
    });
    let gateway = raw::gateway(&backend, Limits::default());
    let mut client = gateway.client();
    // A response that has begun is reset.
    let got = client.get("/bad").try_answer(false);
    assert!(got.as_ref().map_or(true, |answer| matches!(answer.status, 502 | 503)), "{got:?}");
    assert_eq!(gateway.client().get("/good").answer().text(), "good");
    assert_eq!(backend.connections(), 2, "the connection was not ended");
}

#[test]
fn floods_of_a_backend_end_its_connection() {
    flood(|_, _| frame(PING, 0, 0, &[7; 8]));
    flood(|_, _| frame(SETTINGS, 0, 0, b""));
    flood(|_, at| frame(SETTINGS, 0, 0, &[0, 4, 0, (at % 7) as u8, 0, 0]));
    flood(|_, _| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    flood(|stream, _| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0x40, 0]));
    flood(|stream, _| frame(2, 0, stream, &[0, 0, 0, 0, 1]));
    flood(|_, _| frame(200, 0, 0, b"unknown"));
    flood(|_, at| frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, (at % 2) as u8]));
}

#[test]
fn blocks_without_end_and_pushes_of_a_backend_end_its_connection() {
    flood(|stream, at| match at {
        0 => frame(HEADERS, 0, stream, OK),
        _ => frame(CONTINUATION, 0, stream, &[0, 1, b'x', 1, b'y']),
    });
    flood(|stream, at| if at == 0 { frame(HEADERS, 0, stream, OK) } else { frame(CONTINUATION, 0, stream, b"") });
    // Pushes were refused in the settings.
    flood(|stream, at| {
        frame(5, END_HEADERS, stream, &[0, 0, 0, 2 * (at as u8 % 100) + 2, 0x82, 0x86, 0x84, 0x41, 1, b'a'])
    });
    flood(|stream, at| if at == 0 { head(0, stream + 2, OK) } else { frame(RESET, 0, stream + 2, &[0, 0, 0, 8]) });
    flood(|stream, at| if at == 0 { frame(DATA, 0, stream, b"before the head") } else { frame(PING, 0, 0, &[7; 8]) });
}

#[test]
fn bytes_after_a_response_without_a_body_close_its_connection() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let heads = [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n", 304),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    ];
    for (head, status) in heads {
        // With the response, or once its connection is idle: the first response to a request is that of the first silent connection.
        for late in [false, true] {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let wait = std::sync::Mutex::new(wait);
            let (sent, was_sent) = std::sync::mpsc::channel::<()>();
            let backend = Backend::start(move |side| {
                side.request();
                if side.number > 0 {
                    side.send(FINAL);
                } else if late {
                    side.send(head);
                    wait.lock().unwrap().recv().unwrap();
                    side.send(evil);
                    sent.send(()).unwrap();
                } else {
                    side.send([head, evil].concat());
                }
                side.more();
            });
            let gateway = Gateway::to(backend.address);
            let mut client = gateway.client();
            assert_eq!(client.get("/").answer().status, status, "{head:?}");
            if late {
                go.send(()).unwrap();
                was_sent.recv().unwrap();
            }
            assert_eq!(client.get("/").answer().text(), "ok", "{head:?}");
            assert_eq!(backend.connections(), 2, "{head:?}");
        }
    }
}

#[test]
fn an_answer_that_was_there_before_its_request_is_followed_by_nothing() {
    let backend = Backend::start(|side| {
        // In one piece: a client cannot distinguish what arrives after its request from the response to the next one.
        side.send([FINAL, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"].concat());
        while side.request().is_some() {}
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    // Each response arrives on its own connection; none belongs to the previous request.
    for number in 1..=5 {
        assert_eq!(client.get("/").answer().text(), "ok");
        assert_eq!(backend.connections(), number);
    }
}

#[test]
fn rfc_9112_7_1_chunks_of_an_answer_that_never_end_or_are_too_large_are_502() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let lines = |count: usize| "a: b\r\n".repeat(count);
    let bodies = [
        ["2;", &"a".repeat(300)].concat(),
        ["2;", &"a".repeat(100_000)].concat(),
        "0".repeat(100) + "2\r\nok\r\n0\r\n\r\n",
        "1000000000000000\r\nok".to_owned(),
        "ffffffffffffffff\r\nok".to_owned(),
        ["2\r\nok\r\n0\r\n", &lines(101), "\r\n"].concat(),
        ["2\r\nok\r\n0\r\n", &lines(2000)].concat(),
        ["2\r\nok\r\n0\r\na: ", &"b".repeat(9000)].concat(),
    ];
    for body in bodies {
        let sent = [head, &body].concat();
        let backend = Backend::start(move |side| {
            side.request();
            side.send(if side.number == 0 { &sent } else { FINAL });
            side.more();
        });
        let gateway = Gateway::to(backend.address);
        let mut client = gateway.client();
        // An error after the first octets aborts a response that has begun.
        let got = client.get("/").try_answer(false);
        assert!(got.as_ref().map_or(true, |answer| answer.status == 502), "{:?}: {got:?}", body.get(..40));
        assert_eq!(gateway.client().get("/").answer().text(), "ok");
    }
}

#[test]
fn floods_of_a_body_end_its_connection_and_its_windows_are_kept() {
    flood(|stream, at| if at == 0 { head(0, stream, OK) } else { frame(DATA, 0, stream, b"") });
    flood(|stream, at| if at == 0 { head(0, stream, OK) } else { frame(DATA, 8, stream, &[200; 201]) });
    // More than the window of the stream, to a client that does not read.
    let backend = raw::backend(|raw, stream| {
        if raw.side.number > 0 || raw.count > 0 {
            raw.send(answer(stream, b"good"));
            return;
        }
        raw.send(head(0, stream, OK));
        let mut sent = 0;
        while sent < 16 << 20 && raw.send(frame(DATA, 0, stream, &[7; 16_384])) {
            sent += 16_384;
        }
        assert!(raw.next(RESET).is_none_or(|reset| reset == stream));
    });
    let gateway = raw::gateway(&backend, Limits::default());
    let mut client = gateway.client();
    client.get("/bad");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(gateway.client().get("/good").answer().text(), "good");
    assert!(!client.rest().ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_backend_that_accepts_no_streams_fails_only_its_own_requests() {
    let backend = raw::backend(|raw, stream| {
        // From the second request on there may be none.
        raw.send(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]));
        raw.send(answer(stream, b"ok"));
    });
    let setup = Setup::default()
        .host("*", forward("c", None))
        .cluster_with("c", &[backend.address], Duration::from_millis(300))
        .http2("c")
        .host("good.test", respond(200, "good"));
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().text(), "ok");
    let mut other = gateway.client();
    other.send("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n");
    let refused = client.get("/").answer();
    assert!(refused.status == 503 || refused.text() == "ok", "{refused:?}");
    assert_eq!(other.answer().text(), "good");
}
