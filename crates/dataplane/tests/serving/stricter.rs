//! Connections of a TLS server whose rules for clients became stricter (S-97).

use crate::certificates::{Authority, shake};
use crate::gateway::{Gateway, Setup, respond};
use crate::streams::{ask, begin, get, run};
use ir::{ClientAuth, Termination, TlsParameters, TlsVersion, Trust};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Sends a request on a connection, and returns what is received before the connection ends.
async fn ask_again(stream: &mut TlsStream<TcpStream>) -> String {
    let mut answer = vec![0; 1024];
    // The gateway may have closed the connection already.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Rules for clients before and after a change, and whether connections of before may go on.
fn changes(authority: &Authority) -> Vec<(&'static str, Termination, Termination, bool)> {
    let server = authority.sign(&["a.test"]);
    let with = |client: ClientAuth| server.termination(client);
    let required = |names: &[&str]| ClientAuth::Required(authority.trust(names));
    let other = ClientAuth::Required(Authority::new().trust(&[]));
    let pinned = |pin: u8| {
        ClientAuth::Required(Arc::new(Trust { certificate_pins: vec![[pin; 32]], ..(*authority.trust(&[])).clone() }))
    };
    let lowest = |lowest: TlsVersion| Termination {
        parameters: TlsParameters { lowest, ..TlsParameters::default() },
        ..with(ClientAuth::None)
    };
    vec![
        ("mode", with(ClientAuth::None), with(required(&[])), false),
        ("optional", with(ClientAuth::Optional(authority.trust(&[]))), with(required(&[])), false),
        ("authority", with(required(&[])), with(other), false),
        ("name", with(required(&[])), with(required(&["other.test"])), false),
        ("pin", with(required(&[])), with(pinned(1)), false),
        ("version", lowest(TlsVersion::V1_2), lowest(TlsVersion::V1_3), false),
        ("certificate", with(required(&[])), authority.sign(&["a.test"]).termination(required(&[])), true),
        ("less", with(required(&["client.test"])), with(required(&[])), true),
    ]
}

/// A request that arrives after the rules for clients became stricter gets no response on a connection that was accepted by the earlier rules.
#[test]
fn connections_of_a_server_that_became_stricter_accept_no_request() {
    let authority = Authority::new();
    let client = authority.sign(&["client.test"]);
    for (what, before, after, goes_on) in changes(&authority) {
        let setup = |termination: &Termination| {
            Setup::default().host("*", respond(200, "ok")).tls(&["a.test"], Some(termination.clone()))
        };
        let gateway = Gateway::serving(&setup(&before));
        let address = gateway.addresses()[0];
        let rotated = Termination {
            credential: authority.sign(&["a.test"]).termination(ClientAuth::None).credential,
            ..before.clone()
        };
        run(async {
            let mut first = shake(address, "a.test", Some(&client), &["http/1.1"]).await.unwrap();
            assert!(ask_again(&mut first).await.starts_with("HTTP/1.1 200"), "{what}");
            // An intermediate version of the server changes nothing.
            gateway.apply(&setup(&rotated));
            let mut second = shake(address, "a.test", Some(&client), &["http/1.1"]).await.unwrap();
            assert!(ask_again(&mut second).await.starts_with("HTTP/1.1 200"), "{what}");
            let mut streams = begin(shake(address, "a.test", Some(&client), &["h2"]).await.unwrap()).await;
            assert_eq!(ask(&mut streams, get("/"), b"", None).await.unwrap().status, 200, "{what}");
            // A request of which the gateway has the first half when the change comes.
            let mut half = shake(address, "a.test", Some(&client), &["http/1.1"]).await.unwrap();
            assert!(ask_again(&mut half).await.starts_with("HTTP/1.1 200"), "{what}");
            half.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
            gateway.apply(&setup(&after));
            for stream in [&mut first, &mut second] {
                assert_eq!(!ask_again(stream).await.is_empty(), goes_on, "{what}");
            }
            let _ = half.write_all(b"a.test\r\n\r\n").await;
            let mut answer = [0; 64];
            assert_eq!(half.read(&mut answer).await.is_ok_and(|read| read > 0), goes_on, "{what}: half a request");
            // Changed rules drain a connection, even if they demand less.
            let stream = ask(&mut streams, get("/"), b"", None).await.is_ok();
            assert_eq!(stream, goes_on && what != "less", "{what}: a stream");
        });
    }
}

/// A server is added for a name: it applies to connections with this name that were accepted by another server.
#[test]
fn a_stricter_server_for_a_name_takes_it_from_connections_of_another() {
    let authority = Authority::new();
    let (wild, admin) = (authority.sign(&["*"]), authority.sign(&["a.test"]));
    let setup = Setup::default().host("*", respond(200, "ok"));
    let setup = setup.tls(&["*"], Some(wild.termination(ClientAuth::None)));
    let gateway = Gateway::serving(&setup.clone());
    let address = gateway.addresses()[0];
    run(async {
        let mut own = shake(address, "a.test", None, &["http/1.1"]).await.unwrap();
        let mut other = shake(address, "b.test", None, &["http/1.1"]).await.unwrap();
        for stream in [&mut own, &mut other] {
            assert!(ask_again(stream).await.starts_with("HTTP/1.1 200"));
        }
        let required = ClientAuth::Required(authority.trust(&[]));
        gateway.apply(&setup.tls(&["a.test"], Some(admin.termination(required))));
        assert_eq!(ask_again(&mut own).await, "");
        // The connection stays open, but the host belongs to another server now.
        assert!(ask_again(&mut other).await.starts_with("HTTP/1.1 421"));
    });
}
