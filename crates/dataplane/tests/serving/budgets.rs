//! Memory that an HTTP/2 client can make the gateway use: heads that HPACK expands from a few octets, and responses that the client does not read.
//! The gauges of the gateway state how much is in use.

use crate::backend::Backend;
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, Peer, REFUSED_STREAM, WINDOW_UPDATE, entry, request,
};
use crate::gateway::{Gateway, Setup, forward, until};
use crate::streams::Streams;
use dataplane::Limits;
use dataplane::limits::BudgetLimits;
use std::net::SocketAddr;

/// The concurrent streams that the gateway accepts on one connection.
const STREAMS: usize = 128;
const WINDOW: u32 = 65_535;

/// A backend that responds to `/quick` at once, and to other paths never.
fn patient() -> Backend {
    Backend::start(|side| {
        while let Some((head, _)) = side.request() {
            if head.contains(" /quick ") {
                side.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    })
}

/// Opens streams whose heads are 14 times a header of 3.9 KB out of HPACK's dynamic table, and leaves them open.
fn bomb(address: SocketAddr, streams: usize) -> Peer {
    let mut peer = Peer::connect(address, WINDOW);
    // The field is in the table from then on, whether the stream is refused or not.
    peer.open(0, &[request("POST", "/"), entry("x-large", &"v".repeat(3900))].concat());
    more(&mut peer, streams - 1);
    peer
}

fn more(peer: &mut Peer, streams: usize) {
    for _ in 0..streams {
        peer.open(0, &[request("POST", "/"), vec![0xbe; 14]].concat());
    }
}

fn held(gateway: &Gateway, kind: &str) -> usize {
    gateway.metric(&format!("moongate_http2_{kind}_bytes{{")).unwrap() as usize
}

fn is_answered(peer: &mut Peer) {
    let stream = peer.open(END_STREAM, &request("GET", "/quick"));
    peer.until("an answer", |seen| seen.is_ok(stream));
}

#[test]
fn heads_that_are_cheap_for_a_client_are_refused_beyond_the_budget_of_its_connection() {
    let backend = patient();
    let gateway = Gateway::to(backend.address);
    let budget = Limits::default().heads.connection;
    let mut peer = bomb(gateway.addresses()[0], STREAMS);
    // About forty of the 127 heads of 55 KB, with their copies, fit into the budget.
    peer.until("refusals", |seen| seen.resets(REFUSED_STREAM) >= STREAMS - 45);
    let bytes = held(&gateway, "head");
    assert!(bytes > budget / 2 && bytes <= budget, "{bytes}");
    assert_eq!(gateway.client().get("/quick").answer().status, 200);
    // Small heads on the same connection are accepted too.
    is_answered(&mut peer);
    drop(peer);
    until("all is returned", || held(&gateway, "head") == 0);
}

#[test]
fn a_connection_that_continues_to_exceed_its_budget_is_closed() {
    let backend = patient();
    let gateway = Gateway::to(backend.address);
    let mut peer = bomb(gateway.addresses()[0], STREAMS / 2);
    let mut opened = STREAMS / 2;
    while peer.seen.goaway.is_none() {
        let refused = opened - 45;
        peer.until("refusals, or the end", |seen| seen.goaway.is_some() || seen.resets(REFUSED_STREAM) >= refused);
        more(&mut peer, STREAMS / 2);
        opened += STREAMS / 2;
        assert!(opened < 1000, "it goes on and on");
    }
    assert_eq!(peer.seen.goaway, Some(ENHANCE_YOUR_CALM));
    until("all is returned", || held(&gateway, "head") == 0);
    gateway.has_counted("moongate_http2_connections_ended_total 1");
    assert_eq!(gateway.client().get("/quick").answer().status, 200);
}

/// Several connections exceed a bound. Returns the bound by which streams are refused.
fn crowd(heads: BudgetLimits, cause: &str) {
    let backend = patient();
    let gateway = Gateway::with_limits(backend.address, Limits { heads, ..Limits::default() });
    let mut attackers: Vec<_> = (0..12).map(|_| bomb(gateway.addresses()[0], STREAMS)).collect();
    attackers.iter_mut().for_each(|peer| peer.until("refusals", |seen| seen.resets(REFUSED_STREAM) >= STREAMS - 45));
    gateway.has_counted(&format!("moongate_http2_streams_refused_total{{cause=\"{cause}\"}} "));
    let refused = format!("moongate_http2_streams_refused_total{{cause=\"{cause}\"}}");
    assert!(gateway.metric(&refused).unwrap() > 0.0);
    let bytes = held(&gateway, "head");
    assert!(bytes <= heads.worker.min(heads.process), "{bytes}");
    // They leave as much free as each of them uses.
    is_answered(&mut Peer::connect(gateway.addresses()[0], WINDOW));
}

#[test]
fn connections_share_the_budget_of_their_worker_and_a_new_one_is_served() {
    crowd(BudgetLimits { connection: 2 << 20, worker: 8 << 20, process: 64 << 20 }, "worker");
}

#[test]
fn the_budget_of_the_process_is_bounded_and_a_new_connection_is_served() {
    crowd(BudgetLimits { connection: 2 << 20, worker: 16 << 20, process: 8 << 20 }, "process");
}

/// The body of a large response in these tests.
const BODY: usize = 4 << 20;

/// An HTTP/1.1 backend that responds to `/quick` with a small body, and to other paths with a large one.
fn generous() -> Backend {
    Backend::start(|side| {
        while let Some((head, _)) = side.request() {
            let length = if head.contains(" /quick ") { 2 } else { BODY };
            if !side.send_with_length(&vec![b'x'; length]) {
                return;
            }
        }
    })
}

/// The same in HTTP/2.
fn generous_streams() -> Streams {
    Streams::start(|request, mut respond, _| async move {
        let length = if request.uri().path() == "/quick" { 2 } else { BODY };
        let Ok(mut send) = respond.send_response(http::Response::new(()), false) else { return };
        let mut left = length;
        while left > 0 {
            send.reserve_capacity(left.min(16 << 10));
            let Some(Ok(room)) = std::future::poll_fn(|context| send.poll_capacity(context)).await else { return };
            let room = room.min(left);
            left -= room;
            if send.send_data(vec![b'x'; room].into(), left == 0).is_err() {
                return;
            }
        }
    })
}

/// Requests as many responses as one connection may, and reads none.
fn takes_nothing(address: SocketAddr, window: u32) -> (Peer, Vec<u32>) {
    let mut peer = Peer::connect(address, window);
    if window > 0 {
        peer.frame(WINDOW_UPDATE, 0, 0, &(i32::MAX as u32 - WINDOW).to_be_bytes());
    }
    let streams = (0..STREAMS).map(|_| peer.open(END_STREAM, &request("GET", "/"))).collect();
    (peer, streams)
}

#[test]
fn responses_to_closed_windows_stay_with_the_backend() {
    let backend = generous();
    let gateway = Gateway::to(backend.address);
    let limit = Limits::default().responses.connection;
    let (mut peer, streams) = takes_nothing(gateway.addresses()[0], 0);
    peer.until("all heads", |seen| streams.iter().all(|stream| seen.is_ok(*stream)));
    let held = held(&gateway, "response");
    assert!(held > 0 && held <= limit, "{held} octets");
    assert_eq!(gateway.client().get("/quick").answer().text(), "xx");
    // The transfer continues when windows are opened: that of a stream, and that of the connection.
    peer.frame(WINDOW_UPDATE, 0, 0, &(BODY as u32).to_be_bytes());
    peer.frame(WINDOW_UPDATE, 0, streams[100], &(BODY as u32).to_be_bytes());
    peer.until("a whole body", |seen| seen.data.get(&streams[100]) == Some(&BODY));
    peer.until("nothing of others", |seen| seen.data.len() == 1);
    drop(peer);
    until("all is returned", || self::held(&gateway, "response") == 0);
}

#[test]
fn responses_to_a_client_that_reads_nothing_stay_with_the_backend() {
    let backend = generous();
    let gateway = Gateway::to(backend.address);
    let limit = Limits::default().responses.connection;
    let (mut peer, streams) = takes_nothing(gateway.addresses()[0], i32::MAX as u32);
    // The sockets hold a part; the rest waits.
    until("the budget is used up", || held(&gateway, "response") > limit - (128 << 10));
    assert_eq!(gateway.client().get("/quick").answer().text(), "xx");
    // The amount that each stream may always use is added.
    let held = held(&gateway, "response");
    assert!(held <= limit + STREAMS * (2 << 10), "{held} octets");
    peer.until("all bodies", |seen| streams.iter().all(|stream| seen.data.get(stream) == Some(&BODY)));
    until("all is returned", || self::held(&gateway, "response") == 0);
}

#[test]
fn streams_that_take_nothing_leave_a_backend_in_http_2_to_others() {
    let backend = generous_streams();
    let gateway =
        Gateway::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"));
    let attackers: Vec<_> = (0..3)
        .map(|_| {
            let (mut peer, streams) = takes_nothing(gateway.addresses()[0], 0);
            peer.until("all heads", |seen| streams.iter().all(|stream| seen.is_ok(*stream)));
            peer
        })
        .collect();
    assert_eq!(gateway.client().get("/quick").answer().text(), "xx");
    let ahead = held(&gateway, "ahead");
    assert!(ahead >= 3 * STREAMS * (64 << 10), "{ahead} octets");
    drop(attackers);
    until("all is returned", || held(&gateway, "ahead") == 0);
}

#[test]
fn a_backend_in_http_2_sends_no_more_ahead_than_there_is_room_for() {
    let backend = generous_streams();
    let ahead = BudgetLimits { connection: 4 << 20, worker: 4 << 20, process: 64 << 20 };
    let gateway = Gateway::start(1, Limits { ahead, ..Limits::default() }, None);
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"));
    let (mut peer, _) = takes_nothing(gateway.addresses()[0], 0);
    // A connection may use a half, so that as much is left for another one: 32 windows.
    peer.until("resets", |seen| seen.resets(ENHANCE_YOUR_CALM) >= STREAMS - 32);
    assert!(held(&gateway, "ahead") <= ahead.worker / 2);
    assert_eq!(gateway.client().get("/quick").answer().text(), "xx");
    gateway.has_counted("moongate_http2_streams_refused_total{cause=\"worker\"} 96");
}

/// Opens a stream with this head, and sends a body of one octet and trailers whose fields each take one octet.
fn trails(peer: &mut Peer, head: &[u8], fields: usize) {
    let stream = peer.open(0, head);
    peer.frame(DATA, 0, stream, b"x");
    // `accept-encoding: gzip, deflate`, out of the static table.
    peer.frame(HEADERS, END_HEADERS | END_STREAM, stream, &vec![0x90; fields]);
}

#[test]
fn trailers_that_wait_for_their_body_to_be_read_are_charged() {
    let backend = patient();
    let pool = ir::PoolLimits { max_connections: Some(1), ..ir::PoolLimits::default() };
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).limits(pool);
    let gateway = Gateway::serving(&setup);
    let mut peer = Peer::connect(gateway.addresses()[0], WINDOW);
    let first = peer.open(0, &request("POST", "/"));
    until("the only connection is taken", || backend.seen().len() == 1);
    // Their bodies are not read, because no connection to the backend is available.
    (0..10).for_each(|_| trails(&mut peer, &request("POST", "/"), 1000));
    until("they are charged", || held(&gateway, "head") > 10 * 100_000);
    assert!(peer.seen.resets.is_empty());
    (0..30).for_each(|_| trails(&mut peer, &request("POST", "/"), 1000));
    peer.until("the end", |seen| seen.goaway == Some(ENHANCE_YOUR_CALM));
    assert!(!peer.seen.heads.contains_key(&first));
    until("all is returned", || held(&gateway, "head") == 0);
}

#[test]
fn trailers_that_were_read_are_charged_no_longer() {
    let backend = patient();
    let gateway = Gateway::to(backend.address);
    let mut peer = Peer::connect(gateway.addresses()[0], WINDOW);
    // In sequence, they exceed by far what may wait.
    for number in 1..=100 {
        trails(&mut peer, &request("POST", "/"), 800);
        until("a request", || backend.seen().len() == number);
        until("its trailers are read", || held(&gateway, "head") < 64 << 10);
    }
    assert_eq!((peer.seen.goaway, peer.seen.resets.len()), (None, 0));
}

#[test]
fn copies_of_bodies_are_charged_and_given_up_beyond_the_budget() {
    let backend = Streams::start(|request, mut respond, _| async move {
        let never = request.uri().path() == "/never";
        let Ok((body, _)) = crate::streams::read(&mut request.into_body()).await else { return };
        if never {
            let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
        } else if let Ok(mut send) = respond.send_response(http::Response::new(()), false) {
            let _ = send.send_data(body.into(), true);
        }
    });
    let heads = BudgetLimits { connection: 100_000, worker: 64 << 20, process: 64 << 20 };
    let gateway = Gateway::start(1, Limits { heads, ..Limits::default() }, None);
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"));
    let mut peer = Peer::connect(gateway.addresses()[0], WINDOW);
    let mut send = |path| {
        let stream = peer.open(0, &request("POST", path));
        (0..3).for_each(|_| peer.frame(DATA, 0, stream, &[b'x'; 10_000]));
        peer.frame(DATA, END_STREAM, stream, b"");
        stream
    };
    send("/never");
    until("a body is kept, to be sent again", || held(&gateway, "head") > 30_000);
    for _ in 0..2 {
        send("/never");
    }
    until("three are", || held(&gateway, "head") > 90_000);
    // There is no budget for a fourth copy, but its request continues.
    let stream = send("/echo");
    peer.until("an answer", |seen| seen.data.get(&stream) == Some(&30_000));
    assert!(held(&gateway, "head") <= heads.connection && peer.seen.resets.is_empty());
    drop(peer);
    until("all is returned", || held(&gateway, "head") == 0);
}

#[test]
fn a_chunked_response_continues_where_a_closed_window_interrupted_it() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |side| {
        side.request();
        // The size of the second chunk is cut.
        side.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1");
        wait.lock().unwrap().recv().unwrap();
        side.send("0\r\n0123456789abcdef\r\n0\r\n\r\n");
        side.more();
    });
    let gateway = Gateway::to(backend.address);
    let mut peer = Peer::connect(gateway.addresses()[0], 0);
    let stream = peer.open(END_STREAM, &request("GET", "/"));
    peer.until("a head", |seen| seen.is_ok(stream));
    until("the body waits", || held(&gateway, "response") > 0);
    peer.frame(WINDOW_UPDATE, 0, stream, &100_u32.to_be_bytes());
    peer.until("the first chunk", |seen| seen.data.get(&stream) == Some(&5));
    go.send(()).unwrap();
    peer.until("all of it", |seen| seen.data.get(&stream) == Some(&21));
    assert!(peer.seen.resets.is_empty() && held(&gateway, "response") == 0);
}
