//! What becomes of requests with tokens, by row.

use super::*;

/// Verifies with [`KEYS`], and counts.
struct Counting(usize);

impl Verify for Counting {
    fn verify(&mut self, provider: &Arc<Provider>, token: &str) -> Result<Arc<Verified>, Failure> {
        self.0 += 1;
        verified(provider, token, &KEYS).map(Arc::new)
    }
}

fn config(providers: impl IntoIterator<Item = Provider>) -> Authentication {
    Authentication { providers: providers.into_iter().map(Arc::new).collect() }
}

fn asked(config: &Authentication, head: &str) -> Result<Authenticated, Failure> {
    ask(head, |view| authenticate(config, view, &mut Counting(0)))
}

fn subject(found: &Result<Authenticated, Failure>) -> Option<&str> {
    found.as_ref().unwrap().claims.subject()
}

fn of(issuer: &str, subject: &str) -> String {
    es256(&format!(r#"{{"iss": "{issuer}", "sub": "{subject}"}}"#))
}

const HEAD: &str = "GET /a HTTP/1.1\nHost: a.test";

#[test]
fn ra_02_a_missing_token_passes_and_a_bad_one_does_not() {
    let one = config([provider(ISSUER)]);
    let (good, bad) = (of(ISSUER, "alice"), of("https://two.test", "eve"));
    assert!(asked(&one, HEAD).unwrap().claims.is_empty());
    assert_eq!(subject(&asked(&one, &format!("{HEAD}\nAuthorization: Bearer {good}"))), Some("alice"));
    assert_eq!(asked(&one, &format!("{HEAD}\nAuthorization: Bearer {bad}")), Err(Failure::UnknownIssuer));
    assert_eq!(asked(&one, &format!("{HEAD}\nAuthorization: Bearer x")), Err(Failure::BadFormat));
    assert_eq!(asked(&one, &format!("{HEAD}\nAuthorization: Bearer !!!")), Err(Failure::BadFormat));
    // Another scheme is no token.
    assert!(asked(&one, &format!("{HEAD}\nAuthorization: Basic YTpi")).unwrap().claims.is_empty());
    // Lines of `Authorization` are one, as in Envoy.
    let lines = format!("{HEAD}\nAuthorization: Bearer {good}\nauthorization: Bearer {good}");
    assert_eq!(asked(&one, &lines), Err(Failure::BadFormat));
    // Of several tokens each has to be valid.
    let one = config([Provider {
        from_headers: vec![TokenHeader { name: name("x-token"), prefix: "".into() }],
        ..provider(ISSUER)
    }]);
    for lines in [[&good, &bad], [&bad, &good]] {
        let head = format!("{HEAD}\nx-token: {}\nX-Token: {}", lines[0], lines[1]);
        assert_eq!(asked(&one, &head), Err(Failure::UnknownIssuer));
    }
    assert_eq!(subject(&asked(&one, &format!("{HEAD}\nx-token: {good}\nx-token: {good}"))), Some("alice"));
    let many = format!("\nx-token: {good}").repeat(17);
    let mut counting = Counting(0);
    let found = ask(&format!("{HEAD}{many}"), |view| authenticate(&one, view, &mut counting));
    assert_eq!((found, counting.0), (Err(Failure::MultipleTokens), 0));
}

#[test]
fn ra_01_with_several_issuers_the_first_whose_tokens_are_valid_decides() {
    let header = |issuer: &str, name_of: &str| Provider {
        from_headers: vec![TokenHeader { name: name(name_of), prefix: "".into() }],
        from_params: Vec::new(),
        ..provider(issuer)
    };
    let two = config([header("one", "x-one"), header("two", "x-two")]);
    let (one_token, two_token) = (of("one", "a"), of("two", "b"));
    let with = |lines: &[(&str, &str)]| {
        let lines: String = lines.iter().map(|(name, token)| format!("\n{name}: {token}")).collect();
        asked(&two, &format!("{HEAD}{lines}"))
    };
    assert!(with(&[]).unwrap().claims.is_empty());
    assert_eq!(subject(&with(&[("x-one", &one_token)])), Some("a"));
    assert_eq!(subject(&with(&[("x-two", &two_token)])), Some("b"));
    assert_eq!(subject(&with(&[("x-one", &one_token), ("x-two", &two_token)])), Some("a"));
    // A bad token beside a good one of another issuer: the good one decides, as in Istio.
    assert_eq!(subject(&with(&[("x-one", "bad"), ("x-two", &two_token)])), Some("b"));
    assert_eq!(with(&[("x-one", "bad")]), Err(Failure::BadFormat));
    assert_eq!(with(&[("x-one", &two_token)]), Err(Failure::UnknownIssuer));
    // Other failures take precedence over an unknown issuer.
    let expired = es256(r#"{"iss": "two", "exp": 1}"#);
    assert_eq!(with(&[("x-one", &two_token), ("x-two", &expired)]), Err(Failure::Expired));
    assert_eq!(with(&[("x-one", "bad"), ("x-two", &one_token)]), Err(Failure::BadFormat));
    // Issuers may share a location.
    let shared = config([header("one", "x-one"), header("two", "x-one")]);
    assert_eq!(subject(&asked(&shared, &format!("{HEAD}\nx-one: {two_token}"))), Some("b"));
    let other = of("three", "c");
    assert_eq!(asked(&shared, &format!("{HEAD}\nx-one: {other}")), Err(Failure::UnknownIssuer));
}

#[test]
fn ra_03_tokens_are_found_in_headers_parameters_and_cookies() {
    let config = config([Provider {
        from_headers: vec![TokenHeader { name: name("x-token"), prefix: "Tok ".into() }],
        from_params: vec!["tok".into()],
        from_cookies: vec!["session".into()],
        ..provider(ISSUER)
    }]);
    let token = of(ISSUER, "alice");
    let at = |target: &str, lines: &str| asked(&config, &format!("GET {target} HTTP/1.1\nHost: a.test{lines}"));
    for (target, lines) in [
        ("/a", format!("\nX-Token: Tok {token}")),
        ("/a", format!("\nX-Token: a,Tok  {token}")),
        (&*format!("/a?x=1&tok={token}&y"), String::new()),
        (&*format!("/a?t%6fk={}", token.replace('.', "%2E")), String::new()),
        ("/a", format!("\nCookie: a=b; session={token}; c=d")),
        ("/a", format!("\nCookie: a=b\nCookie: session=\"{token}\"")),
    ] {
        assert_eq!(subject(&at(target, &lines)), Some("alice"), "{target} {lines}");
    }
    for (target, lines) in [
        (&*format!("/a?access_token={token}"), format!("\nAuthorization: Bearer {token}")),
        (&*format!("/tok={token}"), format!("\nCookie: xsession={token}; Session={token}")),
        ("/a", format!("\nX-Token: tok {token}")),
    ] {
        assert!(at(target, &lines).unwrap().claims.is_empty(), "{target} {lines}");
    }
    // The first of the locations decides, and all are verified.
    let other = of(ISSUER, "bob");
    assert_eq!(subject(&at(&format!("/a?tok={other}"), &format!("\nX-Token: Tok {token}"))), Some("alice"));
    assert_eq!(at("/a?tok=x", &format!("\nX-Token: Tok {token}")), Err(Failure::BadFormat));
}

fn with_outputs() -> Provider {
    Provider {
        payload_header: Some(name("x-payload")),
        claim_headers: vec![
            ClaimHeader { name: name("x-sub"), claim: vec!["sub".into()] },
            ClaimHeader { name: name("x-role"), claim: vec!["nested".into(), "role".into()] },
        ],
        ..provider(ISSUER)
    }
}

#[test]
fn ra_04_output_headers_are_the_gateway_s_alone() {
    let config = config([with_outputs(), provider("https://two.test")]);
    let removed = |found: &Authenticated| found.changes.remove.iter().map(ToString::to_string).collect::<Vec<_>>();
    let outputs = ["x-payload", "x-sub", "x-role"];
    // Without a token, with one of another issuer, and for a preflight request.
    assert_eq!(removed(&asked(&config, HEAD).unwrap()), outputs);
    let two =
        asked(&config, &format!("{HEAD}\nx-sub: eve\nAuthorization: Bearer {}", of("https://two.test", "b"))).unwrap();
    assert_eq!(removed(&two), [&outputs[..], &["authorization"]].concat());
    assert!(two.changes.append.is_empty());
    let preflight = "OPTIONS / HTTP/1.1\nHost: a.test\nOrigin: http://b\nAccess-Control-Request-Method: PUT\nAuthorization: Bearer x";
    assert_eq!(removed(&asked(&config, preflight).unwrap()), outputs);
    assert_eq!(asked(&config, &preflight.replace("PUT", "")), Err(Failure::BadFormat));
    let body = payload(r#", "nested": {"role": "root"}"#);
    let found = asked(&config, &format!("{HEAD}\nx-sub: eve\nAuthorization: Bearer {}", es256(&body))).unwrap();
    assert_eq!(removed(&found), [&outputs[..], &["authorization"]].concat());
    let appended: Vec<_> = found.changes.append.iter().map(|line| (line.name.as_str(), line.value.to_vec())).collect();
    let encoded = encoded(&body).into_bytes();
    assert_eq!(appended, [("x-payload", encoded), ("x-sub", b"alice".to_vec()), ("x-role", b"root".to_vec())]);
    // A claim cannot end a line.
    let body = format!(r#"{{"iss": "{ISSUER}", "sub": "a\r\nx-admin: yes"}}"#);
    let found = asked(&config, &format!("{HEAD}\nAuthorization: Bearer {}", es256(&body))).unwrap();
    assert!(found.changes.append.iter().all(|line| line.name.as_str() == "x-payload"));
    // A token in a header that the gateway writes is none.
    let odd = Provider { from_headers: vec![TokenHeader { name: name("x-sub"), prefix: "".into() }], ..with_outputs() };
    let odd = self::config([odd]);
    assert!(asked(&odd, &format!("{HEAD}\nx-sub: {}", of(ISSUER, "a"))).unwrap().claims.is_empty());
}

#[test]
fn ra_04_a_token_that_is_not_sent_on_is_removed_where_it_was() {
    let token = of(ISSUER, "alice");
    let with = |forward_original_token, target: &str, lines: &str| {
        let provider = Provider { forward_original_token, from_cookies: vec!["c".into()], ..provider(ISSUER) };
        asked(&config([provider]), &format!("GET {target} HTTP/1.1\nHost: a.test{lines}")).unwrap().changes
    };
    let header = format!("\nAuthorization: Bearer {token}");
    assert_eq!(with(false, "/a", &header).remove, [name("authorization")]);
    assert!(with(true, "/a", &header).is_empty());
    let changes = with(false, &format!("/a?b=%20&access_token={token}&c"), "");
    assert_eq!(changes.query(b"b=%20&access_token=x&c&access%5ftoken=y"), b"b=%20&c");
    assert_eq!(changes.of_head(b"/a?access_token=x").1, Some(None));
    assert_eq!(changes.of_head(b"/a").1, None);
    assert!(!changes.is_empty() && with(true, &format!("/a?access_token={token}"), "").is_empty());
    // Envoy leaves cookies.
    assert!(with(false, "/a", &format!("\nCookie: c={token}")).is_empty());
    let leaves = |changes: &HeadChanges, lines: &str| ask(&format!("{HEAD}{lines}"), |view| changes.leaves(view));
    let outputs = asked(&config([with_outputs()]), HEAD).unwrap().changes;
    assert!(leaves(&outputs, "") && !leaves(&outputs, "\nX-Sub: eve") && !leaves(&changes, ""));
}

#[test]
fn ra_02_the_challenge_names_the_uri_without_its_query() {
    let of = |target: &str, failure| get(target, |view| String::from_utf8(challenge(view, failure)).unwrap());
    assert_eq!(of("/a?access_token=x", Failure::Expired), r#"Bearer realm="http://a.test/a", error="invalid_token""#);
    assert_eq!(of("/a\"b", Failure::Expired), r#"Bearer realm="http://a.test/a%22b", error="invalid_token""#);
    assert_eq!(of("/a", Failure::Missing), r#"Bearer realm="http://a.test/a""#);
    assert!(of(&format!("/{}", "x".repeat(1000)), Failure::Expired).len() < 400);
    let answer = |failure| get("/a", |view| refused(view, failure));
    let expired = answer(Failure::Expired);
    assert_eq!((expired.status, &*expired.body), (401, &b"Jwt is expired"[..]));
    assert_eq!(expired.detail, "jwt_authn_access_denied{Jwt_is_expired}");
    assert_eq!(expired.fields[0].0, "www-authenticate");
    assert_eq!(answer(Failure::Audience).status, 403);
    assert_eq!(answer(Failure::Sub).detail, "jwt_authn_access_denied{Jwt_payload_[sub]_field_is_not_a_string}");
}
