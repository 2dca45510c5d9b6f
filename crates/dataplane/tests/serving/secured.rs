//! TLS of clients: servers by name, certificates, client certificates, and what is passed through (GW-10, S-14, S-38, S-82, S-96, S-97).

use crate::backend::Backend;
use crate::certificates::{Authority, Signed, fetch, shake};
use crate::gateway::{Gateway, Setup, TIMEOUT, forward, respond};
use crate::streams::{Whole, ask, begin, get, run, runtime};
use http::Request;
use ir::{ClientAuth, Credential, Der, Identity, KeyForm, PrivateKey, Termination, Trust};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use testkit::secured::AnyCertificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn status(answer: &str) -> u16 {
    answer.get(9..12).unwrap().parse().unwrap()
}

#[test]
fn s_14_s_82_servers_are_selected_by_sni() {
    let authority = Authority::new();
    let (one, wild, rest) = (authority.sign(&["a.test"]), authority.sign(&["*.a.test"]), authority.sign(&["rest"]));
    let setup = Setup::default().host("*", respond(200, "ok"));
    let setup = setup.tls(&["a.test"], Some(one.termination(ClientAuth::None)));
    let setup = setup.tls(&["*.a.test"], Some(wild.termination(ClientAuth::None)));
    let gateway = Gateway::serving(&setup.clone());
    let address = gateway.addresses()[0];
    run(async {
        for (name, shown) in [("a.test", &one), ("x.a.test", &wild), ("y.x.a.test", &wild)] {
            let (certificate, answer) = fetch(address, name, name, None).await.unwrap();
            assert_eq!((certificate, status(&answer)), (shown.chain[0].clone(), 200), "{name}");
        }
        for name in ["b.test", ""] {
            assert!(fetch(address, name, "a.test", None).await.is_err(), "{name}");
        }
    });
    gateway.has_counted("moongate_tls_handshake_failures_total{cause=\"no_matching_server\"} 2");
    gateway.apply(&setup.tls(&["*"], Some(rest.termination(ClientAuth::None))));
    run(async {
        for name in ["b.test", ""] {
            let (certificate, answer) = fetch(address, name, "b.test", None).await.unwrap();
            assert_eq!((certificate, status(&answer)), (rest.chain[0].clone(), 200), "{name}");
        }
    });
}

#[test]
fn http_2_is_agreed_on_and_requests_are_those_of_https() {
    let signed = Authority::new().sign(&["a.test"]);
    let backend = Backend::echo();
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.tls(&["a.test"], Some(signed.termination(ClientAuth::None))));
    run(async {
        let stream = shake(gateway.addresses()[0], "a.test", None, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut client = begin(stream).await;
        assert_eq!(ask(&mut client, get("/"), b"", None).await.unwrap().status, 200);
    });
    assert!(backend.only().contains("x-forwarded-proto: https\r\n"));
}

#[test]
fn bodies_of_any_size_pass_through_tls_both_ways() {
    let signed = Authority::new().sign(&["a.test"]);
    let backend = Backend::echo();
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.tls(&["a.test"], Some(signed.termination(ClientAuth::None))));
    run(async {
        for length in [0, 1, 20_000, 2_000_000] {
            let stream = shake(gateway.addresses()[0], "a.test", None, &["http/1.1"]).await.unwrap();
            let body: Vec<u8> = (0..length).map(|at| (at % 253) as u8).collect();
            let (mut read, mut write) = tokio::io::split(stream);
            let head =
                format!("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let sent = body.clone();
            let sending = async move {
                write.write_all(head.as_bytes()).await.unwrap();
                write.write_all(&sent).await.unwrap();
                write.flush().await.unwrap();
            };
            let mut answer = Vec::new();
            let (read, ()) = tokio::join!(read.read_to_end(&mut answer), sending);
            read.unwrap();
            assert!(answer.ends_with(&body) && answer.starts_with(b"HTTP/1.1 200"), "{length}");
        }
    });
}

#[test]
fn mutual_demands_a_certificate_that_is_trusted_and_has_the_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.sign(&["a.test"]);
    let (good, stranger) = (authority.sign(&["client.test"]), other.sign(&["client.test"]));
    let unnamed = authority.sign(&["someone.test"]);
    let served = |client: ClientAuth| {
        let setup = Setup::default().host("*", respond(200, "ok"));
        Gateway::serving(&setup.tls(&["a.test"], Some(server.termination(client))))
    };
    let is_let_in = |gateway: &Gateway, client: Option<&Signed>| {
        let address = gateway.addresses()[0];
        run(async { fetch(address, "a.test", "a.test", client).await.is_ok() })
    };
    let required = served(ClientAuth::Required(authority.trust(&["client.test", "spiffe://a/b"])));
    let verdicts = [Some(&good), Some(&stranger), Some(&unnamed), None].map(|client| is_let_in(&required, client));
    assert_eq!(verdicts, [true, false, false, false]);
    let optional = served(ClientAuth::Optional(authority.trust(&[])));
    let verdicts = [Some(&good), Some(&stranger), Some(&unnamed), None].map(|client| is_let_in(&optional, client));
    assert_eq!(verdicts, [true, false, true, true]);
    let nobody = Trust { authorities: Vec::new(), ..(*authority.trust(&[])).clone() };
    let closed = served(ClientAuth::Required(Arc::new(nobody)));
    assert_eq!([Some(&good), None].map(|client| is_let_in(&closed, client)), [false, false]);
    let unverified = served(ClientAuth::Unverified);
    assert_eq!([Some(&stranger), None].map(|client| is_let_in(&unverified, client)), [true, true]);
}

#[test]
fn s_38_a_host_of_another_server_is_misdirected_over_one_connection_too() {
    let authority = Authority::new();
    let (guest, admin) = (authority.sign(&["*.a.test"]), authority.sign(&["admin.a.test"]));
    let setup = Setup::default().host("*", respond(200, "ok"));
    let setup = setup.tls(&["*.a.test"], Some(guest.termination(ClientAuth::None)));
    let demanded = ClientAuth::Required(authority.trust(&[]));
    let gateway = Gateway::serving(&setup.tls(&["admin.a.test"], Some(admin.termination(demanded))));
    let address = gateway.addresses()[0];
    run(async {
        let (_, answer) = fetch(address, "x.a.test", "admin.a.test", None).await.unwrap();
        assert_eq!(status(&answer), 421);
        let mut client = begin(shake(address, "x.a.test", None, &["h2"]).await.unwrap()).await;
        let statuses = ["x.a.test", "y.a.test", "admin.a.test", "ADMIN.a.test:443", "x.a.test"];
        for (host, wanted) in statuses.into_iter().zip([200, 200, 421, 421, 200]) {
            let request = Request::get(format!("https://{host}/")).body(()).unwrap();
            let Whole { status, .. } = ask(&mut client, request, b"", None).await.unwrap();
            assert_eq!(status, wanted, "{host}");
        }
    });
}

#[test]
fn s_97_a_certificate_is_swapped_and_the_last_good_one_is_kept() {
    let authority = Authority::new();
    let (first, second) = (authority.sign(&["a.test"]), authority.sign(&["a.test"]));
    let with = |credential: Credential| {
        let termination = Termination { credential, ..first.termination(ClientAuth::None) };
        Setup::default().host("*", respond(200, "ok")).tls(&["a.test"], Some(termination))
    };
    let gateway = Gateway::serving(&with(Credential::Ready(vec![first.identity()])));
    let address = gateway.addresses()[0];
    let shown = || run(async { fetch(address, "a.test", "a.test", None).await.map(|(shown, _)| shown) });
    assert_eq!(shown().unwrap(), first.chain[0]);
    let outliving = runtime();
    let mut kept = outliving.block_on(shake(address, "a.test", None, &[])).unwrap();
    gateway.apply(&with(Credential::Ready(vec![second.identity()])));
    assert_eq!(shown().unwrap(), second.chain[0]);
    gateway.apply(&with(Credential::Broken("no PEM".into())));
    assert_eq!(shown().unwrap(), second.chain[0]);
    // A key that does not match the certificate.
    let mixed = Identity { key: first.identity().key.clone(), ..(*second.identity()).clone() };
    gateway.apply(&with(Credential::Ready(vec![Arc::new(mixed)])));
    assert_eq!(shown().unwrap(), second.chain[0]);
    // S-96: the port is open, and handshakes fail.
    gateway.apply(&with(Credential::Missing("no Secret".into())));
    assert!(shown().is_err());
    gateway.apply(&with(Credential::Ready(vec![first.identity()])));
    assert_eq!(shown().unwrap(), first.chain[0]);
    outliving.block_on(async {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        kept.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), 200);
    });
}

#[test]
fn passthrough_and_tcp_pass_bytes_on_and_half_closes_with_them() {
    let backend = Backend::start(|side| {
        while side.more().is_some() {}
        let all = side.taken();
        side.send([&all[..], b"|end"].concat());
    });
    let setup = Setup::default().cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.clone().tcp("c"));
    let large = vec![7; 3_000_000];
    for sent in [&b""[..], b"hello", &large] {
        let mut client = gateway.client();
        client.send(sent).finish();
        assert!(client.rest() == [sent, b"|end"].concat(), "{} bytes", sent.len());
    }
    gateway.has_counted("istio_tcp_received_bytes_total{reporter=\"source\",request_protocol=\"tcp\",destination_service=\"c\",response_flags=\"-\"} 3000005");
    let gateway = Gateway::serving(&setup.tls_tcp(&["a.test"], None, "c"));
    let address = gateway.addresses()[0];
    run(async {
        // The backend does not speak TLS: it sends back the ClientHello that it received.
        let stream = TcpStream::connect(address).await.unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().dangerous();
        let config = config.with_custom_certificate_verifier(Arc::<AnyCertificate>::default()).with_no_client_auth();
        let name = ServerName::try_from("a.test").unwrap();
        let mut hello = Vec::new();
        let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        session.write_tls(&mut hello).unwrap();
        let (mut read, mut write) = stream.into_split();
        write.write_all(&hello).await.unwrap();
        write.shutdown().await.unwrap();
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, [&hello[..], b"|end"].concat());
        assert!(shake(address, "b.test", None, &[]).await.is_err());
    });
}

#[test]
fn s_18_clear_text_and_tls_share_a_port() {
    let signed = Authority::new().sign(&["a.test"]);
    let setup = Setup::default().host("*", respond(200, "ok"));
    let gateway = Gateway::serving(&setup.tls(&["a.test"], Some(signed.termination(ClientAuth::None))).plain());
    assert_eq!(gateway.client().get("/").answer().status, 200);
    assert_eq!(run(fetch(gateway.addresses()[0], "a.test", "a.test", None)).map(|(_, a)| status(&a)).unwrap(), 200);
}

#[test]
fn terminated_tcp_gives_the_backend_clear_text() {
    let signed = Authority::new().sign(&["a.test"]);
    let backend = Backend::start(|side| {
        while side.more().is_some() {}
        let all = side.taken();
        side.send([&all[..], b"|end"].concat());
    });
    let setup = Setup::default().cluster("c", &[backend.address]);
    let mut termination = signed.termination(ClientAuth::None);
    termination.alpn.clear();
    let gateway = Gateway::serving(&setup.tls_tcp(&["a.test"], Some(termination), "c"));
    run(async {
        let mut stream = shake(gateway.addresses()[0], "a.test", None, &[]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"hello|end");
    });
}

#[test]
fn s_81_a_client_that_does_not_finish_its_handshake_is_closed() {
    let signed = Authority::new().sign(&["a.test"]);
    let setup = Setup::default().host("*", respond(200, "ok"));
    let limits = dataplane::Limits { client_hello_timeout: TIMEOUT / 100, ..dataplane::Limits::default() };
    let gateway = Gateway::start(1, limits, None);
    gateway.apply(&setup.tls(&["a.test"], Some(signed.termination(ClientAuth::None))));
    for begun in [&b""[..], &[22, 3, 1, 1, 0]] {
        let mut client = gateway.client();
        client.send(begun);
        assert!(client.is_closed());
    }
    gateway.has_counted("moongate_tls_handshake_failures_total{cause=\"client_hello_timeout\"} 2");
}

/// A certificate that OpenSSL made without extensions (see `make.sh` in its folder).
fn version_1() -> Arc<Identity> {
    let pem = |text: &[u8]| CertificateDer::from_pem_slice(text).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../testkit/data/x509-v1/server.key")).unwrap();
    Arc::new(Identity {
        source: "test".into(),
        chain: vec![Der(pem(include_bytes!("../../../testkit/data/x509-v1/server.crt")).to_vec().into())],
        key: PrivateKey { form: KeyForm::Pkcs8, der: key.secret_der().into() },
        staple: None,
    })
}

/// A server certificate of version 1 is presented like any other. A client certificate of version 1 is rejected where it has to be verified, and
/// accepted elsewhere.
#[test]
fn certificates_of_version_1_are_shown_and_not_verified() {
    let (old, authority) = (version_1(), Authority::new());
    let setup = |client: ClientAuth| {
        let credential = Credential::Ready(vec![Arc::clone(&old)]);
        let termination = Termination { credential, ..authority.sign(&["a.test"]).termination(client) };
        Setup::default().host("*", respond(200, "ok")).tls(&["a.test"], Some(termination))
    };
    let client = Signed { chain: vec![old.chain[0].0.to_vec().into()], key: old.key.der.to_vec() };
    let ca = include_bytes!("../../../testkit/data/x509-v1/ca.crt");
    let trust = Trust {
        authorities: vec![Der(CertificateDer::from_pem_slice(ca).unwrap().to_vec().into())],
        ..(*authority.trust(&[])).clone()
    };
    let gateway = Gateway::serving(&setup(ClientAuth::None));
    let ask = |client: Option<&Signed>| run(fetch(gateway.addresses()[0], "a.test", "a.test", client));
    let (shown, answer) = ask(None).unwrap();
    assert_eq!((&shown[..], status(&answer)), (&*old.chain[0].0, 200));
    gateway.apply(&setup(ClientAuth::Required(Arc::new(trust))));
    assert!(ask(Some(&client)).is_err());
    gateway.apply(&setup(ClientAuth::Unverified));
    assert_eq!(ask(Some(&client)).map(|(_, answer)| status(&answer)).unwrap(), 200);
}

/// A response to an upgrade that a backend cuts, and the body of one to an HTTP/1.0 client: close_notify would say that all of it was received.
#[test]
fn what_a_backend_cuts_has_no_regular_end_in_tls() {
    let backend = Backend::start(|side| {
        let head = side.head().unwrap();
        if head.contains("upgrade: websocket") {
            side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\npart");
            assert_eq!(side.exactly(4).unwrap(), b"ping");
        } else {
            side.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
        }
        crate::client::reset(&side.stream);
    });
    let signed = Authority::new().sign(&["a.test"]);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.tls(&["a.test"], Some(signed.termination(ClientAuth::None))));
    run(async {
        for upgrade in ["Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n", ""] {
            let mut stream = shake(gateway.addresses()[0], "a.test", None, &["http/1.1"]).await.unwrap();
            let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{upgrade}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut got = Vec::new();
            let failure = loop {
                let mut piece = [0; 1024];
                match stream.read(&mut piece).await {
                    Ok(0) => panic!("a regular end after {:?}", String::from_utf8_lossy(&got)),
                    Ok(count) => got.extend_from_slice(&piece[..count]),
                    Err(error) => break error,
                }
                if got.ends_with(b"part") && !upgrade.is_empty() {
                    // The reset of the backend follows.
                    let _ = stream.write_all(b"ping").await;
                }
            };
            assert!(got.ends_with(b"part"), "{failure} after {:?}", String::from_utf8_lossy(&got));
        }
    });
}
