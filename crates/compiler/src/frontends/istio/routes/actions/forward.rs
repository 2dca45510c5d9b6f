//! `route`: destinations with their weights, header changes, rewrites and the timeout (VS-31 to VS-34, VS-37 to VS-39).

use super::compiled::{Compiled, MatchedRule};
use super::rewrite::{by_match, sent};
use super::{mirrors, retries};
use crate::code;
use crate::context::CompileContext;
use crate::destinations::{self, Asking};
use crate::frontends::istio::routes::headers::{self, Operations};
use crate::report::Notes;
use ir::{Action, Authority, Forward, HeaderChanges, MatchPath, PathRewrite, PathText, Pattern, Target};
use resources::spec::scalar::Duration;
use resources::spec::virtual_service::{HttpRewrite, RouteDestination};

/// Compiles a rule that forwards, with its operations on headers.
pub(super) fn compile(
    context: CompileContext<'_>,
    asking: Asking<'_>,
    matched: MatchedRule<'_>,
    operations: Operations,
    notes: &mut Notes,
) -> Option<Compiled> {
    let MatchedRule { rule, path, field } = matched;
    let rewrite = rewrite(rule.rewrite.as_deref(), path, &format!("{field}.rewrite"), notes)?;
    let targets = targets(context, asking, &rule.route, field, notes);
    if targets.is_empty() {
        notes.add(
            code::NO_ACTION,
            format!("{field}.route"),
            "every destination has weight 0, and the rule is left out",
        );
        return None;
    }
    let authority = rule.rewrite.as_ref().map(|rewrite| &*rewrite.authority).filter(|authority| !authority.is_empty());
    let authority = match authority {
        Some(text) => Some(sent(Authority::parse(text), format!("{field}.rewrite.authority"), notes)?),
        None => None,
    };
    let forward = Forward {
        targets: targets.into(),
        rewrite: rewrite.map(Box::new),
        authority: authority.or(operations.authority),
        // VS-39: none unless there is one; 0 is what Istio refuses.
        timeout: rule.timeout.and_then(Duration::get).filter(|timeout| !timeout.is_zero()),
        mirrors: mirrors::compile(context, asking, rule, field, notes),
        retries: retries::compile(rule.retries.as_deref(), &context.settings.mesh),
    };
    Some(fold_headers(forward, operations.request, operations.response))
}

fn targets(
    context: CompileContext<'_>,
    asking: Asking<'_>,
    routes: &[RouteDestination],
    field: &str,
    notes: &mut Notes,
) -> Vec<Target> {
    // VS-33: a single destination has no use for a weight; among several those with 0 take no part.
    let single = routes.len() == 1;
    let mut targets = Vec::with_capacity(routes.len());
    for (index, route) in routes.iter().enumerate() {
        let weight = if single { 1 } else { u32::try_from(route.weight).unwrap_or(0) };
        let at = format!("{field}.route[{index}]");
        let Some(destination) = route.destination.as_ref().filter(|_| weight > 0) else { continue };
        let operations = headers::compile_headers(route.headers.as_deref(), &format!("{at}.headers"), notes);
        targets.push(Target {
            cluster: destinations::resolve(context, asking, destination, &format!("{at}.destination"), notes),
            weight,
            request_headers: operations.request,
            response_headers: operations.response,
            authority: operations.authority,
        });
    }
    targets
}

/// Puts the changes of the route and its only destination together, as Istio does (VS-34). With several each keeps its own.
fn fold_headers(
    mut forward: Forward,
    mut request_headers: HeaderChanges,
    mut response_headers: HeaderChanges,
) -> Compiled {
    if let [only] = &mut forward.targets[..] {
        request_headers = headers::together(&request_headers, &std::mem::take(&mut only.request_headers));
        response_headers = headers::together(&response_headers, &std::mem::take(&mut only.response_headers));
        // VS-38: the only destination's Host counts where the route has none.
        let authority = only.authority.take();
        forward.authority = forward.authority.take().or(authority);
    }
    Compiled { action: Action::Forward(forward), request_headers, response_headers }
}

/// VS-37. `None` for a pattern that cannot be used: without its rewrite the rule would send wrong paths.
fn rewrite(
    written: Option<&HttpRewrite>,
    path: &MatchPath,
    field: &str,
    notes: &mut Notes,
) -> Option<Option<PathRewrite>> {
    let Some(written) = written else { return Some(None) };
    if let Some(regex) = &written.uri_regex_rewrite {
        let at = format!("{field}.uriRegexRewrite.rewrite");
        let substitution = sent(PathText::parse(&regex.rewrite), at, notes)?;
        return match Pattern::parse_for_rewrite(&regex.pattern) {
            Ok(pattern) => Some(Some(PathRewrite::Regex { pattern, substitution })),
            Err(why) => {
                let at = format!("{field}.uriRegexRewrite.match");
                notes.add(code::BAD_REWRITE, at, format!("`{}`: {why}; the rule is left out", regex.pattern));
                None
            }
        };
    }
    if written.uri.is_empty() {
        return Some(None);
    }
    let uri = sent(PathText::parse(&written.uri), format!("{field}.uri"), notes)?;
    Some(Some(by_match(uri, path)))
}
