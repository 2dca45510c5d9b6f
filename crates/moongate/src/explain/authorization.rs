//! The AuthorizationPolicies of a workload, in their order, with the first condition that does not hold.

use super::answer::{Answer, Outcome, PolicyAnswer, Question};
use ir::Listener;
use ir::policy::{ActionRules, Authorization, AuthorizationRule, Demand, HeaderOf};
use routing::authorization::{AccessFacts, ActionIndex, ConnectionAccess, PolicyDecision, RuleMismatch, judge};
use std::net::{IpAddr, Ipv4Addr};

/// The facts of the connection that a question is about. `identity` are the names that the client's certificate is to have.
pub(super) fn connection<'a>(
    question: &'a Question,
    listener: &Listener,
    destination: Option<IpAddr>,
    identity: &'a [Box<str>],
) -> ConnectionAccess<'a> {
    let bound = listener.id.address.ip().to_canonical();
    // Of a listener on every address it is not known which one the client uses, but for clients on this machine.
    let own = if bound.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { bound };
    ConnectionAccess {
        source: question.from.to_canonical(),
        destination: destination.unwrap_or(own),
        port: listener.policy_port,
        server_name: question.tls.as_ref().and_then(|tls| tls.sni.as_deref()).unwrap_or_default(),
        identity,
    }
}

/// The decision on a request; `None` if it is allowed. The answer gets every rule.
pub(super) fn request(policies: &Authorization, facts: &AccessFacts<'_>, answer: &mut Answer) -> Option<Outcome> {
    decide(&policies.requests, facts, answer).map(denied)
}

/// The response to a request that policies do not allow.
pub(super) fn denied(detail: String) -> Outcome {
    let (location, grpc, headers) = (None, None, Vec::new());
    let body = Some("RBAC: access denied".to_owned());
    Outcome::Answered { status: 403, grpc, detail, location, headers, body }
}

/// The decision on a connection whose bytes are passed on.
pub(super) fn bytes(policies: &Authorization, facts: &AccessFacts<'_>, answer: &mut Answer) -> Option<Outcome> {
    let reason = decide(&policies.connections, facts, answer)?;
    Some(Outcome::Closed { reason })
}

fn decide(rules: &ActionRules, facts: &AccessFacts<'_>, answer: &mut Answer) -> Option<String> {
    let lists = [
        ("AUDIT", &rules.audit),
        ("DENY", &rules.deny),
        ("ALLOW", &rules.allow),
        ("DENY (dry run)", &rules.dry_run_deny),
        ("ALLOW (dry run)", &rules.dry_run_allow),
    ];
    for (action, list) in lists {
        for rule in list.iter().flat_map(|rules| rules.iter()) {
            answer.policies.push(judged(action, rule, facts));
        }
    }
    let index = ActionIndex::build(rules);
    let decision = index.decide(facts).decision;
    (decision != PolicyDecision::Allowed).then(|| decision.detail())
}

/// Whether a rule matches, or the first condition that does not hold.
pub(super) fn judged(action: &'static str, rule: &AuthorizationRule, facts: &AccessFacts<'_>) -> PolicyAnswer {
    let lost = match judge(rule, facts) {
        Ok(()) => None,
        Err(RuleMismatch::Never) => Some("the rule never matches".to_owned()),
        Err(RuleMismatch::Condition(condition)) => {
            let not = if condition.negated { "is excepted" } else { "does not match" };
            Some(format!("{}: {} {not}", condition.field, subject(&condition.demand, facts)))
        }
    };
    PolicyAnswer { action, origin: rule.origin.clone(), lost }
}

/// What a condition looks at, with what the request has.
fn subject(demand: &Demand, facts: &AccessFacts<'_>) -> String {
    let ConnectionAccess { source, destination, port, server_name, identity } = facts.connection;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of_view = |part: &dyn Fn(&wire::view::RequestView<'_>) -> String| facts.view.map(part).unwrap_or_default();
    match demand {
        Demand::SourceIp(_) => format!("the peer's address {source}"),
        Demand::RemoteIp(_) => format!("the client's address {}", facts.remote),
        Demand::DestinationIp(_) => format!("the address {destination}"),
        Demand::Port(_) => format!("the port {port}"),
        Demand::ServerName(_) if server_name.is_empty() => "the missing server name".to_owned(),
        Demand::ServerName(_) => format!("the server name {server_name}"),
        Demand::Identity(_) if identity.is_empty() => "a client without a certificate".to_owned(),
        Demand::Identity(_) => format!("the identity {}", identity.join(", ")),
        Demand::Host(_) => format!("the host {}", of_view(&|view| lossy(view.authority))),
        Demand::Method(_) => format!("the method {}", of_view(&|view| lossy(view.method))),
        Demand::Path(_) => format!("the path {}", of_view(&|view| lossy(view.path))),
        Demand::Header { name: HeaderOf::Name(name), .. } => {
            let values: Vec<String> = facts.view.into_iter().flat_map(|view| view.values(name)).map(lossy).collect();
            match values.is_empty() {
                true => format!("a request without `{name}`"),
                false => format!("`{name}: {}`", values.join("`, `")),
            }
        }
        Demand::Header { .. } => "the head of the request".to_owned(),
        Demand::RequestPrincipal(_) | Demand::Claim { .. } => {
            match facts.claims.and_then(|claims| claims.principal()) {
                Some(principal) => format!("the token of {principal}"),
                None => "a request without a valid token".to_owned(),
            }
        }
        Demand::Unknown => "the attribute of a filter that does not exist here".to_owned(),
    }
}
