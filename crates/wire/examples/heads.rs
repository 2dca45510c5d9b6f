//! Nanoseconds to read a request's head, and to write it anew with the edits of the edge: `cargo run --release -p wire --example heads`.

use std::hint::black_box;
use std::time::Instant;
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::h1::{HeadLimits, OutFraming, RequestHead, RequestParts, write_request};

const HEAD: &[u8] =
    b"GET /api/v1/users?page=2 HTTP/1.1\r\nHost: dev.example.com\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\
Accept-Encoding: gzip, br\r\nAccept-Language: en\r\nCookie: session=0123456789abcdef\r\nX-Trace: 1\r\n\r\n";
const TURNS: u32 = 1_000_000;

fn main() {
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        read.push(reading());
        written.push(writing());
    }
    read.sort_by(f64::total_cmp);
    written.sort_by(f64::total_cmp);
    println!("median of 11 rounds of {TURNS}: read {:.0} ns, write with edits {:.0} ns", read[5], written[5]);
}

fn reading() -> f64 {
    let mut request = RequestHead::default();
    let begun = Instant::now();
    for _ in 0..TURNS {
        let _ = black_box(request.parse(black_box(HEAD), &HeadLimits::default()));
    }
    begun.elapsed().as_nanos() as f64 / f64::from(TURNS)
}

fn writing() -> f64 {
    let mut request = RequestHead::default();
    let _ = request.parse(HEAD, &HeadLimits::default());
    let fields = request.fields(HEAD);
    let (address, id) = (std::net::IpAddr::from([127, 0, 0, 1]).into(), text::Uuid::from_random(0));
    let peer =
        Peer { address: &address, scheme: "http", trusted_proxies: 0, certificate: Default::default(), port: None };
    let mut out = Vec::with_capacity(2048);
    let begun = Instant::now();
    for _ in 0..TURNS {
        out.clear();
        let mut edits = Edits::default();
        forwarded::edit(&peer, fields, "http", Some((&id).into()), &mut edits);
        let parts = RequestParts {
            method: b"GET",
            path: b"/api/v1/users",
            query: Some(b"page=2"),
            authority: b"dev.example.com",
            fields,
            nominates: request.nominates,
            framing: OutFraming::None,
            upgrade: None,
            close: false,
        };
        write_request(&mut out, black_box(&parts), &edits);
        black_box(&out);
    }
    begun.elapsed().as_nanos() as f64 / f64::from(TURNS)
}
