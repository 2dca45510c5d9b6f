//! Which headers the gateway writes, and in which case (PC-03, S-114, S-115, S-124).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, respond};
use crate::streams::{ask, connect, get, run};
use ir::{Action, EscapedSlashes, Forward, HeaderSettings, MeshConnectionSettings};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: theirs\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nok";

fn serving(backend: &Backend, headers: HeaderSettings) -> Gateway {
    let mesh_settings = MeshConnectionSettings { headers, ..MeshConnectionSettings::default() };
    Gateway::serving(
        &Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).mesh_settings(mesh_settings),
    )
}

#[test]
fn pc_03_headers_of_the_gateways_own_can_be_left_out() {
    let backend = Backend::answering(ANSWER);
    let usual = HeaderSettings::default();
    let off = HeaderSettings { request_id: false, server: None, attempt_count: false, debug: false, ..usual.clone() };
    for (headers, there) in [(usual.clone(), true), (off, false)] {
        let gateway = serving(&backend, headers);
        let answer = gateway.client().get("/").answer();
        assert_eq!(answer.header("server"), Some(if there { "istio-envoy" } else { "theirs" }));
        assert_eq!(answer.header("x-envoy-upstream-service-time").is_some(), there);
        let head = backend.seen().pop().unwrap();
        assert_eq!(head.contains("\nx-request-id: "), there, "{head}");
        assert_eq!(head.contains("\nx-envoy-attempt-count: 1\r\n"), there, "{head}");
        assert!(head.contains("\nx-envoy-external-address: "), "{head}");
    }
    let named = HeaderSettings { server: ir::HeaderValue::parse("edge").ok(), ..usual.clone() };
    assert_eq!(serving(&backend, named).client().get("/").answer().header("server"), Some("edge"));
    // A received id is not changed where none is generated.
    let gateway = serving(&backend, HeaderSettings { request_id: false, ..usual });
    gateway.client().send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n").answer();
    assert!(backend.seen().pop().unwrap().contains("\nx-request-id: mine\r\n"));
}

#[test]
fn pc_03_answers_of_the_gateways_own_have_the_server_that_is_set() {
    for (server, shown) in [(Some("edge"), Some("edge")), (None, None)] {
        let headers = HeaderSettings {
            server: server.and_then(|server| ir::HeaderValue::parse(server).ok()),
            ..HeaderSettings::default()
        };
        let setup = Setup::default()
            .host("a.test", respond(200, "hi"))
            .mesh_settings(MeshConnectionSettings { headers, ..MeshConnectionSettings::default() });
        let gateway = Gateway::serving(&setup);
        assert_eq!(gateway.client().get("/").answer().header("server"), shown);
        let missing = gateway.client().send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").answer();
        assert_eq!((missing.status, missing.header("server")), (404, shown));
        run(async {
            let mut client = connect(gateway.addresses()[0]).await;
            assert_eq!(ask(&mut client, get("/"), &[], None).await.unwrap().header("server"), shown);
        });
    }
}

#[test]
fn s_114_backends_receive_the_port_and_the_rewritten_host() {
    let backend = Backend::answering(ANSWER);
    let headers = HeaderSettings { forwarded_host: true, forwarded_port: true, ..HeaderSettings::default() };
    let rewriting = match forward("c", None) {
        Action::Forward(forward) => {
            Action::Forward(Forward { authority: ir::Authority::parse("other.test").ok(), ..forward })
        }
        other => other,
    };
    let setup = Setup::default().host("a.test", rewriting).host("b.test", forward("c", None));
    let setup = setup
        .cluster("c", &[backend.address])
        .mesh_settings(MeshConnectionSettings { headers, ..MeshConnectionSettings::default() });
    let gateway = Gateway::serving(&setup);
    let port = format!("\nx-forwarded-port: {}\r\n", gateway.addresses()[0].port());
    gateway.client().get("/").answer();
    let head = backend.seen().pop().unwrap();
    assert!(head.contains("\nhost: other.test\r\n") && head.contains("\nx-forwarded-host: a.test\r\n"), "{head}");
    assert!(head.contains(&port), "{head}");
    gateway.client().send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").answer();
    assert!(!backend.seen().pop().unwrap().contains("x-forwarded-host"));
}

#[test]
fn s_115_names_keep_their_case_in_both_directions() {
    let backend = Backend::start(|side| {
        while side.request().is_some() {
            side.send("HTTP/1.1 200 OK\r\nX-Own-Name: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n");
        }
    });
    let request = "POST / HTTP/1.1\r\nHost: a\r\nX-Their-NAME: 1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    for (kept, there, back) in [
        (true, ["Host: a", "X-Their-NAME: 1", "Content-Length: 1"], ["X-Own-Name: 1", "Transfer-Encoding", "X-End: 1"]),
        (
            false,
            ["host: a", "x-their-name: 1", "content-length: 1"],
            ["x-own-name: 1", "transfer-encoding", "x-end: 1"],
        ),
    ] {
        let gateway = serving(&backend, HeaderSettings { keep_case: kept, ..HeaderSettings::default() });
        let mut client = gateway.client();
        let answer = String::from_utf8(client.send(request).rest()).unwrap();
        let head = backend.seen().pop().unwrap();
        for name in there {
            assert!(head.contains(&format!("\n{name}")), "{name} of {head}");
        }
        for name in back {
            assert!(answer.contains(&format!("\n{name}")), "{name} of {answer}");
        }
        assert!(head.contains("\nx-forwarded-for: "), "{head}");
    }
}

#[test]
fn s_117_a_port_is_ignored_when_matching_and_kept_for_the_backend() {
    let backend = Backend::answering(ANSWER);
    let gateway =
        Gateway::serving(&Setup::default().host("a.test", forward("c", None)).cluster("c", &[backend.address]));
    for (request, host, path) in [
        ("GET /x HTTP/1.1\r\nHost: A.test:8443\r\n\r\n", "A.test:8443", "/x"),
        // The authority of an absolute target overrides Host (RFC 9112 §3.2.2).
        ("GET http://a.test:81/x?y HTTP/1.1\r\nHost: b.test\r\n\r\n", "a.test:81", "/x?y"),
        ("GET https://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test", "/"),
    ] {
        assert_eq!(gateway.client().send(request).answer().status, 200, "{request}");
        let head = backend.seen().pop().unwrap();
        assert!(head.contains(&format!("\nhost: {host}\r\n")) && head.starts_with(&format!("GET {path} ")), "{head}");
    }
    for (request, status) in [
        ("GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 404),
        ("GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: me@a.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.test:x\r\n\r\n", 400),
    ] {
        assert_eq!(gateway.client().send(request).answer().status, status, "{request}");
    }
}

#[test]
fn pc_04_a_call_of_grpc_with_escaped_slashes_is_refused_not_redirected() {
    let backend = Backend::answering(ANSWER);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.escaped_slashes(EscapedSlashes::Redirect));
    let answer = gateway.client().send("GET /a%2Fb?c HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert_eq!((answer.status, answer.header("location")), (307, Some("/a%2Fb?c")));
    let call = "POST /a%2Fb HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n";
    let answer = gateway.client().send(call).answer();
    assert_eq!((answer.status, answer.header("grpc-status"), backend.connections()), (200, Some("13"), 0));
}

#[test]
fn s_111_headers_that_control_envoy_are_not_accepted_from_outside() {
    let backend = Backend::answering(ANSWER);
    let gateway = Gateway::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]));
    let claims = "X-Envoy-Internal: true\r\nX-Envoy-External-Address: 1.2.3.4\r\nX-Envoy-Retry-On: 5xx\r\n\
                  X-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n";
    gateway.client().send(format!("GET / HTTP/1.1\r\nHost: a\r\n{claims}\r\n")).answer();
    let head = backend.only();
    for gone in ["x-envoy-internal", "1.2.3.4", "x-envoy-retry-on", "x-envoy-upstream-rq", "https", "mine"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert!(head.contains("\nx-envoy-external-address: 127.0.0.1\r\n"), "{head}");
}
