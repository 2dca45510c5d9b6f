//! Whether one rule matches (AP-05): the function that live requests and `explain` share.

use super::facts::AccessFacts;
use ir::IpRange;
use ir::policy::{AuthorizationRule, Condition, Demand, HeaderOf, TextMatch};
use std::net::IpAddr;

/// Why a rule does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleMismatch<'r> {
    /// The first condition that does not hold; of alternatives, that of the first.
    Condition(&'r Condition),
    /// The rule has no alternatives, and never matches (AP-04).
    Never,
}

/// Judges a rule.
pub fn judge<'r>(rule: &'r AuthorizationRule, facts: &AccessFacts<'_>) -> Result<(), RuleMismatch<'r>> {
    one_of(&rule.from, facts)?;
    one_of(&rule.to, facts)?;
    all_of(&rule.when, facts)
}

fn one_of<'r>(alternatives: &'r [Vec<Condition>], facts: &AccessFacts<'_>) -> Result<(), RuleMismatch<'r>> {
    let mut first = Err(RuleMismatch::Never);
    for (at, conditions) in alternatives.iter().enumerate() {
        match all_of(conditions, facts) {
            Ok(()) => return Ok(()),
            Err(unmet) if at == 0 => first = Err(unmet),
            Err(_) => {}
        }
    }
    first
}

fn all_of<'r>(conditions: &'r [Condition], facts: &AccessFacts<'_>) -> Result<(), RuleMismatch<'r>> {
    match conditions.iter().find(|condition| has_value(&condition.demand, facts) == condition.negated) {
        Some(unmet) => Err(RuleMismatch::Condition(unmet)),
        None => Ok(()),
    }
}

/// Whether one of the values matches.
fn has_value(demand: &Demand, facts: &AccessFacts<'_>) -> bool {
    let connection = &facts.connection;
    match demand {
        Demand::SourceIp(ranges) => contain(ranges, connection.source),
        Demand::RemoteIp(ranges) => contain(ranges, facts.remote),
        Demand::DestinationIp(ranges) => contain(ranges, connection.destination),
        Demand::Port(ports) => ports.contains(&connection.port),
        Demand::ServerName(values) => any(values, connection.server_name.as_bytes()),
        Demand::Identity(values) => {
            connection.identity.iter().any(|name| values.iter().any(|value| value.is_match(name)))
        }
        Demand::Host(values) => facts.view.is_some_and(|view| {
            values.iter().any(|value| *value == TextMatch::Any || value.is_match_in_any_case(view.authority))
        }),
        Demand::Method(values) => facts.view.is_some_and(|view| is_present_or(values, view.method)),
        Demand::Path(values) => facts.view.is_some_and(|view| values.iter().any(|value| value.is_match(view.path))),
        Demand::Header { name, values, is_list, allows } => {
            HeaderDemand { name, values, is_list: *is_list, allows: *allows }.is_met(facts)
        }
        Demand::RequestPrincipal(values) => facts.claims.is_some_and(|claims| {
            let (Some(issuer), Some(subject)) = (claims.issuer(), claims.subject()) else { return false };
            values
                .iter()
                .any(|value| value.issuer.is_match(issuer.as_bytes()) && value.subject.is_match(subject.as_bytes()))
        }),
        Demand::Claim { path, values } => facts.claims.is_some_and(|claims| {
            claims.texts(path.iter().map(|name| &**name)).any(|text| any(values, text.as_bytes()))
        }),
        Demand::Unknown => false,
    }
}

fn contain(ranges: &[IpRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

fn any(values: &[TextMatch], text: &[u8]) -> bool {
    values.iter().any(|value| value.is_match(text))
}

/// As in Envoy, `*` asks of a header that it is there, also if it is empty.
fn is_present_or(values: &[TextMatch], text: &[u8]) -> bool {
    values.iter().any(|value| *value == TextMatch::Any || value.is_match(text))
}

/// Headers of requests that Envoy keeps as one value, whose lines it joins by commas.
const JOINED: [&str; 26] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-type",
    "expect",
    "forwarded",
    "grpc-timeout",
    "if-match",
    "if-none-match",
    "keep-alive",
    "origin",
    "pragma",
    "referer",
    "te",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// The parts of [`Demand::Header`].
struct HeaderDemand<'r> {
    name: &'r HeaderOf,
    values: &'r [TextMatch],
    is_list: bool,
    allows: bool,
}

impl HeaderDemand<'_> {
    /// Each line is compared by itself, so that no value beside another hides it (VS-15).
    fn is_met(&self, facts: &AccessFacts<'_>) -> bool {
        let Some(view) = facts.view else { return false };
        match self.name {
            HeaderOf::Name(name) if self.allows && is_joined(name) => {
                let lines: Vec<&[u8]> = facts.header(name).collect();
                !lines.is_empty() && self.matches(&lines.join(&b','))
            }
            HeaderOf::Name(name) => facts.header(name).any(|line| self.matches(line)),
            HeaderOf::Method => self.matches(view.method),
            HeaderOf::Authority => self.matches(view.authority),
            HeaderOf::Scheme => self.matches(view.scheme.as_bytes()),
            HeaderOf::Path => self.matches(&view.target()),
        }
    }

    fn matches(&self, line: &[u8]) -> bool {
        let values = self.values;
        match self.is_list {
            false => is_present_or(values, line),
            true => {
                values.contains(&TextMatch::Any) || line.split(|byte| *byte == b',').any(|element| any(values, element))
            }
        }
    }
}

/// Whether Envoy keeps a header of this name as one value.
pub(super) fn is_joined(name: &str) -> bool {
    JOINED.contains(&name)
}

/// Whether a rule has a condition on a header that edits may change.
pub(super) fn looks_at_headers(rule: &AuthorizationRule) -> bool {
    rule.conditions().any(|condition| matches!(condition.demand, Demand::Header { name: HeaderOf::Name(_), .. }))
}
