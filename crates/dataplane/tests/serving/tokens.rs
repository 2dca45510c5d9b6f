//! RA-01 to RA-05: tokens in requests over real sockets, with keys that rotate.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward, until};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ir::HeaderName;
use ir::policy::{Authentication, ClaimHeader, KeySource, Provider, RemoteKeys, TokenHeader};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ISSUER: &str = "https://issuer.test";

/// A key of an issuer.
pub(crate) struct Signer {
    kid: &'static str,
    key: Ed25519KeyPair,
}

impl Signer {
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { kid, key: Ed25519KeyPair::generate().unwrap() }
    }

    fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        format!(r#"{{"kty": "OKP", "crv": "Ed25519", "kid": "{}", "x": "{x}"}}"#, self.kid)
    }

    pub(crate) fn token(&self, subject: &str) -> String {
        let header = format!(r#"{{"alg": "EdDSA", "kid": "{}"}}"#, self.kid);
        let payload = format!(r#"{{"iss": "{ISSUER}", "sub": "{subject}"}}"#);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

pub(crate) fn jwks(signers: &[&Signer]) -> String {
    format!(r#"{{"keys": [{}]}}"#, signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>().join(", "))
}

fn accepting(keys: KeySource) -> Arc<Authentication> {
    let name = |name| HeaderName::parse(name).unwrap();
    let provider = Provider {
        origin: ir::Origin {
            kind: ir::ObjectKind::RequestAuthentication,
            namespace: "default".into(),
            name: "ra".into(),
            rule: "jwtRules[0]".into(),
        },
        issuer: ISSUER.into(),
        audiences: Vec::new(),
        keys,
        from_headers: vec![TokenHeader { name: name("authorization"), prefix: "Bearer ".into() }],
        from_params: vec!["access_token".into()],
        from_cookies: Vec::new(),
        forward_original_token: false,
        payload_header: None,
        claim_headers: vec![ClaimHeader { name: name("x-user"), claim: vec!["sub".into()] }],
        space_delimited_claims: Vec::new(),
    };
    Arc::new(Authentication { providers: vec![Arc::new(provider)] })
}

/// The same without headers for backends.
pub(crate) fn accepting_as_is(keys: KeySource) -> Arc<Authentication> {
    let provider = &accepting(keys).providers[0];
    Arc::new(Authentication {
        providers: vec![Arc::new(Provider { claim_headers: Vec::new(), ..(**provider).clone() })],
    })
}

fn setup(backend: &Backend, keys: KeySource) -> Setup {
    Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).authentication(accepting(keys))
}

pub(crate) fn with_token(token: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// The status of a request with a token, and the body.
fn ask(client: &mut Client, token: &str) -> (u16, String) {
    let answer = client.send(with_token(token)).answer();
    (answer.status, answer.text().to_owned())
}

#[test]
fn ra_04_a_changed_head_leaves_the_next_request_of_the_connection_alone() {
    let (signer, backend) = (Signer::new("a"), Backend::answering(OK));
    let gateway = Gateway::serving(&setup(&backend, KeySource::Inline(jwks(&[&signer]).into())));
    let token = signer.token("alice");
    let mut client = gateway.client();
    // Three requests at once; a client cannot have a header dropped that the gateway writes.
    let first = format!(
        "GET /1 HTTP/1.1\r\nHost: a.test\r\nX-User: eve\r\nConnection: x-user\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let second = format!("POST /2?access_token={token}&b=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    let third = "GET /3 HTTP/1.1\r\nHost: a.test\r\nx-user: eve\r\nx-other: 1\r\n\r\n";
    client.send(format!("{first}{second}{third}"));
    for _ in 0..3 {
        assert_eq!(client.answer().status, 200);
    }
    let seen = backend.seen();
    let lines = |head: &str| head.lines().map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let (one, two, three) = (lines(&seen[0]), lines(&seen[1]), lines(&seen[2]));
    assert_eq!(one[0], "get /1 http/1.1");
    let users = |lines: &[String]| lines.iter().filter(|line| line.starts_with("x-user")).cloned().collect::<Vec<_>>();
    assert_eq!(users(&one), ["x-user: alice"]);
    assert!(one.iter().chain(&two).all(|line| !line.contains("eyj") && !line.starts_with("authorization")), "{seen:?}");
    assert_eq!((two[0].as_str(), users(&two)), ("post /2?b=1 http/1.1", vec!["x-user: alice".to_owned()]));
    assert_eq!((three[0].as_str(), users(&three)), ("get /3 http/1.1", Vec::new()));
    assert!(three.contains(&"x-other: 1".to_owned()));
}

#[test]
fn ra_02_a_bad_token_is_answered_with_a_challenge() {
    let (signer, stranger, backend) = (Signer::new("a"), Signer::new("a"), Backend::answering(OK));
    let gateway = Gateway::serving(&setup(&backend, KeySource::Inline(jwks(&[&signer]).into())));
    let mut client = gateway.client();
    let answer = client.send(with_token(&stranger.token("eve"))).answer();
    assert_eq!((answer.status, answer.text()), (401, "Jwt verification fails"));
    assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="http://a.test/a", error="invalid_token""#));
    assert_eq!(ask(&mut client, &signer.token("alice")).0, 200);
    // Without keys no token is valid.
    gateway.apply(&setup(&backend, KeySource::None));
    assert_eq!(
        ask(&mut gateway.client(), &signer.token("alice")),
        (401, "Jwks doesn't have any valid public key".into())
    );
    assert_eq!(gateway.client().get("/").answer().status, 200);
}

#[test]
fn ra_05_keys_rotate_under_load_without_a_wrong_answer() {
    let (old, new, stranger) = (Signer::new("old"), Signer::new("new"), Signer::new("old"));
    let body = Arc::new(Mutex::new(jwks(&[&old])));
    let served = Arc::clone(&body);
    let issuer = Backend::start(move |side| {
        while side.request().is_some() {
            let body = served.lock().unwrap().clone();
            if !side.send_with_length(body.as_bytes()) {
                return;
            }
        }
    });
    let backend = Backend::answering(OK);
    let url = format!("http://{}/keys", issuer.address).into();
    let keys = RemoteKeys { url, discovery: false, timeout: Duration::from_secs(30) };
    let gateway = Gateway::serving(&setup(&backend, KeySource::Remote(keys)));
    let (token, forged) = (old.token("alice"), stranger.token("eve"));
    until("the keys are fetched", || ask(&mut gateway.client(), &token).0 == 200);
    // Each phase: the tokens that are valid throughout it.
    let always: Arc<Mutex<Vec<String>>> = Arc::new(Mutex::new(vec![token.clone()]));
    let (ended, wrong, asked) = (AtomicBool::new(false), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let address = gateway.addresses()[0];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !ended.load(Ordering::SeqCst) {
                    // Under the lock: what is valid does not change between question and answer.
                    let valid = always.lock().unwrap();
                    for token in valid.iter() {
                        let found = ask(&mut client, token);
                        if found.0 != 200 {
                            wrong.lock().unwrap().push(found);
                        }
                    }
                    drop(valid);
                    let found = ask(&mut client, &forged);
                    if found.0 != 401 {
                        wrong.lock().unwrap().push(found);
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let next = new.token("alice");
        assert_eq!(ask(&mut gateway.client(), &next).0, 401);
        *body.lock().unwrap() = jwks(&[&old, &new]);
        until("the new key is known", || ask(&mut gateway.client(), &next).0 == 200);
        *always.lock().unwrap() = vec![next.clone()];
        *body.lock().unwrap() = jwks(&[&new]);
        // A token of an unknown key causes a fetch. Then the old key is removed, also for tokens that were verified by it.
        let unknown = Signer::new("unknown").token("eve");
        until("the old key is gone", || {
            assert_eq!(ask(&mut gateway.client(), &unknown).0, 401);
            ask(&mut gateway.client(), &token).0 == 401
        });
        let before = asked.load(Ordering::SeqCst);
        until("it stays so", || asked.load(Ordering::SeqCst) > before + 50);
        assert_eq!(ask(&mut gateway.client(), &token).0, 401);
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!(*wrong.lock().unwrap(), []);
}
