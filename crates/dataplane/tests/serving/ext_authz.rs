//! AP-13: external authorization, with a service in Python on Envoy's published definitions, and with services in HTTP.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, TIMEOUT, forward, id, until};
use crate::streams;
use ir::policy::{
    AuthorizationRule, CheckProtocol, Condition, Demand, ExternalAuthorization, ExternalCheck, HttpCheck, NamePattern,
    PathMatch, TextMatch,
};
use ir::{ObjectKind, Origin};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use testkit::ports::refusing;
use testkit::python::Python;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: backend\r\n\r\nok";

/// The service in Python.
pub(crate) struct Service(Child, pub(crate) SocketAddr);

impl Service {
    /// `None` if Python or its packages are not available. `files` are those of a certificate and its key.
    pub(crate) fn start(files: &[&Path]) -> Option<Self> {
        let python = Python::with(&["grpcio", "xds-protos"]).unwrap()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serving/ext_authz.py");
        let mut command = python.command(&script, &[]);
        let mut child = command.args(files).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Some(Self(child, SocketAddr::from(([127, 0, 0, 1], port))))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn check(protocol: CheckProtocol) -> ExternalCheck {
    ExternalCheck {
        provider: "p".into(),
        cluster: id("authz"),
        protocol,
        timeout: TIMEOUT,
        fail_open: false,
        status_on_error: 403,
        clear_route_cache: false,
        body: None,
        rules: Arc::new([Arc::new(rule(Vec::new()))]),
        connections: None,
    }
}

/// A rule for requests that meet all of these conditions.
pub(crate) fn rule(when: Vec<Condition>) -> AuthorizationRule {
    let (namespace, name) = ("n".into(), "p".into());
    let origin = Origin { kind: ObjectKind::AuthorizationPolicy, namespace, name, rule: "rules[0]".into() };
    AuthorizationRule { name: "r".into(), origin, from: vec![Vec::new()], to: vec![Vec::new()], when }
}

fn http() -> HttpCheck {
    HttpCheck {
        path_prefix: None,
        request_headers: Vec::new(),
        additional_headers: Vec::new(),
        to_upstream_on_allow: vec![NamePattern::parse("x-user")],
        to_downstream_on_allow: vec![NamePattern::parse("x-seen")],
        to_downstream_on_deny: Vec::new(),
    }
}

pub(crate) fn by_http() -> CheckProtocol {
    CheckProtocol::Http(Box::new(http()))
}

pub(crate) fn setup(backend: &Backend, service: SocketAddr, check: ExternalCheck) -> Setup {
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let http2 = check.protocol == CheckProtocol::Grpc;
    let setup = setup.cluster("authz", &[service]).checked(ExternalAuthorization::Check(Box::new(check)));
    if http2 { setup.http2("authz") } else { setup }
}

/// The status, flags and detail of an answer.
pub(crate) fn told(client: &mut Client, target: &str) -> (u16, String) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nx-moongate-reason: 1\r\n\r\n"));
    let answer = client.answer();
    (answer.status, answer.header("x-moongate-reason").unwrap_or_default().to_owned())
}

fn error() -> String {
    "UAEX ext_authz_error".to_owned()
}

#[test]
fn ap_13_a_service_on_envoys_definitions_decides() {
    let Some(service) = Service::start(&[]) else { return };
    let backend = Backend::answering(OK);
    let gateway = Gateway::serving(&setup(&backend, service.1, check(CheckProtocol::Grpc)));
    let mut client = gateway.client();
    client.send("GET /a?b=c HTTP/1.1\r\nHost: A.test:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let head = backend.only();
    let seen = head.lines().find_map(|line| line.strip_prefix("x-seen: ")).unwrap().replace(' ', "");
    for part in [
        r#""method":"GET""#,
        r#""path":"/a?b=c""#,
        r#""host":"A.test:80""#,
        r#""scheme":"http""#,
        r#""protocol":"HTTP/1.1""#,
        r#""x-a":"1,2""#,
        r#"":authority":"A.test:80""#,
        r#""x-forwarded-for":"127.0.0.1""#,
        r#""source":{"address":{"socketAddress":{"address":"127.0.0.1""#,
        r#""destination":{"address":{"socketAddress":{"address":"127.0.0.1""#,
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    // The id is that of the request.
    let sent = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert!(seen.contains(&format!(r#""id":"{sent}""#)), "{seen}");

    assert_eq!(client.get("/empty").answer().status, 200);
    let denied = client.get("/deny").answer();
    assert_eq!((denied.status, denied.text()), (401, "go away"));
    let cookies: Vec<&str> =
        denied.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!((cookies, denied.header("x-why")), (vec!["a=1", "b=2"], Some("role")));
    assert_eq!(told(&mut client, "/forbid"), (403, "UAEX ext_authz_denied".to_owned()));
    assert_eq!(told(&mut client, "/broken"), (403, error()));
    assert_eq!(told(&mut client, "/large"), (403, error()));
    let answer = client.get("/error").answer();
    assert_eq!((answer.status, answer.text()), (503, "later"));
    assert_eq!(backend.seen().len(), 2);
    for line in [
        "moongate_ext_authz_allowed_total 2",
        "moongate_ext_authz_denied_total 2",
        "moongate_ext_authz_failures_total 3",
    ] {
        gateway.has_counted(line);
    }
}

#[test]
fn ap_13_every_field_of_a_response_acts() {
    let Some(service) = Service::start(&[]) else { return };
    let backend = Backend::answering(OK);
    let gateway = Gateway::serving(&setup(&backend, service.1, check(CheckProtocol::Grpc)));
    let mut client = gateway.client();
    let lines = "X-User: mallory\r\nX-Added: 0\r\nX-Present: old\r\nX-Secret: s\r\nConnection: x-user, x-added";
    client.send(format!("GET /every?admin=1&a=b&%61dmin=2 HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n\r\n"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("x-checked"), answer.header("server")), (200, Some("yes"), Some("other")));
    let head = backend.only();
    assert!(head.starts_with("GET /every?a=b&role=user HTTP/1.1\r\nhost: a.test\r\n"), "{head}");
    let has = |line: &str| head.lines().filter(|one| *one == line).count();
    // A header that the service wrote is not removed because the client lists it in `Connection`.
    for line in ["x-user: alice", "x-added: 1", "x-absent: new", "x-present: old"] {
        assert_eq!(has(line), 1, "{line} in {head}");
    }
    for name in ["mallory", "x-secret", "x-never", "evil"] {
        assert!(!head.contains(name), "{name} in {head}");
    }
}

#[test]
fn ap_13_clients_in_http_2_are_checked_too() {
    let Some(service) = Service::start(&[]) else { return };
    let backend = Backend::answering(OK);
    let gateway = Gateway::serving(&setup(&backend, service.1, check(CheckProtocol::Grpc)));
    streams::run(async {
        let mut client = streams::connect(gateway.addresses()[0]).await;
        let ask = |path: &str| {
            let uri = format!("http://a.test{path}");
            http::Request::get(uri).header("x-user", "mallory").body(()).unwrap()
        };
        let whole = streams::ask(&mut client, ask("/every?admin=1"), b"", None).await.unwrap();
        assert_eq!((whole.status, whole.header("x-checked")), (200, Some("yes")));
        let whole = streams::ask(&mut client, ask("/deny"), b"", None).await.unwrap();
        assert_eq!((whole.status, whole.text()), (401, "go away"));
    });
    let head = backend.only();
    assert!(head.starts_with("GET /every?role=user HTTP/1.1\r\n") && head.contains("x-user: alice\r\n"), "{head}");
    assert!(!head.contains("mallory"), "{head}");
}

#[test]
fn ap_13_the_service_is_asked_over_tls() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files: [PathBuf; 2] = ["certificate.pem", "key.pem"]
        .map(|name| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ext_authz_{name}")));
    std::fs::write(&files[0], certificate.pem()).unwrap();
    std::fs::write(&files[1], key.serialize_pem()).unwrap();
    let Some(service) = Service::start(&[&files[0], &files[1]]) else { return };
    let backend = Backend::answering(OK);
    let authz = Setup::default().cluster("authz", &[service.1]).http2("authz").encrypted();
    let check = ExternalAuthorization::Check(Box::new(check(CheckProtocol::Grpc)));
    let setup = authz.host("*", forward("c", None)).cluster("c", &[backend.address]).checked(check);
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    assert_eq!(client.get("/a").answer().status, 200);
    assert_eq!(client.get("/deny").answer().status, 401);
}

#[test]
fn ap_13_a_slow_service_is_an_error_and_is_cancelled() {
    let Some(service) = Service::start(&[]) else { return };
    let backend = Backend::answering(OK);
    let short = ExternalCheck { timeout: Duration::from_millis(100), ..check(CheckProtocol::Grpc) };
    let gateway = Gateway::serving(&setup(&backend, service.1, short.clone()));
    let mut client = gateway.client();
    // More checks than the service has threads: the earlier ones were cancelled.
    for _ in 0..20 {
        assert_eq!(told(&mut client, "/slow"), (403, error()));
    }
    gateway.apply(&setup(&backend, service.1, ExternalCheck { fail_open: true, ..short.clone() }));
    assert_eq!(gateway.client().get("/slow").answer().status, 200);
    assert!(backend.only().contains("x-envoy-auth-failure-mode-allowed: true\r\n"));
    gateway.apply(&setup(&backend, service.1, ExternalCheck { status_on_error: 503, ..short }));
    assert_eq!(told(&mut gateway.client(), "/slow"), (503, error()));
}

#[test]
fn ap_13_the_http_form_allows_with_200_alone_and_gives_the_denial_to_the_client() {
    let backend = Backend::answering(OK);
    let service = Backend::start(|side| {
        while let Some((head, _)) = side.request() {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/login" => "HTTP/1.1 302 Found\r\nLocation: /in\r\nSet-Cookie: a\r\nContent-Length: 2\r\n\r\nno",
                "/created" => "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
                "/error" => "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
                "/malformed" => "HTTP/9 what\r\n\r\n",
                "/chunked" => "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                _ => {
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-User: alice\r\nX-Seen: 1\r\nX-Other: 1\r\nContent-Length: 2\r\n\r\nok"
                }
            };
            if !side.send(answer) {
                return;
            }
        }
    });
    let gateway = Gateway::serving(&setup(&backend, service.address, check(by_http())));
    let mut client = gateway.client();
    client.send("GET /a?b HTTP/1.1\r\nHost: a.test\r\nAuthorization: t\r\nCookie: c\r\nX-User: mallory\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("x-seen"), answer.header("x-other")), (200, Some("1"), None));
    let asked = service.only();
    assert_eq!(asked, "GET /a?b HTTP/1.1\r\nhost: a.test\r\nauthorization: t\r\ncontent-length: 0\r\n\r\n");
    let head = backend.only();
    assert!(head.contains("x-user: alice\r\n") && !head.contains("mallory"), "{head}");
    let login = client.get("/login").answer();
    let found = (login.status, login.header("location"), login.header("set-cookie"), login.text());
    assert_eq!(found, (302, Some("/in"), Some("a"), "no"));
    assert_eq!(client.get("/created").answer().status, 201);
    assert_eq!(client.get("/chunked").answer().text(), "abc");
    assert_eq!(told(&mut client, "/error"), (403, error()));
    assert_eq!(told(&mut client, "/malformed"), (403, error()));
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn ap_13_a_body_and_requests_behind_it_reach_the_backend_unchanged() {
    let backend = Backend::echo();
    let service = Backend::answering("HTTP/1.1 200 OK\r\nX-User: alice\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::serving(&setup(&backend, service.address, check(by_http())));
    let mut client = gateway.client();
    client.with_body("POST", "one").with_body("PUT", "two").get("/three").with_body("POST", "four");
    let texts: Vec<String> = (0..4).map(|_| client.answer().text().to_owned()).collect();
    assert_eq!(texts, ["one", "two", "", "four"]);
    assert_eq!(backend.seen().iter().filter(|head| head.contains("x-user: alice\r\n")).count(), 4);
    // Connections are used again.
    assert_eq!((service.connections(), backend.connections()), (1, 1));
}

#[test]
fn ap_13_a_service_that_is_away_or_closes_is_an_error() {
    let backend = Backend::answering(OK);
    let gateway = Gateway::serving(&setup(&backend, refusing(), check(by_http())));
    assert_eq!(told(&mut gateway.client(), "/"), (403, error()));
    gateway.apply(&setup(&backend, refusing(), check(CheckProtocol::Grpc)));
    assert_eq!(told(&mut gateway.client(), "/"), (403, error()));
    // A cluster in HTTP/1 cannot be asked by gRPC.
    let http1 = setup(&backend, refusing(), check(by_http()));
    gateway.apply(&http1.checked(ExternalAuthorization::Check(Box::new(check(CheckProtocol::Grpc)))));
    assert_eq!(told(&mut gateway.client(), "/"), (403, error()));
    let closing = Backend::start(|side| drop(side.request()));
    gateway.apply(&setup(&backend, closing.address, check(by_http())));
    assert_eq!(told(&mut gateway.client(), "/"), (403, error()));
    // No such cluster.
    let none = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    gateway.apply(&none.checked(ExternalAuthorization::Check(Box::new(check(by_http())))));
    assert_eq!(told(&mut gateway.client(), "/"), (403, error()));
    assert_eq!(backend.seen(), [""; 0]);
}

#[test]
fn ap_13_a_connection_that_the_service_closed_while_idle_is_replaced() {
    let backend = Backend::answering(OK);
    let service = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::serving(&setup(&backend, service.address, check(by_http())));
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").answer().status, 200);
    }
}

#[test]
fn ap_13_a_check_ends_when_the_client_resets() {
    let backend = Backend::answering(OK);
    let (ended, end) = mpsc::channel();
    let ended = Mutex::new(ended);
    let service = Backend::start(move |side| {
        side.request();
        // Nothing more is sent until the gateway closes the connection.
        assert!(side.request().is_none());
        ended.lock().unwrap().send(()).unwrap();
    });
    let gateway = Gateway::serving(&setup(&backend, service.address, check(by_http())));
    let mut client = gateway.client();
    client.get("/");
    until("the check", || service.seen().len() == 1);
    client.reset();
    end.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(backend.seen(), [""; 0]);
}

#[test]
fn ap_13_only_requests_that_a_rule_is_for_are_checked() {
    let backend = Backend::answering(OK);
    let service = Backend::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let demand = Demand::Path(vec![PathMatch::Text(TextMatch::parse("/admin*"))]);
    let condition = Condition { field: "rules[0].to[0].operation.paths".into(), negated: false, demand };
    let rules = Arc::new([Arc::new(rule(vec![condition]))]);
    let gateway = Gateway::serving(&setup(&backend, service.address, ExternalCheck { rules, ..check(by_http()) }));
    let mut client = gateway.client();
    for (target, status) in [("/", 200), ("/admin/a", 403), ("/a/../admin", 403), ("/%61dmin", 403), ("/user", 200)] {
        assert_eq!(client.get(target).answer().status, status, "{target}");
    }
    assert_eq!((backend.seen().len(), service.seen().len()), (2, 3));
}

#[test]
fn ap_13_ap_14_without_a_service_everything_is_denied() {
    let backend = Backend::answering(OK);
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.checked(ExternalAuthorization::DenyAll));
    let mut client = gateway.client();
    let detail = "- rbac_access_denied_matched_policy[default-deny-all-due-to-bad-CUSTOM-action]";
    assert_eq!(told(&mut client, "/"), (403, detail.to_owned()));
    assert_eq!(client.get("/").answer().text(), "RBAC: access denied");
    assert_eq!(backend.seen(), [""; 0]);
}

/// Whatever the response of a service contains, it cannot end the head of the request.
#[test]
fn ap_13_what_a_service_answers_stays_in_its_header() {
    let backend = Backend::answering(OK);
    let service = Backend::answering(
        "HTTP/1.1 200 OK\r\nX-User: a\tb \u{e9}\r\nx-envoy-auth-headers-to-remove: x-a,,:path, host\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Gateway::serving(&setup(&backend, service.address, check(by_http())));
    let mut client = gateway.client();
    client.send("GET /p HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\nX-B: 1\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let head = backend.only();
    assert!(head.starts_with("GET /p HTTP/1.1\r\nhost: a.test\r\n"), "{head}");
    assert!(
        head.contains("x-b: 1\r\n") && !head.contains("x-a:") && head.contains("x-user: a\tb \u{e9}\r\n"),
        "{head}"
    );
}
