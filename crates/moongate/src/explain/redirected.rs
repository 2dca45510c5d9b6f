//! Redirected connections, which the network sends to a transparent proxy: the server that receives them, what they are taken for, and what their
//! clients receive, as in the data plane (`dataplane::entry`).

use super::answer::{Begins, Original, Outcome, Question};
use super::arrival::Served;
use anyhow::{Result, bail};
use routing::forward::implied_host;

/// Why no server takes such a client.
pub(super) fn no_server() -> Outcome {
    let reason = "no Gateway has the annotation `moongate.dev/original-destination`, so that no server takes redirected connections";
    Outcome::Closed { reason: reason.to_owned() }
}

/// The server that receives redirected connections: the one with this port, if there is a port; `None` if there is no such server. An error if the port
/// is none of theirs, or is missing where there are several.
pub(super) fn server(listeners: &[Served], port: Option<u16>) -> Result<Option<&Served>> {
    let all: Vec<&Served> = listeners.iter().filter(|served| served.listener.original_destination.is_some()).collect();
    let ports = || {
        let ports: Vec<String> = all.iter().map(|served| served.listener.server_port.to_string()).collect();
        ports.join(", ")
    };
    let of_port = |port: u16| all.iter().copied().find(|served| served.listener.server_port == port);
    match (port, &all[..]) {
        (_, []) => Ok(None),
        (None, [served]) => Ok(Some(*served)),
        (None, _) => bail!(
            "several servers take redirected connections: add `--redirected-to` with one of their ports ({})",
            ports()
        ),
        (Some(port), _) => match of_port(port) {
            Some(served) => Ok(Some(served)),
            None => bail!("no server takes redirected connections on port {port}; those that do have: {}", ports()),
        },
    }
}

/// The request that a connection is taken for. Of `question`, `tls` has the server name of a client that begins with TLS, and the rest is the request
/// of one in clear text. The error is what becomes of a connection that is taken for none.
pub(super) fn taken_for(original: &Original, question: &Question) -> Result<Question, Outcome> {
    let (address, port) = (original.address.ip().to_canonical(), original.address.port());
    if original.begins == Begins::Http {
        return Ok(Question { port, tls: None, ..question.clone() });
    }
    let hello = question.tls.as_ref().filter(|_| original.begins == Begins::Tls);
    let Some(host) = implied_host(hello.and_then(|hello| hello.sni.as_deref()), address) else {
        let reason = "the server name is not the name of a destination".to_owned();
        return Err(Outcome::Closed { reason });
    };
    let authority = format!("{host}:{port}");
    Ok(Question {
        port,
        method: "CONNECT".to_owned(),
        target: authority.clone(),
        headers: vec![("host".to_owned(), authority)],
        body: false,
        tls: None,
        ..question.clone()
    })
}

/// What the client receives: one that has not sent the request gets no response to it.
pub(super) fn as_received(outcome: Outcome, begins: Begins) -> Outcome {
    let Outcome::Answered { status, detail, body, .. } = &outcome else { return outcome };
    let why = body.as_deref().map_or_else(String::new, |body| format!(": {}", body.trim_end()));
    match begins {
        Begins::Http => outcome,
        Begins::Tls => Outcome::NoHandshake { reason: format!("the alert access_denied, for {status} {detail}{why}") },
        Begins::Other => Outcome::Closed { reason: format!("for {status} {detail}{why}") },
    }
}

/// The connection, for people.
pub(super) fn text(original: &Original, question: &Question) -> String {
    let address = original.address;
    match (original.begins, question.tls.as_ref().and_then(|hello| hello.sni.as_deref())) {
        (Begins::Tls, Some(sni)) => format!("TLS to {address} with the server name {sni}, taken for:"),
        (Begins::Tls, None) => format!("TLS to {address} without a server name, taken for:"),
        (Begins::Http, _) => format!("HTTP to {address}:"),
        (Begins::Other, _) => format!("a connection to {address}, taken for:"),
    }
}
