//! Spellings of hosts and headers against a `DENY` (AP-06, AP-10): whatever a client writes, the backend never gets the host or the header that is
//! denied.

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward};
use crate::policies::{denying, header, of_requests};
use crate::streams;
use ir::policy::{ActionRules, Demand, TextMatch};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// `a.test`, without regard to case, port and a dot at its end.
fn is_host(value: &str) -> bool {
    let host = value.trim().to_ascii_lowercase();
    let host = host.split(':').next().unwrap();
    host == "a.test"
}

/// Sends heads, each over a connection of its own; how many were answered 200.
fn sent(gateway: &Gateway, heads: &[String]) -> usize {
    let answered = |head: &String| {
        let mut client = gateway.client();
        // Heads that are incomplete end with the connection.
        let _ = client.send(head).stream.shutdown(std::net::Shutdown::Write);
        let answer = client.try_answer(false);
        answer.is_ok_and(|answer| answer.status == 200)
    };
    heads.iter().filter(|head| answered(head)).count()
}

fn serving(backend: &Backend, rules: ActionRules) -> Gateway {
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    Gateway::serving(&setup.authorized(of_requests(rules)))
}

fn values(backend: &Backend, name: &str) -> Vec<String> {
    let beginning = format!("{name}:");
    let line = |line: &str| {
        let is_it = line.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(&beginning));
        is_it.then(|| line[beginning.len()..].trim().to_owned())
    };
    backend.seen().iter().flat_map(|head| head.lines().filter_map(line).collect::<Vec<_>>()).collect()
}

#[test]
fn ap_06_no_spelling_of_a_host_reaches_a_backend_that_is_denied_for_it() {
    let backend = Backend::answering(OK);
    let hosts = Demand::Host(["a.test", "a.test:*"].map(TextMatch::parse).to_vec());
    let gateway = serving(&backend, denying(hosts));
    let hosts = [
        "a.test",
        "A.TEST",
        "a.Test:80",
        "a.test:",
        "a.test:080",
        "a.test:8080",
        " a.test",
        "a.test ",
        "\ta.test\t",
        "a.test,b.test",
        "b.test,a.test",
        "b.test, a.test",
        "user@a.test",
        "a.test@b.test",
        "[a.test]",
        "a.test/",
        "a.test#b.test",
        "a.test?b.test",
        "a.test\\b.test",
        "a%2etest",
        "%61.test",
        "a.test%00",
        "a\u{ff0e}test",
        "b.test\r\nHost: a.test",
        "a.test\r\nHost: b.test",
        "b.test\r\nhost : a.test",
        "b.test\r\n a.test",
        "b.test\r\nX-Forwarded-Host: a.test",
        "b.test\r\nForwarded: host=a.test",
        "",
        "b.test",
    ];
    let mut heads: Vec<String> = hosts.iter().map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).collect();
    let targets = [
        "http://a.test/",
        "HTTP://A.TEST/",
        "http://a.test:80/",
        "http://b.test@a.test/",
        "http://a.test@b.test/",
        "http://b.test/http://a.test/",
        "//a.test/",
        "///a.test/",
        "http:///a.test/",
        "http:a.test/",
        "https://a.test/",
        "ws://a.test/",
        "a.test:80",
        "http://b.test/",
    ];
    for target in targets {
        heads.extend(["a.test", "b.test", ""].map(|host| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    }
    heads.push("GET http://a.test/ HTTP/1.0\r\n\r\n".to_owned());
    let passed = sent(&gateway, &heads);
    let reached = values(&backend, "host");
    assert_eq!((reached.iter().filter(|host| is_host(host)).count(), passed), (0, reached.len()), "{reached:?}");
    assert!(reached.contains(&"b.test".to_owned()), "{reached:?}");
    // In HTTP/2: a `Host` beside the authority.
    streams::run(async {
        for (uri, host) in [
            ("http://a.test/", "b.test"),
            ("http://b.test/", "a.test"),
            ("http://A.test:80/", "a.test"),
            ("http://b.test/", "A.TEST:1"),
        ] {
            let mut client = streams::connect(gateway.addresses()[0]).await;
            let request = http::Request::get(uri).header("host", host).body(()).unwrap();
            let _ = streams::ask(&mut client, request, b"", None).await;
        }
    });
    let reached = values(&backend, "host");
    assert!(!reached.iter().any(|host| is_host(host)), "{reached:?}");
}

#[test]
fn ap_10_no_spelling_of_a_header_reaches_a_backend_that_is_denied_for_it() {
    let backend = Backend::answering(OK);
    let gateway = serving(&backend, denying(header("x-role", "admin")));
    let lines = [
        "x-role: admin",
        "X-ROLE: admin",
        "x-role:admin",
        "x-role:   admin  ",
        "x-role:\tadmin",
        "x-role: user\r\nx-role: admin",
        "x-role: admin\r\nx-role: user",
        "x-role: admin\r\nConnection: x-role",
        "Connection: x-role\r\nX-Role: admin",
        "x-role : admin",
        "x-role: user\r\n admin",
        "x-role:\r\n admin",
        " x-role: admin",
        "x-role: admin\r\nx-role:",
        "x-role: \"admin\"",
        "x-role: admin,user",
        "x-role: ADMIN",
        "x_role: admin",
        "x-role: admin\0",
        "x-role: user\nx-role: admin",
        "x-role: user\rx-role: admin",
        "x-role: user",
    ];
    let heads: Vec<String> =
        lines.iter().map(|line| format!("GET / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n")).collect();
    let passed = sent(&gateway, &heads);
    let reached = values(&backend, "x-role");
    assert!(!reached.contains(&"admin".to_owned()) && passed == backend.seen().len(), "{reached:?}");
    assert!(reached.contains(&"user".to_owned()), "{reached:?}");
}
