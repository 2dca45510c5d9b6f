//! Limits that the mesh's settings have (PC-04, S-121, S-122), and those of a listener.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward, until};
use crate::streams::{ask, begin, get, run};
use dataplane::Limits;
use ir::{ConnectionSettings, MeshConnectionSettings, Underscores};
use std::time::{Duration, Instant};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const SOON: Option<Duration> = Some(Duration::from_millis(300));

fn mesh_settings(connections: ConnectionSettings) -> MeshConnectionSettings {
    MeshConnectionSettings { connections, ..MeshConnectionSettings::default() }
}

fn serving(backend: &Backend, connections: ConnectionSettings) -> Gateway {
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    Gateway::serving(&setup.mesh_settings(mesh_settings(connections)))
}

#[test]
fn s_121_idle_connections_have_the_time_that_the_mesh_gives_them() {
    let backend = Backend::answering(OK);
    let gateway = serving(&backend, ConnectionSettings { idle_timeout: SOON, ..ConnectionSettings::default() });
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert!(client.is_closed());
}

#[test]
fn pc_04_a_connection_that_is_too_old_ends_in_order() {
    let backend = Backend::answering(OK);
    let gateway = serving(&backend, ConnectionSettings { max_age: SOON, ..ConnectionSettings::default() });
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert!(client.is_closed());
    // An HTTP/2 client receives GOAWAY.
    run(async {
        let stream = tokio::net::TcpStream::connect(gateway.addresses()[0]).await.unwrap();
        let mut send = begin(stream).await;
        assert_eq!(ask(&mut send, get("/"), &[], None).await.unwrap().status, 200);
        while send.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn pc_04_heads_and_requests_have_timeouts() {
    let backend = Backend::echo();
    let gateway = serving(&backend, ConnectionSettings { headers_timeout: SOON, ..ConnectionSettings::default() });
    assert_eq!(gateway.client().send("GET / HT").answer().status, 408);
    let gateway = serving(&backend, ConnectionSettings { request_timeout: SOON, ..ConnectionSettings::default() });
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (408, "request timeout"));
    // The response to a request that arrived in time may take longer.
    let limit = Duration::from_millis(300);
    let slow = Backend::start(move |side| {
        while side.request().is_some() {
            let begun = Instant::now();
            until("the end of the request's time", || begun.elapsed() > limit);
            side.send(OK);
        }
    });
    let settings = ConnectionSettings { request_timeout: Some(limit), ..ConnectionSettings::default() };
    let gateway = serving(&slow, settings);
    assert_eq!(gateway.client().with_body("POST", "abc").answer().status, 200);
}

#[test]
fn s_121_an_exchange_in_which_nothing_happens_ends() {
    let silent = Backend::start(|side| while side.request().is_some() {});
    let gateway = serving(&silent, ConnectionSettings { stream_idle_timeout: SOON, ..ConnectionSettings::default() });
    let answer = gateway.client().get("/").answer();
    assert_eq!((answer.status, answer.text()), (504, "stream timeout"));
    gateway.has_counted("response_code=\"504\",response_flags=\"SI\"");
    let limit = ConnectionSettings { max_stream_duration: SOON, ..ConnectionSettings::default() };
    assert_eq!(serving(&silent, limit).client().get("/").answer().status, 504);
}

#[test]
fn pc_04_names_with_underscores_are_refused_or_left_out() {
    let backend = Backend::answering(OK);
    for (underscores, status, there) in
        [(Underscores::Allow, 200, true), (Underscores::Reject, 400, false), (Underscores::Drop, 200, false)]
    {
        let gateway = serving(&backend, ConnectionSettings { underscores, ..ConnectionSettings::default() });
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX_Under: 1\r\nX-Other: a_b\r\n\r\n";
        assert_eq!(gateway.client().send(head).answer().status, status);
        run(async {
            let stream = tokio::net::TcpStream::connect(gateway.addresses()[0]).await.unwrap();
            let mut request = get("/");
            request.headers_mut().insert("x_under", "1".parse().unwrap());
            assert_eq!(ask(&mut begin(stream).await, request, &[], None).await.unwrap().status, status);
        });
        if status == 200 {
            let seen = backend.seen();
            let last = &seen[seen.len() - 2..];
            assert!(last.iter().all(|head| head.contains("x_under") == there), "{last:?}");
            assert!(last[0].contains("x-other: a_b"), "{last:?}");
        }
    }
}

#[test]
fn pc_04_streams_and_windows_are_those_of_the_mesh() {
    let backend = Backend::answering(OK);
    let limits = ConnectionSettings {
        streams: Some(7),
        stream_window: Some(70_000),
        connection_window: Some(200_000),
        ..ConnectionSettings::default()
    };
    let gateway = serving(&backend, limits);
    let mut client = gateway.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut frames = |wanted: u8| loop {
        let head = client.exactly(9).unwrap();
        let body = client.exactly(usize::from(head[2])).unwrap();
        if head[3] == wanted && !body.is_empty() {
            return body;
        }
    };
    let settings = frames(4);
    let value = |id: u8| {
        let found = settings.chunks(6).find(|one| one[1] == id).unwrap();
        u32::from_be_bytes([found[2], found[3], found[4], found[5]])
    };
    assert_eq!((value(3), value(4)), (7, 70_000));
    assert_eq!(frames(8), (200_000_u32 - 65_535).to_be_bytes());
}

#[test]
fn s_122_connections_are_limited_in_all_and_for_a_listener() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let of_mesh = ConnectionSettings { most: Some(2), ..ConnectionSettings::default() };
    let of_listener = Limits { listener_connections: Some(2), ..Limits::default() };
    for (limits, connections) in [(Limits::default(), of_mesh), (of_listener, ConnectionSettings::default())] {
        // One worker, so that its idle connections have an order.
        let gateway = Gateway::start(1, limits, None);
        gateway.apply(&setup.clone().mesh_settings(mesh_settings(connections)));
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..2 {
            let mut client = gateway.client();
            assert_eq!(client.get("/").answer().status, 200);
            clients.push(client);
        }
        if limits.listener_connections.is_some() {
            assert!(gateway.client().get("/").is_closed());
            gateway.has_counted("moongate_downstream_connections_refused_total{cause=\"listener\"} 1");
            clients.pop();
            until("there is room again", || gateway.client().get("/").try_answer(false).is_ok());
        } else {
            assert_eq!(gateway.client().get("/").answer().status, 200);
            gateway.has_counted("moongate_downstream_connections_evicted_total{waiting_for=\"idle\"} 1");
            assert!(clients[0].is_closed(), "the oldest idle connection is closed");
            assert_eq!(clients[1].get("/").answer().status, 200, "the other stays open");
        }
    }
}
