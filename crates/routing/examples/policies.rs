//! What policies cost a request: `cargo run --release -p routing --example policies`.
//!
//! AuthorizationPolicies that cannot match by number and by the field that they look at, and tokens signed with ES256: from the cache, and verified,
//! beside the bare verification of the signature by the library. The median of several rounds, in nanoseconds for one request; `spread` is from
//! the least to the greatest round.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ir::policy::{
    ActionRules, Authentication, AuthorizationRule, Condition, Demand, HeaderOf, IdentityMatch, KeySource, PathMatch,
    Provider, TextMatch, TokenHeader,
};
use ir::{HeaderName, HttpSettings, ObjectKind, Origin};
use jose::{Failure, Keys};
use routing::authentication::{TokenCache, Verified, Verify, authenticate};
use routing::authorization::{AccessFacts, ActionIndex, ConnectionAccess};
use routing::{RawRequest, Scratch, prepare};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;
use wire::forwarded::Peer;
use wire::h1::{HeadLimits, RequestHead};
use wire::view::RequestView;

const ROUNDS: usize = 11;
const POLICIES: usize = 10_000;
const NOW: u64 = 1_800_000_000;

/// A field of policies, and its condition in the policy of a number.
type Field = (&'static str, fn(usize) -> Demand);

fn main() {
    println!("{:<52}{:>10}{:>20}", "", "ns", "spread");
    let fields: [Field; 7] = [
        ("hosts", |n| Demand::Host(vec![TextMatch::parse(&format!("host-{n}.test"))])),
        ("paths", |n| Demand::Path(vec![PathMatch::Text(TextMatch::parse(&format!("/admin-{n}")))])),
        ("paths with `*`", |n| Demand::Path(vec![PathMatch::Text(TextMatch::parse(&format!("/admin-{n}/*")))])),
        ("principals", |n| Demand::Identity(vec![IdentityMatch::Exact(format!("spiffe://td/ns/n/sa/{n}").into())])),
        ("ipBlocks", |n| Demand::SourceIp(vec![format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap()])),
        ("claims", |n| Demand::Claim { path: vec!["group".into()], values: vec![TextMatch::parse(&format!("g{n}"))] }),
        ("headers", |n| Demand::Header {
            name: HeaderOf::parse("x-user"),
            values: vec![TextMatch::parse(&format!("user-{n}"))],
            is_list: false,
            allows: false,
        }),
    ];
    for (name, demand) in fields {
        authorization(&format!("{POLICIES} policies on {name}, none matches"), (0..POLICIES).map(demand));
    }
    authorization("1 policy, does not match", (0..1).map(fields[1].1));
    tokens();
}

fn with_request(head: &str, then: impl FnOnce(&RequestView<'_>)) {
    let text = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
    let mut parsed = RequestHead::default();
    parsed.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let buffer = text.as_bytes();
    let raw = RawRequest {
        method: parsed.method.of(buffer),
        target: parsed.target.of(buffer),
        host: parsed.host.of(buffer),
        fields: parsed.fields(buffer),
        original_port: None,
    };
    let (settings, address) = (HttpSettings::default(), IpAddr::from([192, 0, 2, 1]).into());
    let trusted_proxies = settings.forwarded.trusted_proxies;
    let peer =
        Peer { address: &address, scheme: "https", trusted_proxies, certificate: Default::default(), port: None };
    let mut scratch = Scratch::default();
    then(&prepare(raw, settings, &peer, &mut scratch).unwrap().view);
}

fn authorization(what: &str, demands: impl Iterator<Item = Demand>) {
    let rule = |demand: Demand| {
        let condition = Condition { field: "rules[0]".into(), negated: false, demand };
        let origin = origin(ObjectKind::AuthorizationPolicy);
        let (from, to) = (vec![Vec::new()], vec![Vec::new()]);
        Arc::new(AuthorizationRule { name: "r".into(), origin, from, to, when: vec![condition] })
    };
    let deny = Some(demands.map(rule).collect::<Vec<_>>().into());
    let index = ActionIndex::build(&ActionRules { deny, ..ActionRules::default() });
    let head = "GET /items/7?page=2 HTTP/1.1\nHost: shop.example.com\nUser-Agent: client\nAccept: */*\nX-User: alice";
    with_request(head, |view| {
        let identity: [Box<str>; 1] = ["spiffe://td/ns/n/sa/app".into()];
        let connection = ConnectionAccess {
            source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            destination: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 443,
            server_name: "shop.example.com",
            identity: &identity,
        };
        let facts = AccessFacts { connection, remote: connection.source, view: Some(view), edits: &[], claims: None };
        measure(what, 200_000, || assert!(index.decide(black_box(&facts)).decision.is_allowed()));
    });
}

fn origin(kind: ObjectKind) -> Origin {
    Origin { kind, namespace: "n".into(), name: "p".into(), rule: "rules[0]".into() }
}

/// Verifies every token, from the cache if there is one.
struct Verifier {
    keys: Keys,
    cache: Option<TokenCache>,
}

impl Verify for Verifier {
    fn verify(&mut self, provider: &Arc<Provider>, token: &str) -> Result<Arc<Verified>, Failure> {
        if let Some(verified) = self.cache.as_mut().and_then(|cache| cache.get(token, provider, 1)) {
            verified.check_time(NOW)?;
            return Ok(verified);
        }
        let verified = Arc::new(Verified::verify(provider, token, NOW, |_| Ok(&self.keys))?);
        if let Some(cache) = &mut self.cache {
            cache.put(token, &verified, provider, 1);
        }
        Ok(verified)
    }
}

fn tokens() {
    let encoded = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap().split_at(32);
    let jwks = format!(
        r#"{{"keys": [{{"kty": "EC", "crv": "P-256", "kid": "a", "x": "{}", "y": "{}"}}]}}"#,
        encoded(x),
        encoded(y)
    );
    let claims =
        r#"{"iss": "https://issuer.test", "sub": "alice", "aud": "shop", "exp": 4102444800, "groups": ["a", "b"]}"#;
    let message =
        format!("{}.{}", encoded(br#"{"alg": "ES256", "kid": "a", "typ": "JWT"}"#), encoded(claims.as_bytes()));
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let token = format!("{message}.{}", encoded(signature.as_ref()));
    let provider = Provider {
        origin: origin(ObjectKind::RequestAuthentication),
        issuer: "https://issuer.test".into(),
        audiences: vec!["shop".into()],
        keys: KeySource::None,
        from_headers: vec![TokenHeader { name: HeaderName::parse("authorization").unwrap(), prefix: "Bearer ".into() }],
        from_params: vec!["access_token".into()],
        from_cookies: Vec::new(),
        forward_original_token: false,
        payload_header: None,
        claim_headers: Vec::new(),
        space_delimited_claims: Vec::new(),
    };
    let config = Authentication { providers: vec![Arc::new(provider)] };
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let head =
        format!("GET /items/7?page=2 HTTP/1.1\nHost: shop.example.com\nAccept: */*\nAuthorization: Bearer {token}");
    with_request(&head, |view| {
        let mut cached = Verifier { keys: Keys::parse(&jwks).unwrap(), cache: Some(TokenCache::default()) };
        let ask = |verifier: &mut Verifier| {
            let found = authenticate(&config, black_box(view), verifier).unwrap();
            assert_eq!(found.claims.subject(), Some("alice"));
        };
        measure("a token (ES256), from the cache", 200_000, || ask(&mut cached));
        let mut uncached = Verifier { keys: Keys::parse(&jwks).unwrap(), cache: None };
        let bare = || key.verify(black_box(message.as_bytes()), signature.as_ref()).unwrap();
        compare(["a token (ES256), verified", "its signature by aws-lc-rs alone"], 1_000, || ask(&mut uncached), bare);
    });
}

/// Prints the median.
fn measure(what: &str, count: usize, mut once: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(count, &mut once)).collect();
    print(what, &mut rounds);
}

/// Prints the medians of two in turns, and that of the ratios of each turn.
fn compare([what, other]: [&str; 2], count: usize, mut once: impl FnMut(), mut twin: impl FnMut()) {
    let mut pairs: Vec<(f64, f64)> =
        (0..2 * ROUNDS).map(|_| (round(count, &mut once), round(count, &mut twin))).collect();
    let (mut first, mut second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    print(what, &mut first);
    print(other, &mut second);
    pairs.sort_by(|one, two| (one.0 / one.1).total_cmp(&(two.0 / two.1)));
    let (whole, bare) = pairs.get(ROUNDS).unwrap();
    println!("{what} / {other}, turn by turn: {:.2}", whole / bare);
}

/// Nanoseconds for one.
fn round(count: usize, once: &mut impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..count).for_each(|_| once());
    started.elapsed().as_nanos() as f64 / count as f64
}

fn print(what: &str, rounds: &mut [f64]) {
    rounds.sort_by(f64::total_cmp);
    let (least, median, most) =
        (rounds.first().unwrap(), rounds.get(rounds.len() / 2).unwrap(), rounds.last().unwrap());
    println!("{what:<52}{median:>10.1}{:>20}", format!("{least:.1} - {most:.1}"));
}
