use super::*;
use crate::fixture::{ask, listener, try_ask};

fn refused(head: &str) -> Refusal {
    try_ask(head, &listener([]), |_| ()).unwrap_err()
}

#[test]
fn s_117_the_host_has_no_port_and_the_authority_keeps_it() {
    ask("GET /a?b#c HTTP/1.1\nHost: A.Test:8080", |view| {
        assert_eq!((view.host, view.authority), ("a.test", &b"A.Test:8080"[..]));
        assert_eq!((view.path, view.query), (&b"/a"[..], Some(&b"b"[..])));
        assert_eq!(view.scheme, "http");
    });
}

#[test]
fn rfc_9112_3_2_2_the_authority_of_the_target_wins_over_host() {
    ask("GET http://B.test:81/x?y HTTP/1.1\nHost: a.test", |view| {
        assert_eq!((view.host, view.authority), ("b.test", &b"B.test:81"[..]));
        assert_eq!((view.path, view.query), (&b"/x"[..], Some(&b"y"[..])));
    });
    ask("GET HTTPS://b.test HTTP/1.1\nHost: a.test", |view| {
        assert_eq!((view.path, view.scheme), (&b"/"[..], "http"));
    });
}

#[test]
fn rfc_9112_3_2_targets_of_no_form_are_refused() {
    for target in ["x", "ftp://a/", "http://a?x", "*", "a.test:80"] {
        assert_eq!(refused(&format!("GET {target} HTTP/1.1\nHost: a")), Refusal::Target, "{target}");
    }
    assert_eq!(refused("GET http:///x HTTP/1.1\nHost: a"), Refusal::Host);
    assert_eq!(refused("GET http://u@b/x HTTP/1.1\nHost: a"), Refusal::Host);
    assert_eq!(Refusal::Target.status(), 400);
    ask("OPTIONS * HTTP/1.1\nHost: a", |view| assert_eq!(view.path, b"*"));
}

#[test]
fn s_116_and_mc_02_paths_are_normalised_as_the_listener_says() {
    let as_set = |mode, target: &str| {
        let mut listener = listener([]);
        listener.settings.path_normalization = mode;
        let head = format!("GET {target} HTTP/1.1\nHost: a");
        try_ask(&head, &listener, |view| String::from_utf8_lossy(view.path).into_owned())
    };
    assert_eq!(as_set(PathNormalization::Base, "/a/..//b").as_deref(), Ok("//b"));
    assert_eq!(as_set(PathNormalization::None, "/a/..//b").as_deref(), Ok("/a/..//b"));
    assert_eq!(as_set(PathNormalization::MergeSlashes, "/a//b%2Fc").as_deref(), Ok("/a/b%2Fc"));
    assert_eq!(as_set(PathNormalization::DecodeAndMergeSlashes, "/a//b%2Fc").as_deref(), Ok("/a/b/c"));
    assert_eq!(as_set(PathNormalization::Base, "/a%00"), Err(Refusal::Path));
}

#[test]
fn s_118_connect_is_not_routed() {
    let view = try_ask("CONNECT a.test:80 HTTP/1.1\nHost: a.test:80", &listener([]), |_| ());
    assert_eq!(view.unwrap_err().status(), 404);
}

#[test]
fn a_forward_proxy_drops_the_default_port_of_the_scheme() {
    let authority = |method: &str, target: &str, host: &str| {
        let raw = RawRequest {
            method: method.as_bytes(),
            target: target.as_bytes(),
            host: host.as_bytes(),
            fields: Fields::new(b"", &[]),
            original_port: None,
        };
        split_proxied(raw).map(|(authority, ..)| String::from_utf8(authority.to_vec()).unwrap())
    };
    let table = [
        ("GET", "http://bad.test:80/", "bad.test:80", "bad.test"),
        ("GET", "http://bad.test:80/", "bad.test", "bad.test"),
        ("GET", "http://bad.test:80/", "", "bad.test"),
        ("GET", "HTTP://[2606:4700::1]:80/", "", "[2606:4700::1]"),
        ("GET", "http://[2606:4700::80]/", "", "[2606:4700::80]"),
        ("GET", "http://bad.test:443/", "bad.test:443", "bad.test:443"),
        ("GET", "https://bad.test:443/", "", "bad.test"),
        ("CONNECT", "bad.test:80", "bad.test:80", "bad.test:80"),
        ("CONNECT", "bad.test:443", "", "bad.test:443"),
    ];
    for (method, target, host, expected) in table {
        assert_eq!(authority(method, target, host).as_deref(), Ok(expected), "{method} {target} {host}");
    }
}

#[test]
fn e_44_a_transparent_client_names_the_host_and_the_port_that_it_has_connected_to() {
    let asked = |method: &str, target: &str, host: &str, port: u16| {
        let raw = RawRequest {
            method: method.as_bytes(),
            target: target.as_bytes(),
            host: host.as_bytes(),
            fields: Fields::new(b"", &[]),
            original_port: Some(port),
        };
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        split_proxied(raw).map(|(authority, origin, _)| text(authority) + &text(origin))
    };
    let fine = |text: &str| Ok(text.to_owned());
    assert_eq!(asked("GET", "/x", "a.test", 80), fine("a.test/x"));
    assert_eq!(asked("GET", "/x", "a.test:80", 80), fine("a.test/x"));
    assert_eq!(asked("GET", "/x", "a.test:8080", 8080), fine("a.test:8080/x"));
    // In HTTP/2 the target is absolute.
    assert_eq!(asked("GET", "http://a.test/x", "", 80), fine("a.test/x"));
    assert_eq!(asked("GET", "/x", "a.test", 8080), Err(Refusal::OriginalPort));
    assert_eq!(asked("GET", "/x", "a.test:8080", 80), Err(Refusal::OriginalPort));
    assert_eq!(asked("GET", "http://a.test:8080/x", "a.test:8080", 80), Err(Refusal::OriginalPort));
    assert_eq!(asked("CONNECT", "a.test:443", "a.test:443", 443), Err(Refusal::Tunnel));
    assert!(matches!(asked("GET", "/x", "2130706433", 80), Err(Refusal::Destination(_))));
    assert!(matches!(asked("GET", "/x", "", 80), Err(Refusal::Destination(_))));
}
