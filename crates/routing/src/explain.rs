//! Explains the routing of a request: the functions of the live path, with every verdict as text.

use crate::claims::Claims;
use crate::host::HostTable;
use crate::judge::{RouteMismatch, judge, parameter};
use crate::route::RouteEntry;
use crate::table::{Pick, Table};
use ir::{MatchPath, Origin, Route, StringMatch, ValueMatch};
use serde::Serialize;
use std::sync::Arc;
use wire::view::RequestView;

/// The routing decision for a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Explanation {
    /// The host that matches; `None` if there is none.
    pub host: Option<String>,
    /// Less specific hosts that match too, the most specific first; there is no fallback to them (S-34).
    pub passed_over: Vec<String>,
    /// Each rule that was checked, in order; the last one matches, if any does.
    pub rules: Vec<RuleVerdict>,
    /// Whether a rule matches.
    pub found: bool,
    /// Whether the host redirects it to HTTPS before any rule is checked (S-70).
    pub to_https: bool,
}

/// The verdict of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    /// The rule.
    pub origin: Origin,
    /// Its name, if it has one.
    pub name: String,
    /// Its conditions, as text.
    pub demands: String,
    /// Why it does not match; `None` if it does.
    pub lost: Option<String>,
}

/// Checks every rule up to the first match, and returns that one. `claims` are those of the verified token.
pub fn explain<'t>(
    table: &'t Table,
    view: &RequestView<'_>,
    claims: &Claims,
) -> (Explanation, Option<&'t Arc<RouteEntry>>) {
    let mut covering = table.covering(view.host);
    let Some(host) = covering.next() else {
        return (Explanation::default(), None);
    };
    let passed_over = covering.map(|host| host.pattern.to_string()).collect();
    if matches!(table.pick(view, claims), Pick::ToHttps) {
        let host = Some(host.pattern.to_string());
        return (Explanation { host, passed_over, to_https: true, ..Explanation::default() }, None);
    }
    let (rules, winner) = verdicts(host, view, claims);
    debug_assert_eq!(winner, host.first_match(view, claims), "explain and the live path disagree");
    let (name, found) = (Some(host.pattern.to_string()), winner.is_some());
    let explanation = Explanation { host: name, passed_over, rules, found, to_https: false };
    (explanation, winner.and_then(|number| host.rules.get(number)))
}

fn verdicts(host: &HostTable, view: &RequestView<'_>, claims: &Claims) -> (Vec<RuleVerdict>, Option<usize>) {
    let mut verdicts = Vec::new();
    for (number, rule) in host.rules.iter().enumerate() {
        let judged = judge(&rule.config.matches, view, claims);
        verdicts.push(RuleVerdict {
            origin: rule.config.origin.clone(),
            name: rule.config.name.to_string(),
            demands: demands(&rule.config),
            lost: judged.err().map(|unmet| why(&rule.config, unmet, view, claims)),
        });
        if judged.is_ok() {
            return (verdicts, Some(number));
        }
    }
    (verdicts, None)
}

/// The conditions of a route, as text.
pub fn demands(route: &Route) -> String {
    let matches = &route.matches;
    let mut parts = Vec::new();
    if let MatchPath::Text { text, ignore_case } = &matches.path {
        parts.push(format!("path {}{}", words(text), if *ignore_case { " in any case" } else { "" }));
    }
    for (name, demand) in [("method", &matches.method), ("authority", &matches.authority), ("scheme", &matches.scheme)]
    {
        if let Some(text) = demand {
            parts.push(format!("{name} {}", words(text)));
        }
    }
    for header in &matches.headers {
        let not = if header.invert { "not " } else { "" };
        parts.push(format!("header {} {not}{}", header.name, value_words(&header.value)));
    }
    for query in &matches.query {
        parts.push(format!("query parameter {} {}", query.name, value_words(&query.value)));
    }
    for claim in &matches.claims {
        let not = if claim.invert { "not " } else { "" };
        parts.push(format!("claim {} {not}{}", claim.path.join("."), value_words(&claim.value)));
    }
    if parts.is_empty() { "anything".to_owned() } else { parts.join(", ") }
}

fn words(text: &StringMatch) -> String {
    match text {
        StringMatch::Exact(exact) => format!("is `{exact}`"),
        StringMatch::Prefix(prefix) => format!("begins with `{prefix}`"),
        StringMatch::Regex(pattern) => format!("matches `{}`", pattern.as_str()),
    }
}

fn value_words(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Present => "is there".to_owned(),
        ValueMatch::Text(text) => words(text),
    }
}

fn why(route: &Route, unmet: RouteMismatch, view: &RequestView<'_>, claims: &Claims) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = |demand: &Option<StringMatch>| demand.as_ref().map_or_else(String::new, words);
    match unmet {
        RouteMismatch::Path => match &route.matches.path {
            MatchPath::Text { text, .. } => format!("the path {} is not one that {}", lossy(view.path), words(text)),
            MatchPath::Any => String::new(),
        },
        RouteMismatch::Method => {
            format!("the method {} is not one that {}", lossy(view.method), text(&route.matches.method))
        }
        RouteMismatch::Authority => {
            format!("the authority {} is not one that {}", lossy(view.authority), text(&route.matches.authority))
        }
        RouteMismatch::Scheme => format!("the scheme {} is not one that {}", view.scheme, text(&route.matches.scheme)),
        RouteMismatch::Header(at) => route.matches.headers.get(at).map_or_else(String::new, |demand| {
            let values: Vec<_> = view.values(demand.name.as_str()).collect();
            // VS-16
            let as_empty = if values.is_empty() && demand.value != ValueMatch::Present && demand.invert {
                " and counts as empty"
            } else {
                ""
            };
            format!(
                "the header {} {}{as_empty}, and {}",
                demand.name,
                all(&values),
                wanted(&demand.value, demand.invert)
            )
        }),
        RouteMismatch::Query(at) => route.matches.query.get(at).map_or_else(String::new, |demand| {
            let value = parameter(&demand.name, view.query);
            format!("the query parameter {} {}, and {}", demand.name, came(value), wanted(&demand.value, false))
        }),
        RouteMismatch::Claim(at) => route.matches.claims.get(at).map_or_else(String::new, |demand| {
            let name = demand.path.join(".");
            if claims.is_empty() {
                return format!(
                    "there is no verified token, and the claim {name} {}",
                    wanted(&demand.value, demand.invert)
                );
            }
            let texts: Vec<_> = claims.texts(demand.path.iter().map(AsRef::as_ref)).map(str::as_bytes).collect();
            format!("the claim {name} {}, and {}", all(&texts), wanted(&demand.value, demand.invert))
        }),
    }
}

/// The value in a request.
fn came(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "is not there".to_owned(), |value| format!("is `{}`", String::from_utf8_lossy(value)))
}

/// The values in a request.
fn all(values: &[&[u8]]) -> String {
    let quoted = |value: &&[u8]| format!("`{}`", String::from_utf8_lossy(value));
    match values {
        [] | [_] => came(values.first().copied()),
        several => format!("has the values {}", several.iter().map(quoted).collect::<Vec<_>>().join(" and ")),
    }
}

/// The condition of a rule.
fn wanted(value: &ValueMatch, invert: bool) -> String {
    let may = if invert { "may not be" } else { "has to be" };
    match value {
        ValueMatch::Present => format!("{may} there"),
        ValueMatch::Text(text) => format!("{may} one that {}", words(text)),
    }
}

#[cfg(test)]
mod tests;
