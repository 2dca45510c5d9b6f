//! What is probably not meant in the rules of an AuthorizationPolicy.

use super::authorization::PolicyRules;
use crate::code;
use crate::report::Notes;
use ir::policy::{AuthorizationRule, Condition, Demand, PathMatch, TextMatch};
use resources::spec::security::AuthorizationAction;

/// Finds what to say about the rules. `tcp`: they also apply to servers whose bytes are passed on.
pub(super) fn of_rules(rules: &PolicyRules, tcp: bool, notes: &mut Notes) {
    let is_allow = rules.action == AuthorizationAction::Allow;
    for rule in &rules.requests {
        for condition in rule.conditions() {
            // What a request escapes by not matching: a value that is denied, or one that is excepted from what is allowed.
            let escapes = match rules.action {
                AuthorizationAction::Allow => condition.negated,
                AuthorizationAction::Deny => !condition.negated,
                AuthorizationAction::Audit | AuthorizationAction::Custom => false,
            };
            match &condition.demand {
                Demand::Host(values) if escapes => ports(condition, values, notes),
                Demand::Path(values) if escapes => slashes(condition, values, notes),
                Demand::Unknown if !condition.negated => {
                    let message = "no request has the attribute of an Envoy filter, so that the rule never matches";
                    let help = "use another attribute: Envoy's filters do not exist here";
                    notes.add_with_help(code::RULE_NEVER_MATCHES, field(condition), message, help);
                }
                _ => {}
            }
        }
        if tcp && rule.is_of_http() {
            on_tcp(rule, is_allow, notes);
        }
    }
}

fn field(condition: &Condition) -> String {
    format!("spec.{}", condition.field)
}

/// AP-06: a host with a port is another text, and routes do not look at the port.
fn ports(condition: &Condition, values: &[TextMatch], notes: &mut Notes) {
    let has = |wanted: &str| {
        values.iter().any(|value| match value {
            TextMatch::Any => true,
            TextMatch::Prefix(prefix) => {
                wanted.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            }
            TextMatch::Exact(_) | TextMatch::Suffix(_) => false,
        })
    };
    for value in values {
        let (host, help) = match value {
            TextMatch::Exact(host) if !host.contains(':') && !has(&format!("{host}:")) => {
                (host.to_string(), format!("add `{host}:*`"))
            }
            TextMatch::Suffix(suffix) if !suffix.contains(':') && !values.contains(&TextMatch::Any) => {
                (format!("*{suffix}"), "list the hosts, each also as `host:*`".to_owned())
            }
            _ => continue,
        };
        let message =
            format!("`{host}` does not match a `Host` with a port, such as `{host}:8080`, which is routed alike");
        notes.add_with_help(code::HOST_WITHOUT_PORT, field(condition), message, help);
    }
}

/// AP-06: a path with a trailing slash is another text, and backends often treat both alike.
fn slashes(condition: &Condition, values: &[PathMatch], notes: &mut Notes) {
    for value in values {
        let PathMatch::Text(TextMatch::Exact(path)) = value else { continue };
        let slashed = format!("{path}/");
        if path.ends_with('/') || values.iter().any(|other| other.is_match(slashed.as_bytes())) {
            continue;
        }
        let message = format!("`{path}` does not match `{slashed}` and paths below it");
        notes.add_with_help(code::PATH_WITHOUT_SLASH, field(condition), message, format!("add `{slashed}*`"));
    }
}

/// AP-11.
fn on_tcp(rule: &AuthorizationRule, is_allow: bool, notes: &mut Notes) {
    let message = if is_allow {
        "the rule has conditions on HTTP, so that it allows no connection to the TCP and passthrough servers"
    } else {
        "the conditions on HTTP are ignored for the TCP and passthrough servers: the rule covers more connections"
    };
    let help = "limit the rule with `ports`, or select a workload without such servers";
    notes.add_with_help(code::HTTP_RULE_ON_TCP, format!("spec.{}", rule.origin.rule), message, help);
}
