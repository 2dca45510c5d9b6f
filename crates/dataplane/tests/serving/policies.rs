//! AuthorizationPolicies over real sockets: requests and connections that are allowed and denied, what becomes of their connections, and policies
//! that change under load (AP-02, AP-03, AP-08, AP-11).

use crate::backend::Backend;
use crate::certificates::{Authority, shake};
use crate::client::Client;
use crate::ext_authz::{by_http, check, rule, told};
use crate::gateway::{Gateway, Setup, forward, respond, until};
use crate::streams;
use dataplane::Limits;
use ir::ClientAuth;
use ir::policy::{
    ActionRules, Authorization, Condition, Demand, ExternalAuthorization, HeaderOf, PathMatch, RuleList, TextMatch,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Clients are not told which policy it was.
const DENIED: &str = "- rbac_access_denied";

fn on(demand: Demand) -> RuleList {
    let condition = Condition { field: "rules[0].to[0].operation".into(), negated: false, demand };
    [rule(vec![condition]).into()].into()
}

pub(crate) fn paths(paths: &[&str]) -> Demand {
    Demand::Path(paths.iter().map(|path| PathMatch::Text(TextMatch::parse(path))).collect())
}

pub(crate) fn header(name: &str, value: &str) -> Demand {
    let (name, values) = (HeaderOf::parse(name), vec![TextMatch::parse(value)]);
    Demand::Header { name, values, is_list: false, allows: false }
}

pub(crate) fn denying(demand: Demand) -> ActionRules {
    ActionRules { deny: Some(on(demand)), ..ActionRules::default() }
}

fn allowing(demand: Demand) -> ActionRules {
    ActionRules { allow: Some(on(demand)), ..ActionRules::default() }
}

pub(crate) fn of_requests(requests: ActionRules) -> Authorization {
    Authorization { requests, connections: ActionRules::default() }
}

fn of_connections(connections: ActionRules) -> Authorization {
    Authorization { requests: ActionRules::default(), connections }
}

fn to(backend: &Backend) -> Setup {
    Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address])
}

#[test]
fn ap_02_ap_03_a_connection_goes_on_after_requests_that_are_denied() {
    let backend = Backend::echo();
    let setup = to(&backend).authorized(of_requests(denying(paths(&["/admin", "/admin/*"]))));
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    assert_eq!(told(&mut client, "/admin"), (403, DENIED.to_owned()));
    client.send("POST /admin/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text(), answer.header("connection")), (403, "RBAC: access denied", None));
    // Pipelined behind a denied request with a body in chunks.
    client.send("POST /admin HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    client.with_body("POST", "next");
    assert_eq!((client.answer().status, client.answer().text()), (403, "next"));
    assert_eq!(backend.seen().len(), 1);
    // A client that waits for 100 is not asked for its body.
    client.send("POST /admin HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));

    gateway.apply(&to(&backend).authorized(of_requests(allowing(paths(&["/open*"])))));
    let mut client = gateway.client();
    assert_eq!((told(&mut client, "/admin").0, client.get("/open/a").answer().status), (403, 200));
    for line in [r#"policies="enforced",result="denied""#, r#"policies="enforced",result="allowed""#] {
        gateway.has_counted(&format!(r#"moongate_authorization_total{{protocol="http",{line}}}"#));
    }
}

#[test]
fn ap_02_streams_are_denied_one_by_one() {
    let backend = Backend::answering(OK);
    let setup = to(&backend).authorized(of_requests(denying(paths(&["/admin"]))));
    let gateway = Gateway::serving(&setup);
    streams::run(async {
        let mut client = streams::connect(gateway.addresses()[0]).await;
        for (path, status) in [("/admin", 403), ("/", 200), ("/%61dmin", 403), ("/a/../admin?x", 403), ("/admin2", 200)]
        {
            let whole = streams::ask(&mut client, streams::get(path), b"", None).await.unwrap();
            assert_eq!(whole.status, status, "{path}");
        }
        let whole = streams::ask(&mut client, streams::post("/admin"), b"body", None).await.unwrap();
        assert_eq!((whole.status, whole.text()), (403, "RBAC: access denied"));
        // In gRPC the status is that of gRPC.
        let mut call = streams::post("/admin");
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let whole = streams::ask(&mut client, call, b"", None).await.unwrap();
        assert_eq!((whole.status, whole.header("grpc-status")), (200, Some("7")));
    });
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn ap_02_an_upgrade_is_denied_like_any_request() {
    let backend = Backend::start(|side| {
        side.head();
        side.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        let octets = side.exactly(2).unwrap_or_default();
        side.send(octets);
    });
    let gateway = Gateway::serving(&to(&backend).authorized(of_requests(denying(paths(&["/admin*"])))));
    let upgrade = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
        )
    };
    let mut client = gateway.client();
    assert_eq!(client.send(upgrade("/admin/chat")).answer().status, 403);
    assert_eq!(backend.connections(), 0);
    // The connection is still one of HTTP, and may be upgraded elsewhere.
    assert_eq!(client.send(upgrade("/chat")).answer().status, 101);
    assert_eq!(client.send("hi").exactly(2).unwrap(), b"hi");
    streams::run(async {
        let mut client = streams::connect(gateway.addresses()[0]).await;
        let mut request = http::Request::builder().method("CONNECT").uri("http://a.test/admin/chat").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let (response, _stream) = client.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 403);
    });
}

#[test]
fn ap_08_ap_11_connections_are_denied_before_anything_passes() {
    let backend = Backend::start(|side| {
        side.send("first");
        while side.more().is_some() {}
    });
    let setup = || Setup::default().tcp("c").cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup().authorized(of_connections(denying(Demand::Port(vec![80])))));
    let found = |gateway: &Gateway| {
        let client = Client::connect(gateway.addresses()[0]);
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        { client }.rest()
    };
    assert_eq!((found(&gateway), backend.connections()), (Vec::new(), 0));
    gateway.apply(&setup().authorized(of_connections(denying(Demand::Port(vec![81])))));
    assert_eq!(found(&gateway), b"first");
    gateway.apply(&setup().authorized(of_connections(allowing(Demand::Port(vec![81])))));
    assert_eq!(found(&gateway), b"");
    let local = vec!["127.0.0.0/8".parse().unwrap()];
    gateway.apply(&setup().authorized(of_connections(allowing(Demand::SourceIp(local)))));
    assert_eq!((found(&gateway), backend.connections()), (b"first".to_vec(), 2));

    // By server name, where the gateway ends TLS.
    let authority = Authority::new();
    let (names, signed) = (["a.test", "b.test"], authority.sign(&["a.test"]));
    let tls = Setup::default().tls_tcp(&names, Some(signed.termination(ClientAuth::None)), "c");
    let demand = Demand::ServerName(vec![TextMatch::parse("a.*")]);
    let gateway = Gateway::serving(&tls.cluster("c", &[backend.address]).authorized(of_connections(denying(demand))));
    let address = gateway.addresses()[0];
    let over_tls = |name: &'static str| {
        streams::run(async move {
            let mut stream = shake(address, name, None, &[]).await.unwrap();
            let mut found = Vec::new();
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut found).await;
            found
        })
    };
    assert_eq!(names.map(over_tls), [b"".to_vec(), b"first".to_vec()]);
}

#[test]
fn ap_12_tls_that_is_passed_through_is_denied_by_its_server_name() {
    let backend = Backend::start(|side| {
        side.more();
    });
    let names = ["a.test", "b.test"];
    let demand = Demand::ServerName(vec![TextMatch::parse("a.test")]);
    let setup = Setup::default().tls_tcp(&names, None, "c").cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&setup.authorized(of_connections(denying(demand))));
    let address = gateway.addresses()[0];
    // The backend is no TLS server, so that no handshake succeeds; a denied one does not reach it.
    for (name, reached) in [("a.test", 0), ("b.test", 1), ("a.test", 1)] {
        streams::run(async move { assert!(shake(address, name, None, &[]).await.is_err()) });
        assert_eq!(backend.connections(), reached, "{name}");
    }
}

#[test]
fn ap_09_a_principal_is_that_of_a_verified_certificate() {
    let authority = Authority::new();
    let (server, client) = (authority.sign(&["a.test"]), authority.sign(&["client.test"]));
    let backend = Backend::answering(OK);
    let demand = Demand::Identity(vec![ir::policy::IdentityMatch::Exact("client.test".into())]);
    let setup = to(&backend).tls(&["a.test"], Some(server.termination(ClientAuth::Optional(authority.trust(&[])))));
    let gateway = Gateway::serving(&setup.authorized(of_requests(allowing(demand))));
    let address = gateway.addresses()[0];
    let status = |certificate: Option<&crate::certificates::Signed>| {
        streams::run(async move {
            let mut stream = shake(address, "a.test", certificate, &["http/1.1"]).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer[9..12].to_owned()
        })
    };
    assert_eq!([status(Some(&client)), status(None)], ["200", "403"]);
}

/// The route and the policy of `one` or `two`: its body, and who may not have it.
fn named(name: &str) -> Setup {
    Setup::default().host("*", respond(200, name)).authorized(of_requests(denying(header("x-not", name))))
}

#[test]
fn ap_02_routes_and_policies_of_one_change_apply_together() {
    let gateway = Gateway::start(2, Limits::default(), None);
    gateway.apply(&named("one"));
    let address = gateway.addresses()[0];
    let (ended, asked, wrong) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let seen: Mutex<BTreeSet<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for not in ["one", "two", "one", "two"] {
            let (ended, asked, wrong, seen) = (&ended, &asked, &wrong, &seen);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !ended.load(Ordering::SeqCst) {
                    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Not: {not}\r\n\r\n"));
                    let answer = client.answer();
                    // Under the routes and the policy of one name, nobody gets the body that he may not have.
                    if !matches!((answer.status, answer.text() != not), (403, _) | (200, true)) {
                        wrong.lock().unwrap().insert(format!("{} {}", answer.status, answer.text()));
                    }
                    seen.lock().unwrap().insert(format!("{not} {}", answer.status));
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for name in ["two", "one"].into_iter().cycle().take(300) {
            gateway.apply(&named(name));
        }
        let before = asked.load(Ordering::SeqCst);
        until("requests after the last change", || asked.load(Ordering::SeqCst) > before + 100);
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!(*wrong.lock().unwrap(), BTreeSet::new());
    assert_eq!(seen.lock().unwrap().len(), 4, "each answer was seen: {seen:?}");
}

/// A request that waits for a service is decided by the configuration that it began with.
#[test]
fn ap_13_a_request_that_waits_keeps_its_configuration() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let service = Backend::start(move |side| {
        side.request();
        // Until the test has changed the configuration.
        wait.lock().unwrap().recv().unwrap();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let check = || ExternalAuthorization::Check(Box::new(check(by_http())));
    let setup = |name| named(name).cluster("authz", &[service.address]).checked(check());
    let gateway = Gateway::serving(&setup("one"));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Not: one\r\n\r\n");
    until("the check", || service.seen().len() == 1);
    // The change takes effect although the request waits.
    gateway.apply(&named("two"));
    assert_eq!(gateway.client().get("/").answer().text(), "two");
    assert_eq!(gateway.client().send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Not: two\r\n\r\n").answer().status, 403);
    go.send(()).unwrap();
    assert_eq!(client.answer().status, 403, "by the policy that came with the service");
}
