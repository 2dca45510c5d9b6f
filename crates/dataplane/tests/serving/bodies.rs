//! Heads and bodies that are forwarded.

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, until};
use crate::streams::Streams;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Bytes that depend on their position.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Waits until a number does not change for some time, which shows that the buffers of the system are full.
fn standstill(what: &str, number: &AtomicUsize) -> usize {
    let mut last = (usize::MAX, Instant::now());
    until(what, || {
        let now = number.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        now > 0 && last.1.elapsed() > Duration::from_millis(300)
    });
    last.0
}

#[test]
fn s_111_s_124_a_request_is_forwarded_with_the_headers_of_the_gateway() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nServer: theirs\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("GET /p?q=1 HTTP/1.1\r\nHost: A.test:80\r\nX-Forwarded-For: 1.2.3.4\r\nAccept: x\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.header("server"), Some("istio-envoy"));
    assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
    assert!(answer.header("x-envoy-upstream-service-time").is_some_and(|time| time.parse::<u64>().is_ok()));
    assert_eq!(answer.header("connection"), None);
    let head = backend.only();
    assert!(head.starts_with("GET /p?q=1 HTTP/1.1\r\nhost: A.test:80\r\n"), "{head}");
    for line in ["x-forwarded-for: 1.2.3.4,127.0.0.1", "x-forwarded-proto: http", "accept: x", "x-request-id: "] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
}

#[test]
fn bodies_of_every_framing_are_forwarded_whole() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for length in [0, 1, 100, 16 << 10, (16 << 10) + 1, 200_000, 3_000_000] {
        let body = pattern(length);
        let writer = client.stream.try_clone().unwrap();
        let sent = body.clone();
        let sender = std::thread::spawn(move || {
            let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", sent.len());
            let mut writer = writer;
            writer.write_all(head.as_bytes()).unwrap();
            writer.write_all(&sent).unwrap();
        });
        assert_eq!(client.answer().body, body);
        sender.join().unwrap();
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn chunks_and_trailers_are_forwarded_without_extensions() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3;a=b\r\nabc\r\n").send("00002\r\nde\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n");
    // The backend of these tests appends trailers to the body.
    assert_eq!(client.answer().text(), "abcdex-sum: 7");
}

#[test]
fn chunks_and_trailers_come_down() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..3 {
        let answer = client.get("/").answer();
        assert_eq!(answer.text(), "abcde");
        assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn large_chunks_come_down_whole() {
    let body = pattern(2_000_000);
    let sent = body.clone();
    let backend = Backend::start(move |side| {
        while side.request().is_some() {
            side.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in sent.chunks(70_001) {
                side.send(format!("{:x}\r\n", chunk.len()));
                side.send(chunk);
                side.send("\r\n");
            }
            side.send("0\r\nX-End: 1\r\n\r\n");
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..3 {
        let answer = client.get("/").answer();
        assert!(answer.body == body);
        assert_eq!(answer.trailers.len(), 1);
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_becomes_chunked() {
    let backend = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..2 {
        let answer = client.get("/").answer();
        assert_eq!((answer.header("transfer-encoding"), answer.text()), (Some("chunked"), "all of it"));
    }
    assert_eq!(backend.connections(), 2);
}

#[test]
fn rfc_9112_6_3_responses_without_bodies_keep_their_content_length() {
    let backend = Backend::start(|side| {
        while let Some((head, _)) = side.request() {
            let answer = match head.split(' ').nth(1) {
                Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            };
            side.send(answer);
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer_to_head().header("content-length"), Some("5"));
    let answer = client.get("/204").answer();
    assert_eq!((answer.status, answer.header("content-length")), (204, None));
    let answer = client.get("/304").answer();
    assert_eq!((answer.status, answer.header("content-length")), (304, Some("5")));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    let mut all = Vec::new();
    for number in 0..50 {
        let body = format!("body {number}");
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        all.extend(head.into_bytes());
        all.extend(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    client.send(&all);
    for number in 0..50 {
        assert_eq!(client.answer().text(), format!("body {number}"));
        assert_eq!(client.answer().text(), "");
    }
}

#[test]
fn more_pipelined_requests_than_a_buffer_holds_are_answered() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    let filling = "f".repeat(1000);
    let one = format!("POST / HTTP/1.1\r\nHost: a.test\r\nX-Filling: {filling}\r\nContent-Length: 3\r\n\r\nabc");
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(one.repeat(500).as_bytes()).unwrap());
    for _ in 0..500 {
        assert_eq!(client.answer().text(), "abc");
    }
    sender.join().unwrap();
}

#[test]
fn s_123_a_client_that_waits_for_100_gets_that_of_the_backend() {
    let backend = Backend::start(|side| {
        while let Some(head) = side.head() {
            assert!(head.contains("expect: 100-continue"), "{head}");
            side.send("HTTP/1.1 100 Continue\r\n\r\n");
            let Some(body) = side.body(&head) else { return };
            side.send_with_length(&body);
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(client.answer().status, 100);
        client.send("abcd");
        assert_eq!(client.answer().text(), "abcd");
    }
}

#[test]
fn an_expectation_that_the_backend_refuses_is_answered_at_once() {
    let backend = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        // No part of the body may arrive.
        assert!(side.more().is_none());
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 417);
    // The announced body cannot be distinguished from a next request.
    assert_eq!(answer.header("connection"), Some("close"));
    client.finish();
    assert!(client.is_closed());
}

#[test]
fn informational_answers_come_before_the_final_one() {
    let backend = Backend::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.get("/");
    let hints = client.answer();
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a>")));
    assert_eq!(client.answer().status, 102);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_early_response_is_forwarded_at_once_and_the_rest_of_the_request_is_read() {
    let backend = Backend::start(|side| {
        let head = side.head();
        side.send_with_length(b"early");
        side.body(&head.unwrap());
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 300000\r\n\r\nsome");
    assert_eq!(client.answer().text(), "early");
    client.send(vec![b'x'; 300_000 - 4]);
    // Whether the connection is closed or not, it is not reset before the client has read the response.
    let mut rest = client;
    rest.finish();
    assert!(rest.is_closed());
}

#[test]
fn both_directions_flow_at_once() {
    let backend = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..5 {
            let got = side.exactly(6).unwrap();
            side.send(got);
        }
        side.exactly(5);
        side.send("0\r\n\r\n");
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut down = Vec::new();
    let mut head_seen = false;
    for turn in 0..5 {
        client.send(format!("1\r\n{turn}\r\n"));
        if !head_seen {
            while !down.ends_with(b"\r\n\r\n") {
                down.extend(client.exactly(1).unwrap());
            }
            head_seen = true;
        }
        assert_eq!(client.exactly(6).unwrap(), format!("1\r\n{turn}\r\n").into_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.exactly(5).unwrap(), b"0\r\n\r\n");
}

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    const ALL: usize = 200 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let backend = Backend::start(move |side| {
        side.request();
        side.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n"));
        let piece = vec![7; 1 << 20];
        for _ in 0..ALL >> 20 {
            if !side.send(&piece) {
                return;
            }
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.get("/");
    let last = standstill("the backend stops", &written);
    assert!(last < ALL / 2, "{last} bytes are somewhere");
    assert_eq!(client.answer().body.len(), ALL);
}

#[test]
fn informational_answers_without_end_stop_their_backend() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let backend = Backend::start(move |side| {
        side.request();
        let piece = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
        while counter.load(Ordering::SeqCst) < 400 << 20 && side.send(&piece) {
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.get("/");
    let last = standstill("the backend stops", &written);
    assert!(last < 200 << 20, "{last} bytes are somewhere");
    gateway.has_counted("response_code=\"502\",response_flags=\"UPE\"} 1");
}

#[test]
fn a_backend_that_does_not_read_stops_the_client() {
    const ALL: usize = 200 << 20;
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |side| {
        side.head().unwrap();
        let _ = wait.lock().unwrap().recv();
        let mut count = side.taken().len();
        while count < ALL && side.more().is_some() {
            count += side.taken().len();
        }
        side.send_with_length(count.to_string().as_bytes());
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {ALL}\r\n\r\n"));
    let written = Arc::new(AtomicUsize::new(0));
    let (counter, mut writer) = (Arc::clone(&written), client.stream.try_clone().unwrap());
    let sender = std::thread::spawn(move || {
        let piece = vec![7; 1 << 20];
        for _ in 0..ALL >> 20 {
            writer.write_all(&piece).unwrap();
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let last = standstill("the client stops", &written);
    assert!(last < ALL / 2, "{last} bytes are somewhere");
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), ALL.to_string());
    sender.join().unwrap();
}

#[test]
fn a_connection_is_used_again_for_as_long_as_both_want() {
    let backend = Backend::answering(EMPTY);
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").answer().status, 200);
    }
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().header("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(backend.connections(), 1);
    assert!(backend.seen().iter().all(|head| !head.contains("connection:")), "hop by hop");
}

#[test]
fn content_length_0_is_forwarded_if_the_client_sent_it() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for (method, sent) in [("GET", true), ("DELETE", true), ("GET", false), ("DELETE", false)] {
        let length = if sent { "Content-Length: 0\r\n" } else { "" };
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\n{length}\r\n"));
        assert_eq!(client.answer().status, 200);
        assert_eq!(backend.seen().pop().unwrap().contains("content-length: 0\r\n"), sent, "{method}");
    }
    // The protocol after the switch has no body.
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    assert!(!backend.seen().pop().unwrap().contains("content-length"));
    let streams = Streams::echo();
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[streams.address]).http2("c");
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    client.send("DELETE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}
