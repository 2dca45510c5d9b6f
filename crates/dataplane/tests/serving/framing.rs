//! All combinations of body framing, each with a second request after the body: a backend receives the requests that a strict parser of RFC 9112
//! finds, or none (CL.TE, TE.CL, TE.TE, CL.0, 0.CL).

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::Gateway;
use std::sync::{Arc, Mutex};

/// Header lines with a length, and their meaning to a strict parser.
const LENGTHS: [(&str, Said); 12] = [
    ("", Said::Nothing),
    ("Content-Length: 5\r\n", Said::Length(5)),
    ("Content-Length: 0\r\n", Said::Length(0)),
    ("content-length:\t5 \r\n", Said::Length(5)),
    ("Content-Length: +5\r\n", Said::Nonsense),
    ("Content-Length: -5\r\n", Said::Nonsense),
    ("Content-Length: 0x5\r\n", Said::Nonsense),
    ("Content-Length: 5, 5\r\n", Said::Nonsense),
    ("Content-Length: \r\n", Said::Nonsense),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", Said::Nonsense),
    ("Content-Length: 5\r\nContent-Length: 0\r\n", Said::Nonsense),
    ("Content-Length: 99999999999999999999999\r\n", Said::Nonsense),
];

/// Header lines with a transfer coding.
const CODINGS: [(&str, Said); 14] = [
    ("", Said::Nothing),
    ("Transfer-Encoding: chunked\r\n", Said::Chunked),
    ("TRANSFER-ENCODING:\tChunked \r\n", Said::Chunked),
    ("Transfer-Encoding: chunked, chunked\r\n", Said::Nonsense),
    ("Transfer-Encoding: gzip, chunked\r\n", Said::Nonsense),
    ("Transfer-Encoding: chunked, identity\r\n", Said::Nonsense),
    ("Transfer-Encoding: identity\r\n", Said::Nonsense),
    ("Transfer-Encoding: xchunked\r\n", Said::Nonsense),
    ("Transfer-Encoding: chunked;q=1\r\n", Said::Nonsense),
    ("Transfer-Encoding: \x0bchunked\r\n", Said::Nonsense),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Said::Nonsense),
    ("Transfer-Encoding : chunked\r\n", Said::Nonsense),
    ("Transfer-Encoding:\r\n chunked\r\n", Said::Nonsense),
    ("X: y\nTransfer-Encoding: chunked\r\n", Said::Nonsense),
];

/// The octets between the head and the second request.
const BODIES: [&str; 4] = ["", "hello", "5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n"];

const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Length(usize),
    Chunked,
    Nonsense,
}

/// The requests that a strict parser finds: their targets and bodies.
fn expected(length: Said, coding: Said, body: &str) -> Vec<(String, String)> {
    let stream = format!("{body}{SECOND}");
    let (first, rest) = match (length, coding) {
        (Said::Nothing, Said::Nothing) => ("", stream.as_str()),
        (Said::Length(length), Said::Nothing) => stream.split_at(length),
        (Said::Nothing, Said::Chunked) if body.starts_with("5\r\n") => ("hello", SECOND),
        (Said::Nothing, Said::Chunked) if body.starts_with('0') => ("", SECOND),
        // The octets are no chunk, so the first request never ends.
        _ => return Vec::new(),
    };
    let mut all = vec![("/first".to_owned(), first.to_owned())];
    // `helloGET` is a valid method.
    if rest == SECOND || rest == format!("hello{SECOND}") {
        all.push(("/second".to_owned(), String::new()));
    }
    all
}

#[test]
fn rfc_9112_6_all_combinations_of_lengths_and_codings_mean_one_thing_or_nothing() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let backend = Backend::start(move |side| {
        while let Some((head, body)) = side.request() {
            let both = head.contains("content-length") && head.contains("transfer-encoding");
            assert!(!both && !head.contains("chunked, "), "{head}");
            let target = head.split(' ').nth(1).unwrap().to_owned();
            list.lock().unwrap().push((target, String::from_utf8(body).unwrap()));
            side.send_with_length(b"");
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut count = 0;
    for (length_lines, length) in LENGTHS {
        for (coding_lines, coding) in CODINGS {
            for body in BODIES {
                let head = format!("POST /first HTTP/1.1\r\nHost: a.test\r\n{length_lines}{coding_lines}\r\n");
                let statuses = ask(&mut gateway.client(), &format!("{head}{body}{SECOND}"));
                let expected = expected(length, coding, body);
                let got = std::mem::take(&mut *seen.lock().unwrap());
                assert_eq!(got, expected, "{head:?} {body:?} {statuses:?}");
                let answered = statuses.iter().filter(|status| **status == 200).count();
                assert_eq!(answered, expected.len(), "{head:?} {body:?} {statuses:?}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 672);
}

/// Sends everything, and reads the statuses of all responses. After a rejection no further response may arrive.
fn ask(client: &mut Client, bytes: &str) -> Vec<u16> {
    client.send(bytes).finish();
    let mut statuses = Vec::new();
    while let Ok(answer) = client.try_answer(false) {
        assert!(statuses.iter().all(|status| *status == 200), "{bytes:?}: {statuses:?}, and then {answer:?}");
        statuses.push(answer.status);
    }
    statuses
}

#[test]
fn rfc_9112_7_1_malformed_chunks_end_the_exchange() {
    let backend = Backend::start(|side| {
        while let Some(head) = side.head() {
            if side.body(&head).is_none() {
                return;
            }
            side.send_with_length(b"");
        }
    });
    let gateway = Gateway::to(backend.address);
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\nx\"\r\nhello\r\n0\r\n\r\n\0",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nTrailer\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: b\n\r\n",
        "5\r\nhello\r\n0\r\n A: b\r\n\r\n",
    ] {
        let head = "POST /first HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let statuses = ask(&mut gateway.client(), &format!("{head}{chunks}{SECOND}"));
        let refused = !backend.seen().iter().any(|head| head.starts_with("GET /second"));
        // A quoted extension that contains a line end: a line end always ends the extension.
        let whole = chunks.ends_with('\0');
        assert!(refused && (statuses == [400] || whole), "{chunks:?}: {statuses:?}");
    }
}
