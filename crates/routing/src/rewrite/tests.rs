use super::*;
use crate::fixture::{ask, path as at, prefix};
use std::sync::Arc;

fn rewritten(matched: &str, new: &str, from: &str) -> String {
    let rewrite = PathRewrite::Prefix(new.into());
    String::from_utf8(path(&rewrite, &at(prefix(matched)), from.as_bytes())).unwrap()
}

fn to(port: RedirectPort) -> Redirect {
    Redirect { status: 301, scheme: None, authority: None, port, path: None }
}

fn leads(redirect: &Redirect, host: &str, target: &str) -> String {
    ask(&format!("GET {target} HTTP/1.1\nHost: {host}"), |view| {
        String::from_utf8(location(redirect, &at(prefix("/old")), view)).unwrap()
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
    let full = PathRewrite::Full("/new".into());
    assert_eq!(path(&full, &MatchPath::Any, b"/x/y"), b"/new");
    let pattern = ir::Pattern::parse("^/api/(.*)$").unwrap();
    let regex = PathRewrite::Regex { pattern, substitution: Arc::from(r"/\1/n") };
    assert_eq!(path(&regex, &MatchPath::Any, b"/api/a/b"), b"/a/b/n");
    assert_eq!(path(&regex, &MatchPath::Any, b"/other"), b"/other");
}

#[test]
fn what_may_not_stand_in_a_head_is_escaped() {
    assert_eq!(path(&PathRewrite::Full("/a b\r\nx: y".into()), &MatchPath::Any, b"/"), b"/a%20b%0D%0Ax:%20y");
    let redirect = Redirect { authority: Some("a\r\nb".into()), ..to(RedirectPort::Keep) };
    assert_eq!(leads(&redirect, "a.test", "/"), "http://a%0D%0Ab/");
}

#[test]
fn vs_35_what_a_redirect_does_not_name_stays() {
    let keep = to(RedirectPort::Keep);
    assert_eq!(leads(&keep, "A.test:8080", "/x?q=a%20b"), "http://A.test:8080/x?q=a%20b");
    let path = |text: &str| Redirect { path: Some(PathRewrite::Full(text.into())), ..keep.clone() };
    assert_eq!(leads(&path("/moved"), "a.test", "/x?q=1"), "http://a.test/moved?q=1");
    assert_eq!(leads(&path("/moved?p=2"), "a.test", "/x?q=1"), "http://a.test/moved?p=2");
    let prefix = Redirect { path: Some(PathRewrite::Prefix("/new".into())), ..keep.clone() };
    assert_eq!(leads(&prefix, "a.test", "/old/x?q=1"), "http://a.test/new/x?q=1");
}

#[test]
fn vs_35_a_port_replaces_the_clients_and_a_default_one_does_not() {
    assert_eq!(leads(&to(RedirectPort::Number(8443)), "a.test:80", "/"), "http://a.test:8443/");
    assert_eq!(leads(&to(RedirectPort::RequestPort(8080)), "a.test", "/"), "http://a.test:8080/");
    assert_eq!(leads(&to(RedirectPort::Number(80)), "a.test", "/"), "http://a.test/");
    assert_eq!(leads(&to(RedirectPort::Number(80)), "a.test:8080", "/"), "http://a.test:8080/");
    assert_eq!(leads(&to(RedirectPort::ProtocolDefault), "a.test:8080", "/"), "http://a.test:8080/");
    assert_eq!(leads(&to(RedirectPort::Number(8443)), "[::1]:80", "/"), "http://[::1]:8443/");
    assert_eq!(leads(&to(RedirectPort::Number(8443)), "[::1]", "/"), "http://[::1]:8443/");
}

#[test]
fn vs_35_another_scheme_drops_the_default_port_of_the_old_one() {
    let https = |port| Redirect { scheme: Some("https".into()), ..to(port) };
    assert_eq!(leads(&https(RedirectPort::Keep), "a.test:80", "/"), "https://a.test/");
    assert_eq!(leads(&https(RedirectPort::Keep), "a.test:8080", "/"), "https://a.test:8080/");
    assert_eq!(leads(&https(RedirectPort::Number(443)), "a.test:80", "/"), "https://a.test/");
    assert_eq!(leads(&https(RedirectPort::RequestPort(80)), "a.test", "/"), "https://a.test:80/");
    let both = Redirect { authority: Some("n.test".into()), ..https(RedirectPort::Number(8443)) };
    assert_eq!(leads(&both, "a.test:80", "/"), "https://n.test:8443/");
}
