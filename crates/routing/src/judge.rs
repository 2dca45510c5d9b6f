//! Whether a route takes a request: the one function that live requests and `explain` share.

use ir::{HeaderMatch, MatchPath, QueryMatch, RouteMatch, StringMatch, ValueMatch};
use std::borrow::Cow;
use wire::view::RequestView;

/// The first demand that a request does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
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
}

/// Judges a request by all demands of a route.
pub fn judge(matches: &RouteMatch, view: &RequestView<'_>) -> Result<(), Unmet> {
    if !path(&matches.path, view.path) {
        return Err(Unmet::Path);
    }
    if !matches.method.as_ref().is_none_or(|demand| demand.is_match(view.method)) {
        return Err(Unmet::Method);
    }
    if !matches.authority.as_ref().is_none_or(|demand| demand.is_match(view.authority)) {
        return Err(Unmet::Authority);
    }
    if !matches.scheme.as_ref().is_none_or(|demand| demand.is_match(view.scheme.as_bytes())) {
        return Err(Unmet::Scheme);
    }
    if let Some(at) = matches.headers.iter().position(|demand| !header(demand, view)) {
        return Err(Unmet::Header(at));
    }
    if let Some(at) = matches.query.iter().position(|demand| !query(demand, view)) {
        return Err(Unmet::Query(at));
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

fn header(demand: &HeaderMatch, view: &RequestView<'_>) -> bool {
    let found = joined(demand.name.as_str(), view);
    let met = match (&demand.value, &found) {
        (ValueMatch::Present, found) => found.is_some(),
        (ValueMatch::Text(demand), Some(value)) => demand.is_match(value),
        // VS-16: in `withoutHeaders` an absent header is judged as an empty one, so that `.*` is met by it and excludes it.
        (ValueMatch::Text(wanted), None) => demand.invert && wanted.is_match(b""),
    };
    met != demand.invert
}

/// All values of a header, joined by `,` as Envoy joins them.
pub(crate) fn joined<'a>(name: &str, view: &RequestView<'a>) -> Option<Cow<'a, [u8]>> {
    if name == "host" {
        return Some(Cow::Borrowed(view.authority));
    }
    let mut values = view.fields.all(name);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value);
    }
    Some(Cow::Owned(all))
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
