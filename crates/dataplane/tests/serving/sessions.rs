//! Sessions of TLS that are resumed, what is stapled to handshakes, and certificates, authorities and lists of revoked certificates that change
//! under load (S-84, S-97, S-98).

use crate::certificates::{Authority, Signed};
use crate::gateway::{Gateway, Setup, TIMEOUT, respond};
use crate::streams::run;
use dataplane::Limits;
use ir::{ClientAuth, Credential, Der, Identity, Staple, Termination, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use testkit::secured::AnyCertificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A client that keeps its sessions, and the OCSP responses that it received.
#[derive(Clone)]
struct Client {
    config: Arc<ClientConfig>,
    seen: Arc<Seen>,
}

/// Accepts every certificate, and keeps what was stapled to it.
#[derive(Debug, Default)]
struct Seen {
    any: AnyCertificate,
    stapled: Mutex<Vec<Vec<u8>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        stapled: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.stapled.lock().unwrap().push(stapled.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any.supported_verify_schemes()
    }
}

/// What became of a connection with one request.
#[derive(Debug)]
struct Visit {
    kind: Option<HandshakeKind>,
    shown: CertificateDer<'static>,
    answer: String,
}

impl Client {
    fn new(version: &'static SupportedProtocolVersion, certificate: Option<&Signed>) -> Self {
        let seen = Arc::new(Seen::default());
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = builder.dangerous().with_custom_certificate_verifier(seen.clone());
        let config = match certificate {
            Some(signed) => {
                let key = any_supported_type(&PrivateKeyDer::Pkcs8(signed.key.clone().into())).unwrap();
                let certified = CertifiedKey::new(signed.chain.clone(), key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        Self { config: Arc::new(config), seen }
    }

    async fn visit(&self, address: SocketAddr) -> std::io::Result<Visit> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("a.test").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().unwrap()[0].clone().into_owned();
        Ok(Visit { kind: session.handshake_kind(), shown, answer })
    }

    /// Whether each of some connections resumed a session, one after the other.
    fn resumes(&self, address: SocketAddr, times: usize) -> Vec<bool> {
        let visits = async {
            let mut found = Vec::with_capacity(times);
            for _ in 0..times {
                let visit = self.visit(address).await.unwrap();
                assert!(visit.answer.starts_with("HTTP/1.1 200"), "{visit:?}");
                found.push(visit.kind == Some(HandshakeKind::Resumed));
            }
            found
        };
        run(visits)
    }
}

fn setup(termination: Termination) -> Setup {
    Setup::default().host("*", respond(200, "ok")).tls(&["a.test"], Some(termination))
}

/// Two workers, each with sockets of its own, which the system chooses by the client's port.
fn serving(termination: Termination) -> Gateway {
    let gateway = Gateway::start(2, Limits::default(), None);
    gateway.apply(&setup(termination));
    gateway
}

#[test]
fn sessions_are_resumed_by_every_worker_and_kept_over_a_new_certificate() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let gateway = serving(authority.sign(&["a.test"]).termination(ClientAuth::None));
        let (address, client) = (gateway.addresses()[0], Client::new(version, None));
        let resumed = client.resumes(address, 17);
        assert_eq!((resumed[0], resumed[1..].iter().all(|one| *one)), (false, true), "{version:?}");
        gateway.apply(&setup(authority.sign(&["a.test"]).termination(ClientAuth::None)));
        assert_eq!(client.resumes(address, 2), [true, true], "{version:?}");
    }
}

/// A session that is resumed would skip the verification of the certificate.
#[test]
fn sessions_are_not_resumed_where_clients_show_certificates_nor_after_that() {
    let authority = Authority::new();
    let server = authority.sign(&["a.test"]);
    let open = || setup(server.termination(ClientAuth::None));
    for version in [&TLS12, &TLS13] {
        let gateway = serving(server.termination(ClientAuth::None));
        let address = gateway.addresses()[0];
        let client = Client::new(version, Some(&authority.sign(&["client.test"])));
        assert_eq!(client.resumes(address, 2), [false, true], "{version:?}");
        let required = ClientAuth::Required(authority.trust(&[]));
        for demand in [required, ClientAuth::Optional(authority.trust(&[])), ClientAuth::Unverified] {
            gateway.apply(&setup(server.termination(demand)));
            assert_eq!(client.resumes(address, 3), [false; 3], "{version:?}");
        }
        gateway.apply(&open());
        // The session of the first server is none of this one's.
        assert_eq!(client.resumes(address, 2), [false, true], "{version:?}");
    }
}

/// Two servers with names of their own: a session of one is not resumed by the other.
#[test]
fn sessions_belong_to_one_server() {
    let authority = Authority::new();
    let termination = authority.sign(&["a.test"]).termination(ClientAuth::None);
    let (one, other) = (serving(termination.clone()), serving(termination));
    let client = Client::new(&TLS13, None);
    assert_eq!(client.resumes(one.addresses()[0], 2), [false, true]);
    assert_eq!(client.resumes(other.addresses()[0], 2), [false, true]);
}

#[test]
fn s_84_an_ocsp_response_is_stapled_while_it_counts() {
    let signed = Authority::new().sign(&["a.test"]);
    let with = |this_update: i64, next_update: i64| {
        let staple = Staple { response: Der(Arc::from(&b"a response"[..])), this_update, next_update };
        let mut termination = signed.termination(ClientAuth::None);
        let Credential::Ready(identities) = &mut termination.credential else { panic!("it has a certificate") };
        identities[0] = Arc::new(Identity { staple: Some(staple), ..(*identities[0]).clone() });
        termination
    };
    for version in [&TLS12, &TLS13] {
        for (termination, wanted) in
            [(with(0, i64::MAX), &b"a response"[..]), (with(0, 1), b""), (with(i64::MAX - 1, i64::MAX), b"")]
        {
            let gateway = serving(termination);
            let client = Client::new(version, None);
            client.resumes(gateway.addresses()[0], 1);
            assert_eq!(*client.seen.stapled.lock().unwrap(), [wanted], "{version:?}");
        }
    }
}

/// What clients saw while the configuration changed.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    /// Connections that a stricter rule for clients ended before their request was answered.
    ended: AtomicUsize,
    /// Whether rules for clients are being changed.
    tightening: AtomicUsize,
    over: AtomicBool,
}

/// Ends the clients, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends requests, a handshake each, until it is told to end. Only a change of the rules for clients may end a connection without an answer.
fn visit_all_the_time(client: &Client, address: SocketAddr, known: &[CertificateDer<'static>], tally: &Tally) {
    run(async {
        while !tally.over.load(Ordering::Acquire) {
            let before = tally.tightening.load(Ordering::Acquire);
            let visit = tokio::time::timeout(TIMEOUT, client.visit(address)).await.expect("an answer in time");
            let changed = || tally.tightening.load(Ordering::Acquire) != before || before % 2 == 1;
            match visit {
                Ok(visit) if !visit.answer.is_empty() => {
                    assert!(visit.answer.starts_with("HTTP/1.1 200"), "{visit:?}");
                    assert!(known.contains(&visit.shown), "a certificate that no version of the server has");
                    tally.answered.fetch_add(1, Ordering::AcqRel);
                }
                other => {
                    assert!(changed(), "{other:?}");
                    tally.ended.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    });
}

/// S-98: certificates, authorities and lists of revoked certificates change 60 times. Clients whose certificate counts get their answers, one
/// whose certificate was taken back never gets one, and what a handshake shows is what was applied last.
#[test]
fn s_98_nothing_fails_while_certificates_authorities_and_lists_change() {
    const CHANGES: usize = 60;
    let (authority, other) = (Authority::new(), Authority::new());
    let servers = [authority.sign(&["a.test"]), authority.sign(&["a.test"])];
    let (good, bad) = (authority.sign(&["good.test"]), authority.sign(&["bad.test"]));
    let trust = |number: usize| {
        let own = authority.trust(&[]).authorities.clone();
        // Authorities come and go in every other change, a list of a higher number comes in every fourth.
        let more = if number / 2 % 2 == 1 { other.trust(&[]).authorities.clone() } else { Vec::new() };
        let lists = vec![authority.list(1 + number / 4, &[&bad]), other.list(1, &[])];
        Arc::new(Trust { authorities: [own, more].concat(), revoked: lists, ..(*authority.trust(&[])).clone() })
    };
    let lists: Vec<Arc<Trust>> = (0..CHANGES).map(trust).collect();
    let termination = |number: usize| servers[number % 2].termination(ClientAuth::Required(lists[number].clone()));
    let gateway = serving(termination(0));
    let address = gateway.addresses()[0];
    let known: Vec<_> = servers.iter().map(|server| server.chain[0].clone()).collect();
    let tally = Tally::default();
    let clients = [&TLS12, &TLS13].map(|version| Client::new(version, Some(&good)));
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| visit_all_the_time(client, address, &known, &tally));
        }
        let _end = End(&tally.over);
        let (probe, revoked) = (Client::new(&TLS13, Some(&good)), Client::new(&TLS13, Some(&bad)));
        for number in 1..CHANGES {
            let differs = lists[number] != lists[number - 1];
            tally.tightening.fetch_add(usize::from(differs), Ordering::AcqRel);
            gateway.apply(&setup(termination(number)));
            tally.tightening.fetch_add(usize::from(differs), Ordering::AcqRel);
            let answered = tally.answered.load(Ordering::Acquire);
            let visit = run(probe.visit(address)).unwrap();
            assert_eq!(visit.shown, known[number % 2], "after change {number}");
            assert!(visit.answer.starts_with("HTTP/1.1 200"), "{visit:?}");
            assert!(!run(revoked.visit(address)).is_ok_and(|visit| !visit.answer.is_empty()), "after change {number}");
            testkit::wait::until("clients go on", || tally.answered.load(Ordering::Acquire) > answered);
        }
    });
    assert!(tally.answered.load(Ordering::Acquire) >= CHANGES);
}
