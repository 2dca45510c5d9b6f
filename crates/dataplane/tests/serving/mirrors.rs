//! Mirror requests (VS-45): what mirrors receive, and that the original request never waits for them.

use crate::backend::{Backend, Side};
use crate::client::Client;
use crate::gateway::{Gateway, Setup, mirroring, until};
use crate::streams::{self, Streams};
use dataplane::Limits;
use ir::Share;
use std::sync::{Arc, Mutex, PoisonError};
use testkit::ports::refusing;

type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A backend that keeps the bodies that it receives.
fn keeping() -> (Backend, Bodies) {
    let bodies = Bodies::default();
    let kept = Arc::clone(&bodies);
    let backend = Backend::start(move |side| {
        while let Some((_, body)) = side.request() {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
            side.send(OK);
        }
    });
    (backend, bodies)
}

fn bodies(bodies: &Bodies) -> Vec<Vec<u8>> {
    bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn setup(primary: &Backend, share: f64, mirrors: &[&Backend]) -> Setup {
    let names: Vec<String> = (0..mirrors.len()).map(|number| format!("m{number}")).collect();
    let named: Vec<_> = names.iter().map(|name| (name.as_str(), Share::of_percent(share))).collect();
    let setup = Setup::default().host("*", mirroring("c", &named)).cluster("c", &[primary.address]);
    names.iter().zip(mirrors).fold(setup, |setup, (name, mirror)| setup.cluster(name, &[mirror.address]))
}

fn counted(gateway: &Gateway, metric: &str, count: f64) {
    until(metric, || gateway.metric(&format!("{metric}_total")) == Some(count));
}

const MIRRORED: &str = "moongate_requests_mirrored";
const FAILED: &str = "moongate_mirrors_failed";
const DROPPED: &str = "moongate_mirrors_dropped";

#[test]
fn vs_45_every_mirror_gets_the_head_and_the_body_that_the_backend_gets() {
    let primary = Backend::echo();
    let ((one, of_one), (two, of_two)) = (keeping(), keeping());
    let gateway = Gateway::serving(&setup(&primary, 100.0, &[&one, &two]));
    let mut client = gateway.client();
    assert_eq!(client.with_body("POST", "a body").answer().text(), "a body");
    counted(&gateway, MIRRORED, 2.0);
    assert_eq!([bodies(&of_one), bodies(&of_two)], [[b"a body".to_vec()], [b"a body".to_vec()]]);
    assert_eq!(one.only(), primary.only());
    // Chunks, with trailers.
    client.send("PUT /c HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n2\r\nde\r\n0\r\nx-end: yes\r\n\r\n");
    assert_eq!(client.answer().text(), "abcdex-end: yes");
    counted(&gateway, MIRRORED, 4.0);
    assert_eq!(client.get("/plain").answer().status, 200);
    counted(&gateway, MIRRORED, 6.0);
    assert_eq!(bodies(&of_one), [b"a body".to_vec(), b"abcdex-end: yes".to_vec(), Vec::new()]);
    assert!(one.seen().iter().all(|head| !head.contains("expect")));
    // The connection was used again.
    assert_eq!(one.connections(), 1);
}

#[test]
fn vs_45_a_share_of_requests_is_copied_within_three_sigma() {
    let (primary, (mirror, _)) = (Backend::answering(OK), keeping());
    let gateway = Gateway::serving(&setup(&primary, 25.0, &[&mirror]));
    let mut client = gateway.client();
    let all = 2_000;
    for _ in 0..all {
        assert_eq!(client.get("/").answer().status, 200);
    }
    let share = || gateway.metric(&format!("{MIRRORED}_total")).unwrap();
    until("the copies are done", || mirror.seen().len() as f64 == share());
    let (expected, sigma) = (f64::from(all) * 0.25, (f64::from(all) * 0.25 * 0.75).sqrt());
    assert!((share() - expected).abs() < 3.0 * sigma, "{}", share());
}

#[test]
fn vs_45_a_mirror_that_neither_reads_nor_responds_slows_no_request() {
    let primary = Backend::answering(OK);
    let stuck = Backend::start(|side: &mut Side| {
        // The mirror reads the head, and then nothing until the gateway has closed the connection.
        side.head();
        until("the gateway gives up", || {
            side.stream.peer_addr().is_err() || !side.send("HTTP/1.1 100 Continue\r\n\r\n")
        });
    });
    let gateway = Gateway::serving(&setup(&primary, 100.0, &[&stuck]));
    let mut client = gateway.client();
    // More than sockets and the queue can hold.
    let body = vec![b'x'; 32 << 20];
    assert_eq!(client.with_body("POST", &body).answer().text(), "ok");
    counted(&gateway, FAILED, 1.0);
    assert_eq!(client.get("/").answer().text(), "ok");
}

#[test]
fn vs_45_a_copy_ends_where_its_request_breaks_off() {
    let primary = Backend::start(|side| while side.more().is_some() {});
    let mirror = Backend::start(|side| while side.more().is_some() {});
    let gateway = Gateway::serving(&setup(&primary, 100.0, &[&mirror]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf");
    until("the copy is on its way", || mirror.connections() == 1);
    client.reset();
    counted(&gateway, FAILED, 1.0);
}

#[test]
fn vs_45_mirrors_that_are_not_there_or_have_no_room_cost_nothing() {
    let primary = Backend::answering(OK);
    let gone = refusing();
    let named = [("gone", Share::of_percent(100.0)), ("unknown", Share::of_percent(100.0))];
    let setup =
        Setup::default().host("*", mirroring("c", &named)).cluster("c", &[primary.address]).cluster("gone", &[gone]);
    let gateway = Gateway::serving(&setup);
    assert_eq!(gateway.client().get("/").answer().text(), "ok");
    counted(&gateway, FAILED, 1.0);

    let gateway = Gateway::start(1, Limits { mirrors: 0, ..Limits::default() }, None);
    gateway.apply(&setup);
    assert_eq!(gateway.client().get("/").answer().text(), "ok");
    counted(&gateway, DROPPED, 1.0);
}

#[test]
fn vs_45_what_no_endpoint_could_get_is_not_copied() {
    let (mirror, _) = keeping();
    let named = [("m0", Share::of_percent(100.0))];
    let setup = |endpoints: &[std::net::SocketAddr]| {
        Setup::default().host("*", mirroring("c", &named)).cluster("c", endpoints).cluster("m0", &[mirror.address])
    };
    let gateway = Gateway::serving(&setup(&[]));
    assert_eq!(gateway.client().get("/nobody").answer().status, 503);
    // A mirror whose endpoint does not listen.
    let gone = refusing();
    gateway.apply(&setup(&[gone]));
    assert_eq!(gateway.client().get("/gone").answer().status, 503);
    counted(&gateway, MIRRORED, 1.0);
    assert!(mirror.only().starts_with("GET /gone "));
}

#[test]
fn vs_45_a_stale_connection_is_replaced() {
    let (primary, mirror) = (
        Backend::answering(OK),
        Backend::start(|side| {
            side.request();
            side.send(OK);
        }),
    );
    let gateway = Gateway::serving(&setup(&primary, 100.0, &[&mirror]));
    for count in [1.0, 2.0, 3.0] {
        assert_eq!(gateway.client().get("/").answer().text(), "ok");
        counted(&gateway, MIRRORED, count);
    }
    assert_eq!(mirror.connections(), 3);
}

#[test]
fn vs_45_mirrors_speak_their_own_version() {
    static SEEN: Mutex<Vec<(String, Vec<u8>)>> = Mutex::new(Vec::new());
    let (primary, (older, of_older)) = (Backend::echo(), keeping());
    let newer = Streams::start(|request, mut respond, _| async move {
        let (parts, mut receive) = request.into_parts();
        let Ok((body, trailers)) = streams::read(&mut receive).await else { return };
        let end = trailers.map_or_else(Vec::new, |trailers| trailers["x-end"].as_bytes().to_vec());
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).push((parts.uri.to_string(), [body, end].concat()));
        respond.send_response(http::Response::new(()), true).unwrap();
    });
    let shares = [("m0", Share::of_percent(100.0)), ("m1", Share::of_percent(100.0))];
    let setup = Setup::default().host("*", mirroring("c", &shares)).cluster("c", &[primary.address]);
    let gateway = Gateway::serving(&setup.cluster("m0", &[older.address]).cluster("m1", &[newer.address]).http2("m1"));
    streams::run(async {
        let mut send = streams::connect(gateway.addresses()[0]).await;
        let trailers = http::HeaderMap::from_iter([("x-end".parse().unwrap(), "end".parse().unwrap())]);
        let whole = streams::ask(&mut send, streams::post("/p"), b"body", Some(trailers)).await.unwrap();
        assert_eq!(whole.text(), "bodyx-end: end");
    });
    counted(&gateway, MIRRORED, 2.0);
    assert_eq!(Client::connect(gateway.addresses()[0]).get("/g").answer().status, 200);
    counted(&gateway, MIRRORED, 4.0);
    assert_eq!(bodies(&of_older), [b"bodyx-end: end".to_vec(), Vec::new()]);
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let expected = [("http://a.test/p", &b"bodyend"[..]), ("http://a.test/g", b"")];
    assert_eq!(seen, expected.map(|(uri, body)| (uri.to_owned(), body.to_vec())));
}
