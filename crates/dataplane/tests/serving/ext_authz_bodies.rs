//! AP-13: what a service for authorization gets of the body of a request, and that the backend gets all of it.

use crate::backend::Backend;
use crate::client::Client;
use crate::ext_authz::{Service, by_http, check, setup, told};
use crate::gateway::{Gateway, Setup, forward, retrying, until};
use crate::streams::{self, Streams};
use dataplane::Limits;
use dataplane::limits::BudgetLimits;
use ir::policy::{CheckBody, CheckProtocol, ExternalAuthorization, ExternalCheck};
use ir::{Retries, RetryOn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// `x-envoy-auth-partial-body`, or `-` without it, and the body.
type Body = (String, Vec<u8>);

/// A service in HTTP that keeps the bodies that it gets, and denies those that begin with `no`.
struct Reader {
    service: Backend,
    bodies: Arc<Mutex<Vec<Body>>>,
}

impl Reader {
    fn start() -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        let service = Backend::start(move |side| {
            while let Some((head, body)) = side.request() {
                let status = if body.starts_with(b"no") { "403 Forbidden" } else { "200 OK" };
                let partial = head.lines().find_map(|line| line.strip_prefix("x-envoy-auth-partial-body: "));
                kept.lock().unwrap().push((partial.unwrap_or("-").to_owned(), body));
                if !side.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")) {
                    return;
                }
            }
        });
        Self { service, bodies }
    }

    /// What came since the last call.
    fn taken(&self) -> Vec<Body> {
        std::mem::take(&mut *self.bodies.lock().unwrap())
    }
}

fn wanting(octets: usize, partial: bool) -> ExternalCheck {
    ExternalCheck { body: Some(CheckBody { octets, partial, raw: false }), ..check(by_http()) }
}

fn got(partial: &str, body: impl AsRef<[u8]>) -> Vec<Body> {
    vec![(partial.to_owned(), body.as_ref().to_vec())]
}

const NOTHING: [Body; 0] = [];

#[test]
fn ap_13_a_body_is_checked_and_forwarded_whatever_frames_it() {
    let (reader, backend) = (Reader::start(), Backend::echo());
    let gateway = Gateway::serving(&setup(&backend, reader.service.address, wanting(1000, false)));
    let mut client = gateway.client();
    assert_eq!(client.with_body("POST", "hello").answer().text(), "hello");
    assert_eq!(reader.taken(), got("false", "hello"));
    let chunked = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n";
    client.send(chunked).send("3\r\nabc\r\n2;x=y\r\nde\r\n").send("0\r\nX-End: 1\r\n\r\n");
    // The backend's echo puts trailers behind the body.
    assert_eq!(client.answer().text().to_ascii_lowercase(), "abcdex-end: 1");
    assert_eq!(reader.taken(), got("false", "abcde"));
    // Without a body there is nothing to be told about one.
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(client.with_body("POST", "").answer().status, 200);
    assert_eq!(reader.taken(), [got("-", ""), got("-", "")].concat());
    // A request that is denied is not forwarded, and the next one of the connection is served.
    let seen = backend.seen().len();
    assert_eq!(client.with_body("POST", "no").answer().status, 403);
    assert_eq!(backend.seen().len(), seen);
    client.with_body("POST", "one").with_body("POST", "two");
    assert_eq!([client.answer(), client.answer()].map(|answer| answer.text().to_owned()), ["one", "two"]);
    assert_eq!((backend.connections(), reader.service.connections()), (1, 1));
}

#[test]
fn ap_13_a_body_that_is_too_large_gets_413_unless_a_part_of_it_is_enough() {
    let (reader, backend) = (Reader::start(), Backend::echo());
    let gateway = Gateway::serving(&setup(&backend, reader.service.address, wanting(10, false)));
    let chunks = |sizes: &[usize]| {
        let all: String = sizes.iter().map(|size| format!("{size:x}\r\n{}\r\n", "a".repeat(*size))).collect();
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{all}0\r\n\r\n")
    };
    let mut client = gateway.client();
    assert_eq!(client.with_body("POST", "0123456789").answer().status, 200);
    assert_eq!(client.send(chunks(&[4, 6])).answer().status, 200);
    assert_eq!(reader.taken().len(), 2);
    for request in ["Content-Length: 11\r\n\r\n0123456789a".to_owned(), chunks(&[4, 7]).split_off(31)] {
        let answer = client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{request}")).answer();
        assert_eq!((answer.status, answer.text()), (413, "Payload Too Large"), "{request}");
    }
    // The connection goes on where the rest of the body is short.
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(reader.taken(), got("-", ""));
    assert_eq!(backend.seen().len(), 3);

    gateway.apply(&setup(&backend, reader.service.address, wanting(10, true)));
    let large = "0123456789".repeat(30_000);
    for body in ["0123456789", "0123456789a", &large] {
        assert_eq!(client.with_body("POST", body).answer().text(), body);
        let partial = if body.len() == 10 { "false" } else { "true" };
        assert_eq!(reader.taken(), got(partial, "0123456789"), "{}", body.len());
    }
    // The service decides before the rest of the body is there.
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20\r\n\r\n0123456789");
    until("the check", || !reader.bodies.lock().unwrap().is_empty());
    assert_eq!(reader.taken(), got("true", "0123456789"));
    assert_eq!(client.send("abcdefghij").answer().text(), "0123456789abcdefghij");
}

#[test]
fn ap_13_a_client_that_waits_for_100_is_asked_for_its_body_once() {
    let (reader, backend) = (Reader::start(), Backend::echo());
    let gateway = Gateway::serving(&setup(&backend, reader.service.address, wanting(10, false)));
    let mut client = gateway.client();
    let head = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    assert_eq!(client.send(head(3)).answer().status, 100);
    assert_eq!(client.send("abc").answer().text(), "abc");
    let seen = backend.only();
    assert!(!seen.contains("expect"), "{seen}");
    // The answer is known from the head alone: the body is never sent.
    let answer = client.send(head(11)).answer();
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn ap_13_a_body_that_never_ends_or_is_malformed_reaches_nobody() {
    let (reader, backend) = (Reader::start(), Backend::echo());
    let limits = Limits { body_timeout: Duration::from_millis(100), ..Limits::default() };
    let gateway = Gateway::start(1, limits, None);
    gateway.apply(&setup(&backend, reader.service.address, wanting(1000, true)));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(client.answer().status, 408);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    assert_eq!(client.answer().status, 400);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc").finish();
    assert!(client.is_closed());
    assert_eq!((reader.taken(), backend.seen().len()), (NOTHING.to_vec(), 0));
}

#[test]
fn ap_13_bodies_that_are_held_have_a_budget() {
    let (reader, backend) = (Reader::start(), Backend::echo());
    let bodies = BudgetLimits { connection: 20_000, worker: 1 << 20, process: 1 << 20 };
    let gateway = Gateway::start(1, Limits { bodies, ..Limits::default() }, None);
    gateway.apply(&setup(&backend, reader.service.address, wanting(1 << 20, false)));
    let mut client = gateway.client();
    let (status, reason) = {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nx-moongate-reason: 1\r\nContent-Length: 30000\r\n\r\n");
        client.send("a".repeat(30_000));
        let answer = client.answer();
        (answer.status, answer.header("x-moongate-reason").unwrap_or_default().to_owned())
    };
    assert_eq!((status, reason.as_str()), (503, "- request_body_budget_exceeded"));
    // What was held is given back.
    for _ in 0..5 {
        assert_eq!(client.with_body("POST", "a".repeat(9_000)).answer().status, 200);
    }
    until("nothing is held", || gateway.metric("moongate_held_body_bytes") == Some(0.0));
}

#[test]
fn ap_13_an_upgrade_is_checked_without_its_bytes() {
    let reader = Reader::start();
    let backend = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
        let octets = side.exactly(2).unwrap_or_default();
        side.send(octets);
    });
    let gateway = Gateway::serving(&setup(&backend, reader.service.address, wanting(10, false)));
    let mut client = gateway.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    );
    assert!(client.head().starts_with("HTTP/1.1 101"));
    assert_eq!(client.send("hi").exactly(2).unwrap(), b"hi");
    assert_eq!(reader.taken(), got("-", ""));
}

fn http2(gateway: &Gateway, body: &'static [u8], trailers: Option<http::HeaderMap>) -> (u16, Vec<u8>, bool) {
    let address: SocketAddr = gateway.addresses()[0];
    streams::run(async move {
        let mut client = streams::connect(address).await;
        let whole = streams::ask(&mut client, streams::post("/"), body, trailers).await.unwrap();
        (whole.status, whole.body, whole.trailers.is_some())
    })
}

#[test]
fn ap_13_bodies_of_streams_are_checked_with_their_trailers_kept() {
    let (reader, backend) = (Reader::start(), Streams::echo());
    let both = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c");
    let checked = ExternalAuthorization::Check(Box::new(wanting(10, false)));
    let both = both.cluster("authz", &[reader.service.address]).checked(checked);
    let gateway = Gateway::serving(&both);
    let trailers = || {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-end", "1".parse().unwrap());
        Some(trailers)
    };
    assert_eq!(http2(&gateway, b"hello", trailers()), (200, b"hello".to_vec(), true));
    assert_eq!(http2(&gateway, b"", trailers()), (200, Vec::new(), true));
    assert_eq!(http2(&gateway, b"hello", None), (200, b"hello".to_vec(), false));
    assert_eq!(reader.taken(), [got("false", "hello"), got("false", ""), got("false", "hello")].concat());
    assert_eq!(http2(&gateway, b"0123456789a", None).0, 413);
    assert_eq!(http2(&gateway, b"no", trailers()).0, 403);
    assert_eq!(reader.taken(), got("false", "no"));
}

#[test]
fn ap_13_vs_40_a_held_body_is_sent_again_as_any_other() {
    let reader = Reader::start();
    let backend = Backend::start(|side| {
        let Some((_, body)) = side.request() else { return };
        if side.number == 0 {
            side.send("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
        } else {
            side.send_with_length(&body);
        }
    });
    let backoff = Duration::from_millis(1);
    let retries = Retries { attempts: 2, on: RetryOn::SERVER_ERROR, backoff, implied: false, ..Retries::default() };
    let host = Setup::default().host("*", retrying("c", None, Some(retries))).cluster("c", &[backend.address]);
    let checked = ExternalAuthorization::Check(Box::new(wanting(30_000, true)));
    let gateway = Gateway::serving(&host.cluster("authz", &[reader.service.address]).checked(checked));
    let mut client = gateway.client();
    let body = "0123456789".repeat(5_000);
    assert_eq!(client.with_body("POST", &body).answer().text(), body);
    assert_eq!(backend.seen().len(), 2);
    assert_eq!(reader.taken(), got("true", &body[..30_000]));
}

/// Numbers that are the same in each run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn ap_13_bodies_of_any_size_and_in_any_pieces_arrive_whole() {
    const SEEN: usize = 20_000;
    let (reader, backend) = (Reader::start(), Backend::echo());
    let gateway = Gateway::serving(&setup(&backend, reader.service.address, wanting(SEEN, true)));
    let (mut seeded, mut client) = (Seeded(3), gateway.client());
    for round in 0..60 {
        let length = match round % 4 {
            0 => seeded.below(10),
            1 => SEEN - 2 + seeded.below(5),
            2 => seeded.below(SEEN),
            _ => seeded.below(300_000),
        };
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut pieces = Vec::new();
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + seeded.below(1 + rest.len() / 2)).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        if round % 2 == 0 {
            client.send(format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n"));
            for piece in &pieces {
                client.send(piece);
            }
        } else {
            client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in &pieces {
                client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
            }
            client.send("0\r\n\r\n");
        }
        assert!(client.answer().body == body, "round {round}: {length} octets");
        let seen = reader.taken();
        assert!(seen.len() == 1 && seen[0].1 == body[..length.min(SEEN)], "round {round}: {length} octets");
        let partial = seen[0].0.as_str();
        // Where a body ends with the octets that are seen, the last chunk may be behind them.
        assert!(
            partial == if length > SEEN { "true" } else { "false" }
                || (length == SEEN && round % 2 == 1)
                || (length == 0 && partial == "-"),
            "round {round}: {length} octets, {partial}"
        );
    }
    until("nothing is held", || gateway.metric("moongate_held_body_bytes") == Some(0.0));
}

#[test]
fn ap_13_a_service_on_envoys_definitions_gets_text_or_octets() {
    let Some(service) = Service::start(&[]) else { return };
    let backend = Backend::answering(OK);
    for (raw, field) in [(false, r#""body":"a!b""#), (true, r#""rawBody":"Yf9i""#)] {
        let body = Some(CheckBody { octets: 10, partial: false, raw });
        let grpc = ExternalCheck { body, ..check(CheckProtocol::Grpc) };
        let gateway = Gateway::serving(&setup(&backend, service.1, grpc));
        let mut client: Client = gateway.client();
        assert_eq!(client.with_body("POST", b"a\xffb").answer().status, 200);
        let head = backend.seen().pop().unwrap();
        let seen = head.lines().find_map(|line| line.strip_prefix("x-seen: ")).unwrap().replace(' ', "");
        assert!(seen.contains(field) && seen.contains(r#""x-envoy-auth-partial-body":"false""#), "{seen}");
    }
    // With an outage nothing passes, and the body is read, so that the connection goes on.
    let outage = setup(&backend, testkit::ports::refusing(), ExternalCheck { fail_open: false, ..wanting(10, false) });
    let gateway = Gateway::serving(&outage);
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status, 403);
    assert_eq!(told(&mut client, "/").0, 403);
}
