//! AP-13: external authorization of connections whose bytes are passed on, with the service in Python on Envoy's published definitions.

use crate::backend::Backend;
use crate::certificates::{Authority, Signed, shake};
use crate::client::Client;
use crate::ext_authz::{Service, by_http, check, rule};
use crate::gateway::{Gateway, Setup};
use crate::observe::Lines;
use crate::streams;
use dataplane::Limits;
use ir::policy::{CheckProtocol, Condition, Demand, ExternalAuthorization, ExternalCheck, TextMatch};
use ir::{ClientAuth, LogFormat};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::ports::refusing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A service that is asked about every connection.
fn every(timeout: Duration) -> ExternalCheck {
    let rules = Some(Arc::new([Arc::new(rule(Vec::new()))]) as Arc<_>);
    ExternalCheck { connections: rules, timeout, ..check(CheckProtocol::Grpc) }
}

fn long() -> Duration {
    crate::gateway::TIMEOUT
}

fn checked(setup: Setup, service: SocketAddr, check: ExternalCheck) -> Setup {
    let http2 = check.protocol == CheckProtocol::Grpc;
    let setup = setup.cluster("authz", &[service]).checked(ExternalAuthorization::Check(Box::new(check)));
    if http2 { setup.http2("authz") } else { setup }
}

fn speaking() -> Backend {
    Backend::start(|side| {
        side.send("first");
        while side.more().is_some() {
            let taken = side.taken();
            side.send(taken);
        }
    })
}

/// What a client gets for `ping`: `first` and `ping`, or nothing.
fn exchanged(gateway: &Gateway) -> Vec<u8> {
    let mut client = Client::connect(gateway.addresses()[0]);
    // The gateway may have closed.
    let _ = client.send("ping").stream.shutdown(std::net::Shutdown::Write);
    client.rest()
}

#[test]
fn ap_13_a_connection_in_clear_text_is_checked_before_anything_passes() {
    let Some(service) = Service::start(&[]) else { return };
    let backend = speaking();
    let plain = || Setup::default().tcp("c").cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&checked(plain(), service.1, every(long())));
    assert_eq!(exchanged(&gateway), b"firstping");
    // Where no rule is for the connection, nobody is asked.
    let demand = Demand::Port(vec![81]);
    let other = Condition { field: "rules[0].to[0].operation.ports".into(), negated: false, demand };
    let rules = Some(Arc::new([Arc::new(rule(vec![other]))]) as Arc<_>);
    gateway.apply(&checked(plain(), refusing(), ExternalCheck { connections: rules, ..every(long()) }));
    assert_eq!(exchanged(&gateway), b"firstping");
    // A service in HTTP is not asked, as in Istio.
    gateway.apply(&checked(plain(), refusing(), check(by_http())));
    assert_eq!(exchanged(&gateway), b"firstping");
    assert_eq!(backend.connections(), 3);
    gateway.has_counted("moongate_ext_authz_allowed_total 1");
}

#[test]
fn ap_13_without_a_decision_a_connection_is_closed_unless_the_provider_opens() {
    let backend = speaking();
    let plain = || Setup::default().tcp("c").cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&checked(plain(), refusing(), every(long())));
    assert_eq!(exchanged(&gateway), b"");
    gateway.apply(&plain().checked(ExternalAuthorization::DenyAll));
    assert_eq!(exchanged(&gateway), b"");
    // The cluster does not exist.
    gateway.apply(&plain().checked(ExternalAuthorization::Check(Box::new(every(long())))));
    assert_eq!(exchanged(&gateway), b"");
    // The service accepts and never answers.
    let silent = Backend::start(|side| while side.more().is_some() {});
    gateway.apply(&checked(plain(), silent.address, every(Duration::from_millis(100))));
    assert_eq!(exchanged(&gateway), b"");
    assert_eq!(backend.connections(), 0);
    gateway.apply(&checked(plain(), refusing(), ExternalCheck { fail_open: true, ..every(long()) }));
    assert_eq!(exchanged(&gateway), b"firstping");
}

/// What a client gets for `ping` over TLS.
fn over_tls(gateway: &Gateway, sni: &str, client: Option<&Signed>) -> Vec<u8> {
    let address = gateway.addresses()[0];
    streams::run(async {
        let Ok(mut stream) = shake(address, sni, client, &[]).await else { return Vec::new() };
        let mut found = Vec::new();
        let _ = stream.write_all(b"ping").await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut found).await;
        found
    })
}

#[test]
fn ap_13_the_server_name_and_the_certificate_of_a_client_reach_the_service() {
    let Some(service) = Service::start(&[]) else { return };
    let authority = Authority::new();
    let (server, client) = (authority.sign(&["a.test"]), authority.sign(&["client.test"]));
    let backend = speaking();
    let auth = ClientAuth::Optional(authority.trust(&[]));
    let names = ["allow.test", "deny.test", "broken.test", "slow.test", "seen.test"];
    let setup = Setup::default().tls_tcp(&names, Some(server.termination(auth)), "c").cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&checked(setup.clone(), service.1, every(Duration::from_secs(5))));
    let found = names.map(|name| over_tls(&gateway, name, Some(&client)));
    assert_eq!(found, [&b"firstping"[..], b"", b"", b"", b"firstping"]);
    // The principal is that of the certificate.
    assert_eq!(over_tls(&gateway, "seen.test", None), b"");
    assert_eq!(backend.connections(), 2);
    for line in [
        "moongate_ext_authz_allowed_total 2",
        "moongate_ext_authz_denied_total 2",
        "moongate_ext_authz_failures_total 2",
    ] {
        gateway.has_counted(line);
    }
    // TLS that is passed through has a server name, too.
    let through = Setup::default().tls_tcp(&names, None, "c").cluster("c", &[backend.address]);
    gateway.apply(&checked(through, service.1, every(long())));
    let hello = |sni: &str| {
        let address = gateway.addresses()[0];
        streams::run(async { shake(address, sni, None, &[]).await.is_ok() })
    };
    // The backend is no TLS server: the handshake fails, but the connection reaches it where it is allowed.
    let before = backend.connections();
    assert!(!hello("deny.test"));
    assert_eq!(backend.connections(), before);
    assert!(!hello("allow.test"));
    assert_eq!(backend.connections(), before + 1);
}

#[test]
fn ap_13_a_rule_by_server_name_checks_its_connections_alone() {
    let service = refusing();
    let authority = Authority::new();
    let server = authority.sign(&["a.test"]);
    let backend = speaking();
    let demand = Demand::ServerName(vec![TextMatch::parse("admin.test")]);
    let admin = Condition { field: "rules[0].when[0]".into(), negated: false, demand };
    let rules = Some(Arc::new([Arc::new(rule(vec![admin]))]) as Arc<_>);
    let names = ["admin.test", "user.test"];
    let setup = Setup::default()
        .tls_tcp(&names, Some(server.termination(ClientAuth::None)), "c")
        .cluster("c", &[backend.address]);
    let gateway = Gateway::serving(&checked(setup, service, ExternalCheck { connections: rules, ..every(long()) }));
    assert_eq!(names.map(|name| over_tls(&gateway, name, None)), [&b""[..], b"firstping"]);
}

#[test]
fn ap_13_the_access_log_says_why_a_connection_was_closed() {
    let backend = speaking();
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), LogFormat::istio_text())));
    let plain = || Setup::default().tcp("c").cluster("c", &[backend.address]);
    gateway.apply(&checked(plain(), refusing(), every(long())));
    assert_eq!(exchanged(&gateway), b"");
    gateway.apply(&plain().checked(ExternalAuthorization::DenyAll));
    assert_eq!(exchanged(&gateway), b"");
    let lines = lines.get(2);
    let denied = r#""- - -" 0 - - rbac_access_denied_matched_policy[default-deny-all-due-to-bad-CUSTOM-action] "#;
    for (line, told) in lines.iter().zip([r#""- - -" 0 UAEX ext_authz_error - "#, denied]) {
        assert!(line.contains(told), "{line}");
    }
}
