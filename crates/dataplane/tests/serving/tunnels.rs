//! Tunnels through proxies (DR-50), and proxies that misbehave.

use crate::backend::{Backend, Side};
use crate::certificates::Authority;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, until};
use crate::streams::{Streams, read};
use bytes::Bytes;
use http::{Method, Response};
use ir::{ClientAuth, ClientTls, PoolLimits, Sni, TlsParameters, TunnelMethod, Verify};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const YES: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const CONNECT: &str = "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a.test:443\r\ntransfer-encoding: chunked\r\n\r\n";

fn through(proxy: SocketAddr, method: TunnelMethod) -> Setup {
    Setup::default().tcp("c").tunnelled(method).cluster_with("c", &[proxy], Duration::from_secs(10))
}

/// A gateway that uses this proxy by CONNECT.
fn gateway(proxy: &Backend) -> Gateway {
    Gateway::serving(&through(proxy.address, TunnelMethod::Connect))
}

fn is_refused(gateway: &Gateway, client: &mut Client) {
    assert!(client.send("hello").is_closed());
    gateway.has_counted(r#"response_flags="UF,URX""#);
}

#[test]
fn dr_50_bytes_flow_both_ways_behind_connect_and_each_side_ends_for_itself() {
    let proxy = Backend::start(|side| {
        side.head().unwrap();
        assert!(side.taken().is_empty(), "nothing is sent before the answer");
        // A response to CONNECT has no body, whatever its head states.
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nbehind the head");
        assert_eq!(side.exactly(4).unwrap(), b"ping");
        side.send("pong");
        assert!(side.more().is_none());
        side.send("last words");
    });
    let gateway = gateway(&proxy);
    let mut client = gateway.client();
    client.send("ping");
    assert_eq!(client.exactly(15).unwrap(), b"behind the head");
    assert_eq!(client.exactly(4).unwrap(), b"pong");
    client.finish();
    assert_eq!(client.rest(), b"last words");
    assert_eq!(proxy.only(), CONNECT);
    gateway.has_counted(r#"response_flags="-""#);
}

#[test]
fn dr_50_the_side_of_the_proxy_may_end_first() {
    let proxy = Backend::start(|side| {
        side.head().unwrap();
        side.send(YES);
        side.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(side.exactly(5).unwrap(), b"still");
        side.more();
    });
    let gateway = gateway(&proxy);
    let mut client = gateway.client();
    assert!(client.is_closed());
    client.send("still").finish();
    gateway.has_counted(r#"response_flags="-""#);
}

#[test]
fn dr_50_much_flows_through_each_kind_of_tunnel() {
    const ALL: usize = 3 << 20;
    let sent: Vec<u8> = (0..ALL).map(|at| (at % 253) as u8).collect();
    let there_and_back = |gateway: &Gateway| {
        let mut client = gateway.client();
        client.send(&sent).finish();
        assert!(client.rest() == sent);
    };
    let connect = Backend::start(|side| {
        side.head().unwrap();
        side.send(YES);
        let all = side.exactly(ALL).unwrap();
        side.send(all);
    });
    there_and_back(&gateway(&connect));
    let post = Backend::start(|side| {
        let head = side.head().unwrap();
        side.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let all = side.body(&head).unwrap();
        for piece in all.chunks(100_000) {
            side.send(format!("{:x}\r\n", piece.len()));
            side.send(piece);
            side.send("\r\n");
        }
        side.send("0\r\n\r\n");
        side.more();
    });
    there_and_back(&Gateway::serving(&through(post.address, TunnelMethod::Post)));
    assert_eq!(post.only(), POST);
    for method in [TunnelMethod::Connect, TunnelMethod::Post] {
        let streams = echo_streams();
        there_and_back(&Gateway::serving(&through(streams.address, method).http2("c")));
    }
}

/// A proxy that speaks HTTP/2 and returns what it receives.
fn echo_streams() -> Streams {
    Streams::start(|request, mut respond, _| async move {
        let (parts, mut receive) = request.into_parts();
        let asked = (parts.method.clone(), parts.uri.to_string());
        let connect = (Method::CONNECT, "a.test:443".to_owned());
        assert!(asked == connect || asked == (Method::POST, "http://a.test:443/".to_owned()), "{asked:?}");
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        let Ok((body, _)) = read(&mut receive).await else { return };
        send.send_data(body.into(), true).unwrap();
    })
}

#[test]
fn dr_50_the_bodies_of_post_are_read_as_they_are_written() {
    let answers = [
        ("Content-Length: 3\r\n\r\nabcdef", "abc"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nx: y\r\n\r\nrest", "abc"),
        ("\r\nabc", "abc"),
        ("Content-Length: 0\r\n\r\n", ""),
    ];
    for (answer, told) in answers {
        let proxy = Backend::start(move |side| {
            let head = side.head().unwrap();
            side.send(format!("HTTP/1.1 200 OK\r\n{answer}"));
            if answer.starts_with('\r') {
                side.stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            assert_eq!(side.body(&head).unwrap(), b"hello");
        });
        let gateway = Gateway::serving(&through(proxy.address, TunnelMethod::Post));
        let mut client = gateway.client();
        assert_eq!(client.rest(), told.as_bytes());
        client.send("hello").finish();
        gateway.has_counted(r#"response_flags="-""#);
    }
}

#[test]
fn dr_50_a_proxy_that_rejects_or_answers_invalidly_ends_the_connection() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(200 << 10));
    let answers = [
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 20",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n broken\r\n\r\n",
        "",
        &long,
    ];
    for answer in answers {
        let answer = answer.to_owned();
        let proxy = Backend::start(move |side| {
            side.head();
            side.send(&answer);
            side.stream.shutdown(std::net::Shutdown::Write).unwrap();
            side.more();
            assert!(side.taken().is_empty(), "bytes were sent to a proxy that refuses");
        });
        let gateway = gateway(&proxy);
        is_refused(&gateway, &mut gateway.client());
        assert_eq!(proxy.connections(), 1);
        assert_eq!(gateway.metric("moongate_upstream_connect_failures_total"), Some(1.0));
    }
}

#[test]
fn dr_50_a_proxy_that_never_responds_is_bounded_by_the_connect_timeout() {
    let silent: [fn(&mut Side); 2] = [
        |side| while side.more().is_some() {},
        |side| {
            // Endless interim heads.
            while side.send("HTTP/1.1 100 Continue\r\n\r\n") {
                std::thread::sleep(Duration::from_millis(5));
            }
        },
    ];
    for script in silent {
        let proxy = Backend::start(script);
        for setup in [through(proxy.address, TunnelMethod::Connect), through(proxy.address, TunnelMethod::Post)] {
            let short = |cluster: &mut ir::Cluster| cluster.timeouts.connect = Duration::from_millis(150);
            let gateway = Gateway::serving(&setup.with_clusters(short));
            is_refused(&gateway, &mut gateway.client());
        }
    }
}

#[test]
fn dr_50_informational_answers_are_passed_over() {
    let proxy = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n");
        side.send("HTTP/1.0 201 Made\r\n\r\nfine");
    });
    let gateway = gateway(&proxy);
    let mut client = gateway.client();
    assert_eq!(client.exactly(4).unwrap(), b"fine");
}

#[test]
fn dr_50_another_proxy_is_tried_if_one_is_unreachable_but_not_if_it_rejects() {
    let good = Backend::start(|side| {
        side.head();
        side.send(YES);
        side.send("hello");
    });
    let closing = Backend::start(|side| drop(side.head()));
    let setup = |first: SocketAddr| {
        Setup::default().tcp("c").tunnelled(TunnelMethod::Connect).cluster("c", &[first, good.address])
    };
    let gateway = Gateway::serving(&setup(closing.address));
    until("both were asked first", || {
        assert_eq!(gateway.client().rest(), b"hello");
        closing.connections() > 0
    });
    let refusing = Backend::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::serving(&setup(refusing.address));
    until("the one that refuses was asked", || {
        let told = gateway.client().rest();
        assert!(told.is_empty() || told == b"hello");
        told.is_empty()
    });
    assert_eq!(refusing.connections(), 1);
}

#[test]
fn dr_50_streams_of_http_2_share_a_connection_and_end_for_themselves() {
    let proxy = Streams::start(|request, mut respond, _| async move {
        let mut receive = request.into_body();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(b"behind"), false).unwrap();
        let ping = receive.data().await.unwrap().unwrap();
        send.send_data(ping, false).unwrap();
        assert_eq!(read(&mut receive).await.unwrap().0, b"");
        send.send_data(Bytes::from_static(b"last words"), true).unwrap();
    });
    let gateway = Gateway::serving(&through(proxy.address, TunnelMethod::Connect).http2("c"));
    let mut clients = [gateway.client(), gateway.client(), gateway.client()];
    for client in &mut clients {
        assert_eq!(client.send("ping").exactly(10).unwrap(), b"behindping");
    }
    for mut client in clients {
        client.finish();
        assert_eq!(client.rest(), b"last words");
    }
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn dr_50_streams_that_are_refused_broken_or_silent_end_the_connection() {
    let refusing = Streams::start(|_, mut respond, _| async move {
        respond.send_response(Response::builder().status(407).body(()).unwrap(), true).unwrap();
    });
    let broken = Streams::start(|_, mut respond, _| async move { respond.send_reset(h2::Reason::CANCEL) });
    let ended = Streams::start(|_, mut respond, _| async move {
        respond.send_response(Response::new(()), true).unwrap();
    });
    let silent = Streams::start(|_, mut respond, _| async move {
        let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
    });
    for proxy in [&refusing, &broken, &ended, &silent] {
        let short = |cluster: &mut ir::Cluster| cluster.timeouts.connect = Duration::from_millis(500);
        let setup = through(proxy.address, TunnelMethod::Connect).http2("c").with_clusters(short);
        let gateway = Gateway::serving(&setup);
        is_refused(&gateway, &mut gateway.client());
        // The next request uses the same connection.
        is_refused(&gateway, &mut gateway.client());
        assert_eq!(proxy.connections(), 1);
    }
}

#[test]
fn dr_50_a_connection_that_the_proxy_has_closed_meanwhile_is_not_the_next_ones_fault() {
    let proxy = Streams::start(|request, mut respond, (connection, count)| async move {
        if (connection, count) == (0, 1) {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return;
        }
        drop(request);
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(b"hello"), true).unwrap();
    });
    let gateway = Gateway::serving(&through(proxy.address, TunnelMethod::Connect).http2("c"));
    for _ in 0..2 {
        assert_eq!(gateway.client().exactly(5).unwrap(), b"hello");
    }
}

#[test]
fn dr_21_a_tunnel_is_a_request_for_as_long_as_it_lasts() {
    let proxy = Backend::start(|side| {
        side.head();
        side.send(YES);
        side.send("hello");
        side.more();
    });
    let limits = PoolLimits { max_requests: Some(1), ..PoolLimits::default() };
    let gateway = Gateway::serving(&through(proxy.address, TunnelMethod::Connect).limits(limits));
    let mut first = gateway.client();
    assert_eq!(first.exactly(5).unwrap(), b"hello");
    assert!(gateway.client().is_closed());
    gateway.has_counted(r#"response_flags="UO""#);
    first.reset();
    until("it has ended", || gateway.metric("envoy_cluster_upstream_rq_active{") == Some(0.0));
    assert_eq!(gateway.client().exactly(5).unwrap(), b"hello");
}

#[test]
fn dr_50_the_proxy_may_be_spoken_to_in_tls() {
    let authority = Authority::new();
    let signed = authority.sign(&["proxy.test"]);
    let tls = Arc::new(ClientTls {
        sni: Sni::Name("proxy.test".into()),
        verify: Verify::Authorities { trust: Some(authority.trust(&[])), by_sni: true },
        identity: None,
        key_pins: Vec::new(),
        parameters: TlsParameters::default(),
    });
    let clear = Backend::start(|side| {
        side.head().unwrap();
        side.send(YES);
        let said = side.exactly(5).unwrap();
        side.send(said);
    });
    let streams = echo_streams();
    let in_tls = |proxy: SocketAddr| {
        let setup = Setup::default().tls_tcp(&["proxy.test"], Some(signed.termination(ClientAuth::None)), "c");
        Gateway::serving(&setup.cluster("c", &[proxy]))
    };
    let (first, second) = (in_tls(clear.address), in_tls(streams.address));
    let worlds = [
        through(first.addresses()[0], TunnelMethod::Connect),
        through(second.addresses()[0], TunnelMethod::Connect).http2("c"),
    ];
    for setup in worlds {
        let gateway = Gateway::serving(&setup.with_clusters(|cluster| cluster.tls = Some(Arc::clone(&tls))));
        let mut client = gateway.client();
        client.send("hello").finish();
        assert_eq!(client.rest(), b"hello");
    }
}

#[test]
fn dr_50_tls_bytes_pass_through_a_tunnel_unchanged() {
    let proxy = Backend::start(|side| {
        side.head().unwrap();
        side.send(YES);
        while side.more().is_some() {
            let hello = side.taken();
            side.send(hello);
        }
    });
    let setup = Setup::default().tls_tcp(&["a.test"], None, "c");
    let setup = setup.tunnelled(TunnelMethod::Connect).cluster("c", &[proxy.address]);
    let gateway = Gateway::serving(&setup);
    let hello = hello_of("a.test");
    let mut client = gateway.client();
    assert_eq!(client.send(&hello).exactly(hello.len()).unwrap(), hello);
}

/// The first bytes of a TLS client.
fn hello_of(name: &str) -> Vec<u8> {
    let roots = rustls::RootCertStore::empty();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(config.with_no_client_auth().into(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
