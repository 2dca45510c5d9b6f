//! External authorization in `explain` (AP-13): which service would be asked, with what, and what follows from a failure. Nobody is asked: the
//! answer goes on as if the service allowed the request and changed nothing.

use super::answer::{Answer, CheckAnswer, Outcome, Question};
use super::authorization::{denied, judged};
use crate::words;
use ir::policy::{CheckBody, CheckProtocol, ExternalAuthorization, ExternalCheck, RuleList};
use routing::RequestContext;
use routing::authorization::AccessFacts;
use routing::ext_authz::{CheckedConnection, CheckedRequest, DENY_ALL, http};
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;
use wire::h1::{BodyLength, write_request};

/// A request that a service may be asked about.
pub(super) struct Sent<'a> {
    pub(super) question: &'a Question,
    pub(super) context: &'a RequestContext<'a>,
    pub(super) facts: &'a AccessFacts<'a>,
}

/// The response to a request if no service can be asked; else the answer says whether and how one is.
pub(super) fn request(external: &ExternalAuthorization, sent: &Sent<'_>, answer: &mut Answer) -> Option<Outcome> {
    let check = match external {
        ExternalAuthorization::DenyAll => return Some(denied(DENY_ALL.to_owned())),
        ExternalAuthorization::Check(check) => check,
    };
    if concerns(&check.rules, sent.facts, answer) {
        answer.check = Some(of_request(check, sent));
    }
    None
}

/// The same for a connection whose bytes are passed on.
pub(super) fn bytes(external: &ExternalAuthorization, facts: &AccessFacts<'_>, answer: &mut Answer) -> Option<Outcome> {
    let check = match external {
        ExternalAuthorization::DenyAll => return Some(Outcome::Closed { reason: DENY_ALL.to_owned() }),
        ExternalAuthorization::Check(check) => check,
    };
    if let Some(rules) = &check.connections
        && concerns(rules, facts, answer)
    {
        let sent = vec!["the addresses, the certificate's name and the server name of the connection".to_owned()];
        let on_failure = if check.fail_open { "the connection passes" } else { "the connection is closed" };
        answer.check = Some(CheckAnswer { sent, on_failure: on_failure.to_owned(), ..asked(check) });
    }
    None
}

/// Whether a rule is for it; the answer gets every rule.
fn concerns(rules: &RuleList, facts: &AccessFacts<'_>, answer: &mut Answer) -> bool {
    let judged: Vec<_> = rules.iter().map(|rule| judged("CUSTOM", rule, facts)).collect();
    let is_concerned = judged.iter().any(|rule| rule.lost.is_none());
    answer.policies.extend(judged);
    is_concerned
}

fn asked(check: &ExternalCheck) -> CheckAnswer {
    CheckAnswer {
        provider: check.provider.to_string(),
        cluster: check.cluster.to_string(),
        protocol: match check.protocol {
            CheckProtocol::Grpc => "gRPC",
            CheckProtocol::Http(_) => "HTTP",
        },
        timeout: words::time(check.timeout),
        sent: Vec::new(),
        on_failure: String::new(),
    }
}

fn of_request(check: &ExternalCheck, sent: &Sent<'_>) -> CheckAnswer {
    let mut lines = match &check.protocol {
        CheckProtocol::Grpc => vec!["the method, the host, the path with the query, and all headers".to_owned()],
        CheckProtocol::Http(options) => head_of(options, sent),
    };
    if let Some(body) = check.body.filter(|_| sent.context.request.body != BodyLength::None) {
        lines.push(body_of(body));
    }
    let on_failure = match check.fail_open {
        true => "the request passes".to_owned(),
        false => format!("the client gets {}", check.status_on_error),
    };
    CheckAnswer { sent: lines, on_failure, ..asked(check) }
}

fn body_of(body: CheckBody) -> String {
    let CheckBody { octets, partial, .. } = body;
    match partial {
        true => format!("the first {octets} octets of the body"),
        false => format!("the body; one of more than {octets} octets gets 413"),
    }
}

/// The head of the request to a service in HTTP, from the function that makes it for live requests.
fn head_of(options: &ir::policy::HttpCheck, sent: &Sent<'_>) -> Vec<String> {
    let Sent { question, facts, .. } = *sent;
    let Some(view) = facts.view else { return Vec::new() };
    let request = CheckedRequest {
        connection: CheckedConnection {
            source: SocketAddr::new(question.from, 0),
            destination: None,
            source_principal: facts.connection.identity.first().map_or("", |name| name),
            destination_principal: "",
            sni: question.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
        },
        view,
        edits: facts.edits,
        protocol: "HTTP/1.1",
        id: "",
        time: UNIX_EPOCH,
        size: None,
        body: None,
    };
    let check = http::check(options, &request);
    let (parts, edits) = check.head();
    let mut head = Vec::new();
    write_request(&mut head, &parts, &edits);
    let lines = String::from_utf8_lossy(&head).into_owned();
    lines.lines().filter(|line| !line.is_empty() && !line.starts_with("content-length:")).map(str::to_owned).collect()
}
