//! New connections at the connection limit: idle connections, and those without a complete request, are closed for them. Each failed handshake has
//! a line in the access log, with its cause.

use crate::backend::Backend;
use crate::certificates::{Authority, Signed, fetch, shake};
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward, respond, until};
use crate::observe::Lines;
use crate::streams::run;
use dataplane::{AddressLimits, Limits, TrustedProxies};
use ir::LogFormat;
use ir::{ClientAuth, MeshConnectionSettings, ProxyProtocol};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// The beginning of a ClientHello of 256 octets.
const HALF_HELLO: &[u8] = &[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];

/// This process has both ends of all connections.
fn raise_limit() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)).unwrap()
}

fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

fn evicted(gateway: &Gateway, waiting_for: &str) -> f64 {
    let name = format!("moongate_downstream_connections_evicted_total{{waiting_for=\"{waiting_for}\"}}");
    gateway.metric(&name).unwrap()
}

#[test]
fn at_the_limit_idle_connections_of_any_kind_and_worker_make_room() {
    raise_limit();
    let backend = Backend::answering(OK);
    let limits = Limits { connections: 50, ..Limits::default() };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for begun in [&b""[..], b"GET / HTTP/1.1\r\nHost: a.te", b"PRI * HTT", preface] {
        // Most of the four workers have to ask another one for a connection to close.
        let gateway = Gateway::start(4, limits, None);
        gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]));
        let all: Vec<_> = (0..300).map(|_| connect(gateway.addresses()[0], begun)).collect();
        let sum = |metric: &str| -> f64 {
            let lines = gateway.metrics();
            let values =
                lines.lines().filter(|line| line.starts_with(metric)).filter_map(|line| line.rsplit(' ').next());
            values.filter_map(|value| value.parse::<f64>().ok()).sum()
        };
        // Connections that are accepted later would be idle for less time than a client below.
        until("all were accepted", || sum("moongate_downstream_connections_evicted_total") >= 250.0);
        for _ in 0..20 {
            let mut client = gateway.client();
            assert_eq!(client.get("/").answer().status, 200);
            assert_eq!(client.get("/").answer().status, 200, "it is idle now, but not for longest");
        }
        let open = sum("moongate_downstream_connections_open");
        assert!(open <= 54.0, "{open}");
        assert_eq!(gateway.metric("moongate_downstream_connections_refused_total{cause=\"limit\"}"), Some(0.0));
        drop(all);
    }
}

#[test]
fn rfc_9113_6_8_an_idle_http_2_connection_ends_with_goaway() {
    let gateway = Gateway::start(1, Limits { connections: 1, ..Limits::default() }, None);
    gateway.apply(&Setup::default().host("*", respond(200, "ok")));
    let mut idle = Client::connect(gateway.addresses()[0]);
    idle.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    // The SETTINGS frame shows that the gateway has read the preface.
    idle.stream.read_exact(&mut [0; 9]).unwrap();
    assert_eq!(gateway.client().get("/").answer().status, 200);
    let mut rest = Vec::new();
    let _ = idle.stream.read_to_end(&mut rest);
    let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(rest.ends_with(&goaway), "{rest:?}");
    assert_eq!(evicted(&gateway, "idle"), 1.0);
}

#[test]
fn a_request_under_way_is_never_closed_for_another() {
    let backend = Backend::echo();
    let gateway = Gateway::with_limits(backend.address, Limits { connections: 3, ..Limits::default() });
    let mut busy = gateway.client();
    busy.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nha");
    until("it is under way", || backend.connections() == 1);
    for _ in 0..20 {
        assert_eq!(gateway.client().with_body("POST", "x").answer().status, 200);
    }
    assert_eq!(busy.send("lf").answer().text(), "half");
}

#[test]
fn thousands_of_partial_client_hellos_do_not_block_a_new_client() {
    let count = 5000.min(raise_limit().saturating_sub(2000) / 2);
    let signed = Authority::new().sign(&["a.test"]);
    // The default limit of handshakes, which the attack exceeds if the system permits as many sockets.
    let limits = Limits { client_hello_timeout: Duration::from_secs(600), ..Limits::default() };
    let limits = Limits { handshakes: limits.handshakes.min(count / 2), ..limits };
    let gateway = Gateway::start(1, limits, None);
    gateway.apply(
        &Setup::default().host("*", respond(200, "ok")).tls(&["a.test"], Some(signed.termination(ClientAuth::None))),
    );
    let address = gateway.addresses()[0];
    let mut all = Vec::with_capacity(count);
    for part in 0..10 {
        all.extend((0..count / 10).map(|_| connect(address, HALF_HELLO)));
        run(async {
            for _ in 0..5 {
                assert!(fetch(address, "a.test", "a.test", None).await.is_ok(), "after {part} tenths");
            }
        });
    }
    assert!(evicted(&gateway, "first_bytes") > 0.0);
    assert_eq!(gateway.metric("moongate_downstream_connections_refused_total{cause=\"limit\"}"), Some(0.0));
    // The oldest was closed first.
    all[0].set_read_timeout(Some(crate::gateway::TIMEOUT)).unwrap();
    assert!(!matches!(all[0].read(&mut [0; 16]), Ok(1..)));
}

#[test]
fn an_address_has_its_limits_and_proxies_have_none() {
    let address = AddressLimits { connections: Some(3), ..AddressLimits::default() };
    let limits = Limits { address, ..Limits::default() };
    let setup = Setup::default().host("*", respond(200, "ok"));
    let gateway = Gateway::trusting(TrustedProxies::of([]), limits);
    gateway.apply(&setup);
    let mut held: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut held {
        assert_eq!(client.get("/").answer().status, 200);
    }
    assert!(gateway.client().get("/").is_closed());
    assert_eq!(
        gateway.metric("moongate_downstream_connections_refused_total{cause=\"address_connections\"}"),
        Some(1.0)
    );
    held.pop();
    until("there is room again", || gateway.client().get("/").try_answer(false).is_ok());
    // By default, addresses of this machine are trusted proxies.
    let gateway = Gateway::trusting(TrustedProxies::default(), limits);
    gateway.apply(&setup);
    let held: Vec<_> = (0..20).map(|_| gateway.client()).collect();
    assert_eq!(gateway.client().get("/").answer().status, 200);
    drop(held);
}

#[test]
fn s_112_behind_a_load_balancer_the_address_is_that_of_the_header() {
    let address = AddressLimits { connections: Some(2), ..AddressLimits::default() };
    let gateway = Gateway::trusting(TrustedProxies::of([]), Limits { address, ..Limits::default() });
    let mesh_settings = MeshConnectionSettings {
        proxy_protocol: Some(ProxyProtocol { from: Vec::new() }),
        ..MeshConnectionSettings::default()
    };
    gateway.apply(&Setup::default().host("*", respond(200, "ok")).mesh_settings(mesh_settings));
    let from = |address: &str| {
        let mut client = gateway.client();
        client.send(format!("PROXY TCP4 {address} 198.51.100.1 51000 443\r\n")).get("/");
        client
    };
    let mut held = Vec::new();
    for address in ["203.0.113.1", "203.0.113.1", "203.0.113.2", "203.0.113.2", "203.0.113.3"] {
        let mut client = from(address);
        assert_eq!(client.answer().status, 200);
        held.push(client);
    }
    assert!(from("203.0.113.2").is_closed());
    assert_eq!(from("203.0.113.4").answer().status, 200);
    drop(held);
    until("there is room again", || from("203.0.113.2").try_answer(false).is_ok());
}

#[test]
fn connections_that_are_made_too_fast_and_handshakes_of_one_address_are_bounded() {
    let address = AddressLimits { rate: Some(10), ..AddressLimits::default() };
    let gateway = Gateway::trusting(TrustedProxies::of([]), Limits { address, ..Limits::default() });
    gateway.apply(&Setup::default().host("*", respond(200, "ok")));
    let served = (0..200).filter(|_| gateway.client().get("/").try_answer(false).is_ok()).count();
    assert!((20..200).contains(&served), "{served}");
    assert!(gateway.metric("moongate_downstream_connections_refused_total{cause=\"address_rate\"}").unwrap() > 0.0);

    let address = AddressLimits { handshakes: Some(5), ..AddressLimits::default() };
    let gateway = Gateway::trusting(TrustedProxies::of([]), Limits { address, ..Limits::default() });
    let signed = Authority::new().sign(&["a.test"]);
    gateway.apply(
        &Setup::default().host("*", respond(200, "ok")).tls(&["a.test"], Some(signed.termination(ClientAuth::None))),
    );
    let mut held: Vec<_> = (0..5).map(|_| connect(gateway.addresses()[0], HALF_HELLO)).collect();
    until("they are under way", || gateway.metric("moongate_downstream_connections_open") == Some(5.0));
    assert!(run(shake(gateway.addresses()[0], "a.test", None, &[])).is_err());
    gateway.has_counted("moongate_tls_handshake_failures_total{cause=\"address_limit\"} 1");
    held.pop();
    until("there is room again", || run(shake(gateway.addresses()[0], "a.test", None, &[])).is_ok());
}

/// A way to fail, and its line in the log.
type Failing<'a> = (&'a str, &'a str, Box<dyn Fn(SocketAddr) + 'a>);

fn raw(bytes: &'static [u8]) -> Box<dyn Fn(SocketAddr)> {
    Box::new(move |address| {
        let mut stream = connect(address, bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

#[test]
fn each_failed_handshake_has_a_line_and_a_cause() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = authority.sign(&["a.test"]);
    let required = ClientAuth::Required(authority.trust(&[]));
    let named = ClientAuth::Required(authority.trust(&["somebody.test"]));
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), LogFormat::istio_text())));
    let setup = Setup::default().host("*", respond(200, "ok"));
    let setup = setup.tls(&["a.test"], Some(server.termination(ClientAuth::None)));
    let setup = setup.tls(&["m.test"], Some(server.termination(required)));
    gateway.apply(&setup.tls(&["n.test"], Some(server.termination(named))));
    let with = |name: &'static str, client: Option<Signed>| -> Box<dyn Fn(SocketAddr)> {
        Box::new(move |address| drop(run(fetch(address, name, name, client.as_ref()))))
    };
    let (other, late, mine) =
        (stranger.sign(&["x.test"]), authority.sign_expired(&["x.test"]), authority.sign(&["x.test"]));
    // TLS 1.1, and TLS 1.2 with an unknown suite: random, no session, the suite, no compression.
    let old: &'static [u8] = hello(&[3, 2], &[0xc0, 0x2f]).leak();
    let strange: &'static [u8] = hello(&[3, 3], &[0x00, 0x05]).leak();
    let all: Vec<Failing<'_>> = vec![
        ("NR filter_chain_not_found", "no_matching_server", with("b.test", None)),
        ("NR filter_chain_not_found", "clear_text", raw(b"GET / HTTP/1.1\r\n\r\n")),
        (
            "DPE tls_handshake_failed{malformed_client_hello}",
            "malformed_client_hello",
            raw(&[22, 3, 1, 0, 4, 9, 9, 9, 9]),
        ),
        ("DC tls_handshake_failed{closed_by_client}", "closed_by_client", raw(HALF_HELLO)),
        ("DPE tls_handshake_failed{protocol_version}", "protocol_version", raw(old)),
        ("DPE tls_handshake_failed{no_shared_cipher}", "no_shared_cipher", raw(strange)),
        ("DPE tls_handshake_failed{client_certificate_required}", "client_certificate_required", with("m.test", None)),
        ("DPE tls_handshake_failed{unknown_ca}", "unknown_ca", with("m.test", Some(other))),
        (
            "DPE tls_handshake_failed{client_certificate_expired}",
            "client_certificate_expired",
            with("m.test", Some(late)),
        ),
        ("DPE tls_handshake_failed{bad_client_certificate}", "bad_client_certificate", with("n.test", Some(mine))),
        (
            "DC tls_handshake_failed{certificate_rejected_by_client}",
            "certificate_rejected_by_client",
            Box::new(distrust),
        ),
    ];
    for (at, (told, cause, fail)) in all.iter().enumerate() {
        fail(gateway.addresses()[0]);
        let line = lines.get(at + 1).pop().unwrap();
        assert!(line.contains(&format!("] \"- - -\" 0 {told} - \"-\" 0 0 ")), "{cause}: {line}");
        gateway.has_counted(&format!("moongate_tls_handshake_failures_total{{cause=\"{cause}\"}} 1"));
    }
    let line = &lines.get(all.len())[0];
    assert!(
        line.contains(&format!(" {} 127.0.0.1:", gateway.addresses()[0])) && line.ends_with(" b.test -\n".trim_end()),
        "{line}"
    );
    // A connection without data, as from a load balancer's probe, is not a handshake.
    drop(connect(gateway.addresses()[0], b""));
    until("it has gone", || gateway.metric("moongate_downstream_connections_open") == Some(0.0));
    assert_eq!(gateway.metric("moongate_tls_handshake_failures_total{cause=\"closed_by_client\"}"), Some(1.0));
    run(fetch(gateway.addresses()[0], "a.test", "a.test", None)).unwrap();
    assert_eq!(lines.get(all.len() + 1).len(), all.len() + 1);
}

/// The record of a ClientHello for `a.test`, of a version and with one suite.
fn hello(version: &[u8; 2], suite: &[u8; 2]) -> Vec<u8> {
    let name = b"\0\0\0\x0b\0\x09\0\0\x06a.test";
    let groups = b"\0\x0a\0\x04\0\x02\0\x17\0\x0d\0\x04\0\x02\x04\x03";
    let extensions = [&name[..], groups].concat();
    let body =
        [&version[..], &[7; 32], &[0, 0, 2], suite, &[1, 0], &(extensions.len() as u16).to_be_bytes(), &extensions]
            .concat();
    let message = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

/// A client that trusts no certificate.
fn distrust(address: SocketAddr) {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(Authority::new().sign_own()).unwrap();
    let config = std::sync::Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let mut session = rustls::ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    assert!(session.complete_io(&mut stream).is_err());
    // The alert.
    let _ = session.write_tls(&mut stream);
}
