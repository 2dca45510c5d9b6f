//! Whether a route matches a request: the one function that live requests and `explain` share.

use crate::claims::Claims;
use ir::{ClaimMatch, MatchPath, QueryMatch, RouteMatch, StringMatch, ValueMatch};
use wire::view::RequestView;

/// The first condition that a request does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteMismatch {
    /// On the path.
    Path,
    /// On the method.
    Method,
    /// On the authority.
    Authority,
    /// On the scheme.
    Scheme,
    /// On the header with this number in the route's list.
    Header(usize),
    /// On the query parameter with this number in the route's list.
    Query(usize),
    /// On the claim with this number in the route's list.
    Claim(usize),
}

/// Checks all conditions of a route. `claims` are those of the verified token of the request.
pub fn judge(matches: &RouteMatch, view: &RequestView<'_>, claims: &Claims) -> Result<(), RouteMismatch> {
    if !path(&matches.path, view.path) {
        return Err(RouteMismatch::Path);
    }
    if !matches.method.as_ref().is_none_or(|demand| demand.is_match(view.method)) {
        return Err(RouteMismatch::Method);
    }
    if !matches.authority.as_ref().is_none_or(|demand| demand.is_match(view.authority)) {
        return Err(RouteMismatch::Authority);
    }
    if !matches.scheme.as_ref().is_none_or(|demand| demand.is_match(view.scheme.as_bytes())) {
        return Err(RouteMismatch::Scheme);
    }
    if let Some(at) = matches.headers.iter().position(|demand| !demand.is_met(view.values(demand.name.as_str()))) {
        return Err(RouteMismatch::Header(at));
    }
    if let Some(at) = matches.query.iter().position(|demand| !query(demand, view)) {
        return Err(RouteMismatch::Query(at));
    }
    if let Some(at) = matches.claims.iter().position(|demand| !claim(demand, claims)) {
        return Err(RouteMismatch::Claim(at));
    }
    Ok(())
}

fn path(demand: &MatchPath, path: &[u8]) -> bool {
    match demand {
        MatchPath::Any => true,
        MatchPath::Text { text: demand, ignore_case: false } => demand.is_match(path),
        MatchPath::Text { text: StringMatch::Exact(exact), ignore_case: true } => {
            path.eq_ignore_ascii_case(exact.as_bytes())
        }
        MatchPath::Text { text: StringMatch::Prefix(prefix), ignore_case: true } => {
            path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        }
        MatchPath::Text { text: demand @ StringMatch::Regex(_), ignore_case: true } => demand.is_match(path),
    }
}

fn claim(demand: &ClaimMatch, claims: &Claims) -> bool {
    demand.is_met(claims.texts(demand.path.iter().map(AsRef::as_ref)))
}

fn query(demand: &QueryMatch, view: &RequestView<'_>) -> bool {
    let Some(value) = parameter(&demand.name, view.query) else { return false };
    match &demand.value {
        ValueMatch::Present => true,
        ValueMatch::Text(demand) => demand.is_match(value),
    }
}

/// The first value of a query parameter, undecoded; empty when it has no `=`.
pub(crate) fn parameter<'a>(name: &str, query: Option<&'a [u8]>) -> Option<&'a [u8]> {
    query?.split(|b| *b == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(name.as_bytes())?;
        match rest.first() {
            None => Some(rest),
            Some(b'=') => rest.get(1..),
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests;
