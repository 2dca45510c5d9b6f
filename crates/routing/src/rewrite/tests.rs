//! Tests of rewrites and redirects: tables by row, and properties for arbitrary configurations and requests.

use super::*;
use crate::fixture::{ask, get, listener, path as at, prefix, try_ask};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use text::PathText;

/// A text as it is configured.
fn text(text: &str) -> PathText {
    PathText::parse(text).unwrap()
}

fn full(path: &str) -> PathRewrite {
    PathRewrite::Full(text(path))
}

fn replaced(prefix: &str) -> PathRewrite {
    PathRewrite::Prefix(text(prefix))
}

fn rewritten(matched: &str, new: &str, from: &str) -> String {
    let rewrite = replaced(new);
    String::from_utf8(path(&rewrite, &at(prefix(matched)), from.as_bytes()).unwrap()).unwrap()
}

/// The target that is sent, and how it is without a leading slash of our own where the pattern leaves nothing.
fn sends(rewrite: &PathRewrite, matched: &str, from: &str) -> Result<String, InvalidPath> {
    get(from, |view| {
        let kept = with_query(view.path.to_vec(), view.query);
        let sent = target(rewrite, &at(prefix(matched)), view)?.map_or(kept, |sent| sent.to_vec());
        Ok(String::from_utf8(sent).unwrap())
    })
}

fn by_pattern(pattern: &str, substitution: &str) -> PathRewrite {
    PathRewrite::Regex { pattern: ir::Pattern::parse(pattern).unwrap(), substitution: text(substitution) }
}

fn to(port: RedirectPort) -> Redirect {
    Redirect { status: 301, scheme: None, authority: None, port, path: None }
}

fn leads(redirect: &Redirect, host: &str, target: &str) -> String {
    ask(&format!("GET {target} HTTP/1.1\nHost: {host}"), |view| {
        String::from_utf8(location(redirect, &at(prefix("/old")), view).to_vec()).unwrap()
    })
}

#[test]
fn vs_37_a_prefix_is_replaced_as_text_slashes_and_all() {
    assert_eq!(rewritten("/api/", "/", "/api/x"), "/x");
    assert_eq!(rewritten("/api", "/", "/api/x"), "//x");
    assert_eq!(rewritten("/api", "/v2", "/apix"), "/v2x");
    assert_eq!(rewritten("/", "/v9", "/old"), "/v9old");
}

#[test]
fn vs_37_a_whole_path_and_parts_by_pattern() {
    let full = full("/new");
    assert_eq!(path(&full, &MatchPath::Any, b"/x/y").unwrap(), b"/new");
    let pattern = ir::Pattern::parse("^/api/(.*)$").unwrap();
    let regex = PathRewrite::Regex { pattern, substitution: text(r"/\1/n") };
    assert_eq!(path(&regex, &MatchPath::Any, b"/api/a/b").unwrap(), b"/a/b/n");
    assert_eq!(path(&regex, &MatchPath::Any, b"/other").unwrap(), b"/other");
}

#[test]
fn what_a_target_and_a_location_may_not_have_is_escaped() {
    assert_eq!(sends(&full("/caf\u{e9}#x"), "/", "/").as_deref(), Ok("/caf%C3%A9%23x"));
    // A path that is not normalised may have octets beyond ASCII.
    let sent = ask("GET /api/x?a=1 HTTP/1.1\nHost: a.test", |view| {
        let view = RequestView { path: b"/api/\xff \r\n", query: Some(b"\xff"), ..*view };
        target(&replaced("/v2"), &at(prefix("/api")), &view)
    });
    assert_eq!(sent.unwrap().as_deref(), Some(&b"/v2/%FF%20%0D%0A?%FF"[..]));
    let redirect = Redirect { path: Some(full("/caf\u{e9}#part")), ..to(RedirectPort::Keep) };
    assert_eq!(leads(&redirect, "a.test", "/"), "http://a.test/caf%C3%A9#part");
}

#[test]
fn vs_35_what_a_redirect_does_not_name_stays() {
    let keep = to(RedirectPort::Keep);
    assert_eq!(leads(&keep, "A.test:8080", "/x?q=a%20b"), "http://A.test:8080/x?q=a%20b");
    let path = |new: &str| Redirect { path: Some(full(new)), ..keep.clone() };
    assert_eq!(leads(&path("/moved"), "a.test", "/x?q=1"), "http://a.test/moved?q=1");
    assert_eq!(leads(&path("/moved?p=2"), "a.test", "/x?q=1"), "http://a.test/moved?p=2");
    let prefix = Redirect { path: Some(replaced("/new")), ..keep.clone() };
    assert_eq!(leads(&prefix, "a.test", "/old/x?q=1"), "http://a.test/new/x?q=1");
}

#[test]
fn vs_35_a_port_replaces_the_one_of_the_authority() {
    assert_eq!(leads(&to(RedirectPort::Number(8443)), "a.test:80", "/"), "http://a.test:8443/");
    assert_eq!(leads(&to(RedirectPort::RequestPort(8080)), "a.test", "/"), "http://a.test:8080/");
    for port in [RedirectPort::Number(80), RedirectPort::RequestPort(80), RedirectPort::ProtocolDefault] {
        assert_eq!(leads(&to(port), "a.test", "/"), "http://a.test/");
        assert_eq!(leads(&to(port), "a.test:8080", "/"), "http://a.test/");
        assert_eq!(leads(&to(port), "[::1]:8080", "/"), "http://[::1]/");
        let named = Redirect { authority: Authority::parse("n.test:8443").ok(), ..to(port) };
        assert_eq!(leads(&named, "a.test", "/"), "http://n.test/");
    }
    assert_eq!(leads(&to(RedirectPort::Number(8443)), "[::1]:80", "/"), "http://[::1]:8443/");
    assert_eq!(leads(&to(RedirectPort::Number(8443)), "[::1]", "/"), "http://[::1]:8443/");
    let both = Redirect { authority: Authority::parse("n.test:9000").ok(), ..to(RedirectPort::Number(8443)) };
    assert_eq!(leads(&both, "a.test:80", "/"), "http://n.test:8443/");
    let named = Redirect { authority: Authority::parse("n.test:9000").ok(), ..to(RedirectPort::Keep) };
    assert_eq!(leads(&named, "a.test:80", "/"), "http://n.test:9000/");
}

#[test]
fn vs_35_another_scheme_drops_the_default_port_of_the_old_one() {
    let https = |port| Redirect { scheme: Some(Scheme::Https), ..to(port) };
    assert_eq!(leads(&https(RedirectPort::Keep), "a.test:80", "/"), "https://a.test/");
    assert_eq!(leads(&https(RedirectPort::Keep), "a.test:8080", "/"), "https://a.test:8080/");
    for port in [RedirectPort::Number(443), RedirectPort::ProtocolDefault] {
        assert_eq!(leads(&https(port), "a.test:80", "/"), "https://a.test/");
        assert_eq!(leads(&https(port), "a.test:8080", "/"), "https://a.test/");
    }
    assert_eq!(leads(&https(RedirectPort::RequestPort(80)), "a.test", "/"), "https://a.test:80/");
    let both = Redirect { authority: Authority::parse("n.test").ok(), ..https(RedirectPort::Number(8443)) };
    assert_eq!(leads(&both, "a.test:80", "/"), "https://n.test:8443/");
}

#[test]
fn vs_35_one_slash_is_between_authority_and_path() {
    let new = |path: PathRewrite| Redirect { path: Some(path), ..to(RedirectPort::Keep) };
    let full = |path: &str| new(full(path));
    let replaced = |prefix: &str| new(replaced(prefix));
    for (redirect, target, expected) in [
        (full("login"), "/old", "http://a.test/login"),
        (full("?q=1"), "/old?x", "http://a.test/?q=1"),
        (full("#top"), "/old", "http://a.test/#top"),
        (full("http://e.test/"), "/old", "http://a.test/http://e.test/"),
        (full("//e.test"), "/old", "http://a.test//e.test"),
        (full("@e.test/"), "/old", "http://a.test/@e.test/"),
        (replaced("new"), "/old", "http://a.test/new"),
        (replaced("new"), "/old.e.test/", "http://a.test/new.e.test/"),
        (replaced("new"), "/old/.e.test/", "http://a.test/new/.e.test/"),
        (replaced(".e.test"), "/old", "http://a.test/.e.test"),
        (replaced(":80@e.test"), "/old/x", "http://a.test/:80@e.test/x"),
    ] {
        assert_eq!(leads(&redirect, "a.test", target), expected);
    }
    // The prefix `/old/`, with the slash: the rest begins with any octet that the client sent.
    let evil = ask("GET /old/.evil.example.org/ HTTP/1.1\nHost: app.example.com", |view| {
        location(&replaced("new"), &at(prefix("/old/")), view)
    });
    assert_eq!(&*evil, b"http://app.example.com/new.evil.example.org/");
    let head = "OPTIONS * HTTP/1.1\nHost: a.test";
    let whole = ask(head, |view| location(&to(RedirectPort::Keep), &MatchPath::Any, view));
    assert_eq!(&*whole, b"http://a.test/*");
    assert_eq!(&*ask(head, https_location), b"https://a.test/*");
}

#[test]
fn vs_37_a_target_begins_with_a_slash() {
    for (rewrite, from, expected) in [
        (full("new"), "/p/x?q", "/new?q"),
        (full("http://e.test/"), "/p", "/http://e.test/"),
        (full("*"), "/p", "/*"),
        (replaced("new"), "/p/x", "/new/x"),
        (replaced("new"), "/px", "/newx"),
        (replaced("//e.test"), "/p/x", "//e.test/x"),
        (by_pattern("^/p/(.*)$", r"\1"), "/p/x?q", "/x?q"),
        (by_pattern("^/p/(.*)$", r"\1"), "/p/http://e.test/", "/http://e.test/"),
        (by_pattern("^/p/(.*)$", r"http://\1"), "/p/e.test", "/http://e.test"),
        (by_pattern("^/p(.*)$", r"/\1"), "/p/x", "//x"),
        (by_pattern("/", "-"), "/p/x", "/-p-x"),
        // Envoy leaves the path as it was where nothing of it is left.
        (by_pattern("^/p(.*)$", r"\1"), "/p?q", "/p?q"),
        (by_pattern("^/p/(.*)$", r"\1"), "/p/", "/p/"),
    ] {
        assert_eq!(sends(&rewrite, "/p", from).as_deref(), Ok(expected), "{rewrite:?} of {from}");
    }
}

/// Sent as it is, the path would not be the one that the rule has in mind.
#[test]
fn vs_37_a_pattern_that_takes_too_many_steps_on_a_path_is_an_error() {
    let pattern = ir::Pattern::parse_for_rewrite("a*b|a").unwrap();
    let rewrite = PathRewrite::Regex { pattern, substitution: text("x") };
    assert_eq!(sends(&rewrite, "/", "/aaa"), Ok("/xxx".to_owned()));
    assert_eq!(sends(&rewrite, "/", &format!("/{}", "a".repeat(50_000))), Err(InvalidPath));
}

#[test]
fn vs_37_a_rewrite_makes_no_dot_segment_and_no_invalid_escape() {
    for (rewrite, from) in [
        (replaced("/v1/"), "/p../admin"),
        (replaced("/v1/"), "/p..;/admin"),
        (replaced("/v1/"), "/p."),
        (by_pattern("^/p(.*)$", r"\1"), "/p../admin"),
        (by_pattern("x", ""), "/p/x.x./admin"),
        (by_pattern("25", ""), "/p/%252e%252e/admin"),
        (replaced("/v1%"), "/p61dmin"),
        (replaced("/100%"), "/p"),
        (full("/v1/../v2"), "/p"),
    ] {
        assert_eq!(sends(&rewrite, "/p", from), Err(InvalidPath), "{rewrite:?} of {from}");
    }
    let sent = |from| sends(&replaced("/v1/"), "/p", from);
    assert_eq!(sent("/p..x?y=/../%%").as_deref(), Ok("/v1/..x?y=/../%%"));
}

/// Texts that a configuration may hold, and pieces of paths that clients send.
fn pieces(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(of), 0..6).prop_map(|pieces| pieces.concat())
}

/// Those of them that `resources` accepts.
fn accepted(texts: impl Strategy<Value = String>) -> impl Strategy<Value = PathText> {
    texts.prop_filter_map("not a path", |text| PathText::parse(&text).ok())
}

fn configured() -> impl Strategy<Value = PathText> {
    accepted(pieces(&[
        "/", "//", "new", ".e.test", "@e.test", ":80", "http://", "\\", "?x=1", "#f", " ", "\r\n", "\0", "%", "%2e",
        "..", "é", ";", "\t",
    ]))
}

fn asked() -> impl Strategy<Value = String> {
    let pieces = pieces(&[
        "/", "//", "..", ".", "x", "%2e", "%2F", "%25", ".e.test", "@e.test", ":", "http://", "\\", "?", "|", "61",
        "old",
    ]);
    pieces.prop_map(|path| format!("/old{path}"))
}

fn rewrites() -> impl Strategy<Value = PathRewrite> {
    let patterns =
        ["^/old(.*)$", "^/old/(.*)$", "/", ".*", "[a-z]+", "x", "25"].map(|text| ir::Pattern::parse(text).unwrap());
    let substitution = accepted(pieces(&["\\1", "\\0", "/", "//", "http://", "-", " ", "..", "%", "\r"]));
    prop_oneof![
        configured().prop_map(PathRewrite::Full),
        configured().prop_map(PathRewrite::Prefix),
        (prop::sample::select(patterns.to_vec()), substitution)
            .prop_map(|(pattern, substitution)| PathRewrite::Regex { pattern, substitution }),
    ]
}

fn ports() -> impl Strategy<Value = RedirectPort> {
    prop_oneof![
        Just(RedirectPort::Keep),
        Just(RedirectPort::ProtocolDefault),
        prop::sample::select(vec![80, 443, 8443]).prop_map(RedirectPort::Number),
        prop::sample::select(vec![80, 443, 8080]).prop_map(RedirectPort::RequestPort),
    ]
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (0x21..=0x7e).contains(byte))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, rng_seed: RngSeed::Fixed(37), failure_persistence: None, ..ProptestConfig::default() })]

    /// A redirect leads to the configured host, or to that of the request, whatever the path is.
    #[test]
    fn vs_35_no_path_changes_the_authority(
        new in prop::option::of(rewrites()), port in ports(), named in any::<bool>(), https in any::<bool>(),
        host in prop::sample::select(vec!["a.test", "a.test:8080", "[::1]:80"]), from in asked(),
    ) {
        let redirect = Redirect {
            scheme: https.then_some(Scheme::Https),
            authority: named.then(|| Authority::parse("n.test:9000").unwrap()),
            path: new,
            ..to(port)
        };
        let head = format!("GET {from} HTTP/1.1\nHost: {host}");
        let Ok(location) = try_ask(&head, &listener([]), |view| location(&redirect, &at(prefix("/old")), view)) else { return Ok(()) };
        prop_assert!(is_plain(&location));
        let location = String::from_utf8(location.to_vec()).unwrap();
        let rest = location.strip_prefix(if https { "https://" } else { "http://" }).unwrap();
        // As browsers read it: `\` is a slash for them (WHATWG URL §4.4).
        let authority = rest.split(['/', '\\', '?', '#']).next().unwrap();
        let expected = if named { &b"n.test"[..] } else { split_port(host.as_bytes()).0 };
        let (host, port) = split_port(authority.as_bytes());
        prop_assert_eq!(host, expected, "{}", location);
        prop_assert!(port.is_none_or(|port| port.iter().all(u8::is_ascii_digit)), "{}", location);
        prop_assert!(rest.get(authority.len()..).unwrap().starts_with('/'), "{}", location);
    }

    /// A target is in origin form, and backends find no dot segment in it that the client's path had not.
    #[test]
    fn vs_37_a_target_is_in_origin_form(rewrite in rewrites(), from in asked()) {
        let head = format!("GET {from} HTTP/1.1\nHost: a.test");
        let sent = try_ask(&head, &listener([]), |view| target(&rewrite, &at(prefix("/old")), view));
        let Ok(Ok(Some(sent))) = sent else { return Ok(()) };
        prop_assert!(is_plain(&sent) && sent.first() == Some(&b'/') && !sent.contains(&b'#'));
        let (path, _) = wire::path::split(&sent);
        prop_assert!(!has_dot_segment(path) && !has_invalid_escape(path));
    }

    /// So is where a request for another form of its path is sent: to this host, not to another one.
    #[test]
    fn pc_04_a_relative_location_names_no_host(from in asked()) {
        let head = format!("GET {from} HTTP/1.1\nHost: a.test");
        let answer = try_ask(&head, &listener([]), crate::LocalAnswer::to_normalised);
        let Ok(location) = answer.map(|answer| answer.location.unwrap()) else { return Ok(()) };
        prop_assert!(is_plain(&location) && location.first() == Some(&b'/'));
        prop_assert!(!matches!(location.get(1), Some(b'/' | b'\\')));
    }
}
