//! AP-13, RA-06: which request a route is picked by, that of the client or the one that a service for authorization has changed.

use crate::backend::Backend;
use crate::ext_authz::{by_http, check};
use crate::gateway::{Gateway, Setup, forward};
use crate::tokens::{Signer, accepting_as_is, jwks, with_token};
use ir::policy::{ExternalAuthorization, ExternalCheck, KeySource};

const ALLOW: &str = "HTTP/1.1 200 OK\r\nX-User: alice\r\nContent-Length: 0\r\n\r\n";

fn named(name: &str) -> Backend {
    Backend::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}

#[test]
fn ap_13_the_route_is_that_of_the_client_unless_the_provider_clears_it() {
    let (service, anyone, alice) = (Backend::answering(ALLOW), named("anyone"), named("alice"));
    let setup = |clear_route_cache| {
        let check = ExternalCheck { clear_route_cache, ..check(by_http()) };
        Setup::default()
            .host("*", forward("anyone", None))
            .where_header("x-user", "alice", "alice")
            .cluster("anyone", &[anyone.address])
            .cluster("alice", &[alice.address])
            .cluster("authz", &[service.address])
            .checked(ExternalAuthorization::Check(Box::new(check)))
    };
    let gateway = Gateway::serving(&setup(false));
    let mut client = gateway.client();
    let asked = |client: &mut crate::client::Client, user: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-User: {user}\r\n\r\n"));
        client.answer().text().to_owned()
    };
    assert_eq!(client.get("/").answer().text(), "anyone");
    // What the client says picks the route; the backend gets what the service says.
    assert_eq!((asked(&mut client, "alice"), asked(&mut client, "bob")), ("alice".to_owned(), "anyone".to_owned()));
    assert!(anyone.seen().iter().all(|head| head.contains("x-user: alice\r\n") && !head.contains("bob")));
    gateway.apply(&setup(true));
    assert_eq!((asked(&mut client, "bob"), client.get("/").answer().text()), ("alice".to_owned(), "alice"));
}

#[test]
fn ap_13_a_request_without_a_route_stays_so_unless_the_provider_clears_it() {
    let (service, alice) = (Backend::answering(ALLOW), named("alice"));
    let setup = |clear_route_cache| {
        let check = ExternalCheck { clear_route_cache, ..check(by_http()) };
        Setup::default()
            .host("*", forward("alice", None))
            .only_where_header("x-user", "alice")
            .cluster("alice", &[alice.address])
            .cluster("authz", &[service.address])
            .checked(ExternalAuthorization::Check(Box::new(check)))
    };
    let gateway = Gateway::serving(&setup(false));
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 404);
    gateway.apply(&setup(true));
    assert_eq!(client.get("/").answer().text(), "alice");
}

/// As in Istio, a verified token has the route picked anew, by the head as it is then.
#[test]
fn ra_06_a_verified_token_has_the_route_picked_anew() {
    let (service, anyone, alice) = (Backend::answering(ALLOW), named("anyone"), named("alice"));
    let signer = Signer::new("a");
    let setup = Setup::default()
        .host("*", forward("anyone", None))
        .where_header("x-user", "alice", "alice")
        .cluster("anyone", &[anyone.address])
        .cluster("alice", &[alice.address])
        .cluster("authz", &[service.address])
        .checked(ExternalAuthorization::Check(Box::new(check(by_http()))))
        .authentication(accepting_as_is(KeySource::Inline(jwks(&[&signer]).into())));
    let gateway = Gateway::serving(&setup);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().text(), "anyone");
    assert_eq!(client.send(with_token(&signer.token("bob"))).answer().text(), "alice");
}
