//! One `match` entry to an [`RouteMatch`] (VS-11 to VS-17).

use crate::code;
use crate::report::Notes;
use crate::texts;
use ir::{
    ClaimMatch, Demands, HeaderMatch, HeaderName, MatchPath, Pattern, QueryMatch, RouteMatch, StringMatch, ValueMatch,
};
use resources::spec::text_match::StringMatch as Written;
use resources::spec::virtual_service::HttpMatch;
use std::sync::Arc;

/// A condition that cannot be judged. It never matches: to leave it out would let requests in that it was to keep out.
pub(crate) struct Unjudgeable;

/// Keys of `headers` that Istio reads as claims of a token (VS-22).
const CLAIMS: &str = "@request.auth.claims";

/// Whether an entry has conditions on claims.
pub(crate) fn has_claims(written: &HttpMatch) -> bool {
    let is_claim = |name: &str| claim_path(name).is_some();
    written.headers.keys().chain(written.without_headers.keys()).any(|name| is_claim(name))
}

/// The names of a claim: those behind dots, or those in brackets, which may have dots.
fn claim_path(name: &str) -> Option<Vec<Arc<str>>> {
    let start = name.get(..CLAIMS.len()).filter(|start| start.eq_ignore_ascii_case(CLAIMS))?;
    let path = name.get(start.len()..)?;
    let names: Vec<&str> = match (path.strip_prefix('.'), path.strip_prefix('[')) {
        (Some(path), _) => path.split('.').collect(),
        (None, path) => path?.strip_suffix(']')?.split("][").collect(),
    };
    names.iter().all(|name| !name.is_empty()).then(|| names.into_iter().map(Arc::from).collect())
}

/// A field by its parent's path and its name, put together only where it is reported.
#[derive(Clone, Copy)]
struct At<'a>(&'a str, &'a str);

/// Compiles one entry; `field` is its path.
pub(crate) fn compile_match(written: &HttpMatch, field: &str, notes: &mut Notes) -> Result<RouteMatch, Unjudgeable> {
    let mut headers = Vec::with_capacity(written.headers.len() + written.without_headers.len());
    let mut claims = Vec::new();
    for (block, map, invert) in
        [("headers", &written.headers, false), ("withoutHeaders", &written.without_headers, true)]
    {
        for (name, value) in map {
            match claim_path(name) {
                Some(path) => {
                    let value = value_match(value, At(&format!("{field}.{block}"), name), notes)?;
                    claims.push(ClaimMatch { path, value, invert });
                }
                None => headers.extend(header(name, value, invert, field, notes)?),
            }
        }
    }
    headers.sort_by(|a, b| (&a.name, a.invert).cmp(&(&b.name, b.invert)));
    let path = path(written, field, notes)?;
    let others = Demands {
        method: text(written.method.as_ref(), At(field, "method"), notes)?,
        authority: text(written.authority.as_ref(), At(field, "authority"), notes)?,
        scheme: text(written.scheme.as_ref(), At(field, "scheme"), notes)?,
        headers,
        query: query(written, field, notes)?,
        claims,
    };
    Ok(RouteMatch::new(path, others))
}

fn query(written: &HttpMatch, field: &str, notes: &mut Notes) -> Result<Vec<QueryMatch>, Unjudgeable> {
    if written.query_params.is_empty() {
        return Ok(Vec::new());
    }
    let at = format!("{field}.queryParams");
    let mut query = Vec::with_capacity(written.query_params.len());
    for (name, value) in &written.query_params {
        query.push(QueryMatch { name: (**name).into(), value: value_match(value, At(&at, name), notes)? });
    }
    Ok(query)
}

fn path(written: &HttpMatch, field: &str, notes: &mut Notes) -> Result<MatchPath, Unjudgeable> {
    let text = match &written.uri {
        None | Some(Written::Present) => return Ok(MatchPath::Any),
        Some(Written::Prefix(prefix)) if prefix.is_empty() => return Ok(MatchPath::Any),
        Some(Written::Regex(pattern)) if &**pattern == "*" => return Ok(MatchPath::Any),
        Some(uri) => string_match(uri, At(field, "uri"), notes)?,
    };
    // VS-13: the case counts in patterns whatever is asked for.
    let ignore_case = written.ignore_uri_case && !matches!(text, Some(StringMatch::Regex(_)));
    Ok(text.map_or(MatchPath::Any, |text| MatchPath::Text { text, ignore_case }))
}

fn text(written: Option<&Written>, field: At<'_>, notes: &mut Notes) -> Result<Option<StringMatch>, Unjudgeable> {
    written.map_or(Ok(None), |written| string_match(written, field, notes))
}

/// `None` where nothing is demanded but presence.
fn string_match(written: &Written, field: At<'_>, notes: &mut Notes) -> Result<Option<StringMatch>, Unjudgeable> {
    Ok(match written {
        Written::Exact(text) => Some(StringMatch::Exact(texts::shared(text))),
        Written::Prefix(text) => Some(StringMatch::Prefix(texts::shared(text))),
        Written::Regex(pattern) => Some(StringMatch::Regex(parse_pattern(pattern, field, notes)?)),
        Written::Present => None,
    })
}

fn value_match(written: &Written, field: At<'_>, notes: &mut Notes) -> Result<ValueMatch, Unjudgeable> {
    // VS-15, VS-17: the pattern `*` asks for presence.
    if matches!(written, Written::Regex(pattern) if &**pattern == "*") {
        return Ok(ValueMatch::Present);
    }
    Ok(string_match(written, field, notes)?.map_or(ValueMatch::Present, ValueMatch::Text))
}

fn parse_pattern(pattern: &str, field: At<'_>, notes: &mut Notes) -> Result<Pattern, Unjudgeable> {
    Pattern::parse(pattern).map_err(|why| {
        let help = "patterns are RE2's and match the whole value";
        notes.add_with_help(
            code::BAD_MATCH,
            format!("{}.{}.regex", field.0, field.1),
            format!("`{pattern}`: {why}"),
            help,
        );
        Unjudgeable
    })
}

/// `None` where nothing is left to demand.
fn header(
    name: &str,
    value: &Written,
    invert: bool,
    field: &str,
    notes: &mut Notes,
) -> Result<Option<HeaderMatch>, Unjudgeable> {
    let block = format!("{field}.{}", if invert { "withoutHeaders" } else { "headers" });
    if ["uri", "scheme", "method", "authority"].contains(&name) {
        // VS-15: Istio passes over these.
        let message = format!("`{name}` is not a header; use the field `{name}` of the match");
        notes.add(code::BAD_MATCH, format!("{block}.{name}"), message);
        return Ok(None);
    }
    let value = value_match(value, At(&block, name), notes)?;
    let Ok(name) = HeaderName::parse(name) else {
        notes.add(code::BAD_MATCH, format!("{block}.{name}"), format!("`{name}` is not the name of a header"));
        return if invert { Ok(None) } else { Err(Unjudgeable) };
    };
    Ok(Some(HeaderMatch { name, value, invert }))
}
