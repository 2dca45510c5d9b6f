//! `corsPolicy` (VS-46).

use crate::code;
use crate::report::Notes;
use crate::texts;
use ir::{Cors, HeaderValue, Pattern, StringMatch};
use resources::spec::scalar::{Duration, Text};
use resources::spec::text_match::StringMatch as Written;
use resources::spec::virtual_service::{CorsPolicy, UnmatchedPreflights};
use std::sync::Arc;

/// The policy of a rule; `field` is its path.
pub(in crate::frontends::istio::routes) fn compile(
    written: Option<&CorsPolicy>,
    field: &str,
    notes: &mut Notes,
) -> Option<Arc<Cors>> {
    let written = written?;
    let exact = |origin: &Text| StringMatch::Exact(texts::shared(origin));
    let origins: Vec<_> = match &written.allow_origins[..] {
        [] => written.allow_origin.iter().map(exact).collect(),
        origins => {
            let found = origins.iter().enumerate();
            found.filter_map(|(at, one)| origin(one, &format!("{field}.allowOrigins[{at}]"), notes)).collect()
        }
    };
    let credentials = written.allow_credentials.unwrap_or(false);
    if credentials && origins.iter().any(|origin| origin.is_match(b"*")) {
        let message =
            "every origin is allowed together with credentials: any page may act with the cookies of its visitors";
        notes.add_with_help(
            code::CORS_OPEN,
            format!("{field}.allowCredentials"),
            message,
            "list the origins that need it",
        );
    }
    let max_age = written.max_age.and_then(Duration::get).map(|age| age.as_secs());
    Some(Arc::new(Cors {
        origins,
        methods: joined(&written.allow_methods, "allowMethods", field, notes)?,
        headers: joined(&written.allow_headers, "allowHeaders", field, notes)?,
        expose: joined(&written.expose_headers, "exposeHeaders", field, notes)?,
        max_age,
        credentials,
        forwards_unmatched: written.unmatched_preflights != Some(UnmatchedPreflights::Ignore),
    }))
}

/// What validation refuses matches nobody, and so does a pattern that takes too long to match.
fn origin(written: &Written, field: &str, notes: &mut Notes) -> Option<StringMatch> {
    match written {
        Written::Exact(text) => Some(StringMatch::Exact(texts::shared(text))),
        Written::Prefix(text) => Some(StringMatch::Prefix(texts::shared(text))),
        Written::Regex(pattern) => match Pattern::parse(pattern) {
            Ok(pattern) => Some(StringMatch::Regex(pattern)),
            Err(why) => {
                notes.add(code::BAD_MATCH, format!("{field}.regex"), format!("`{pattern}`: {why}"));
                None
            }
        },
        Written::Present => None,
    }
}

/// `None`, so that no page may use the answers, for names that validation refuses.
fn joined(names: &[Text], list: &str, field: &str, notes: &mut Notes) -> Option<HeaderValue> {
    let text = names.iter().map(|name| &**name).collect::<Vec<_>>().join(",");
    let parsed = HeaderValue::parse(&text);
    parsed.map_err(|error| notes.add(code::BAD_HEADER, format!("{field}.{list}"), error.to_string())).ok()
}
