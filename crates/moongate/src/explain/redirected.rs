//! Clients that do not know of the gateway, whose connections the network sends to it: what they are taken for, and what they receive, as the data
//! plane has it (`dataplane::entry`).

use super::answer::{Begins, Original, Outcome, Question};
use routing::forward::implied_host;

/// Why no server takes such a client.
pub(super) fn no_server() -> Outcome {
    let reason =
        "no Gateway has the annotation `moongate.dev/original-destination`, so that no server takes such connections";
    Outcome::Closed { reason: reason.to_owned() }
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
