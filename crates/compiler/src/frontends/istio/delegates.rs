//! The rules of a VirtualService with those of others that it delegates to put in (VS-48, S-54): each rule of a delegate that fits into
//! the conditions of the rule that delegates, with what that one says where it says nothing itself.

use crate::code;
use crate::context::CompileContext;
use crate::names;
use crate::report::Notes;
use crate::texts;
use crate::visibility;
use resources::key::Key;
use resources::set::Object;
use resources::spec::pairs::Pairs;
use resources::spec::scalar::Text;
use resources::spec::text_match::StringMatch;
use resources::spec::virtual_service::{HttpMatch, HttpRoute, VirtualService};
use std::borrow::Cow;
use std::sync::Arc;

/// One rule as it is compiled.
pub(crate) struct Rule<'a> {
    pub(crate) rule: Cow<'a, HttpRoute>,
    /// Where short names of its destinations are looked up.
    pub(crate) namespace: &'a Arc<str>,
    /// The field that is told in findings.
    pub(crate) field: String,
    origin: RuleOrigin<'a>,
}

/// Where a rule comes from.
enum RuleOrigin<'a> {
    Own(usize),
    /// The rule that delegates, and the one that is delegated to.
    Delegated(usize, &'a Key, usize),
}

impl Rule<'_> {
    /// The path of the rule, or of an entry of its `match`, in its object.
    pub(crate) fn path(&self, entry: Option<usize>) -> Arc<str> {
        match self.origin {
            RuleOrigin::Own(index) => texts::rule(index, entry),
            RuleOrigin::Delegated(root, key, index) => {
                let entry = entry.map_or_else(String::new, |entry| format!(".match[{entry}]"));
                format!("http[{root}].delegate {}/{} http[{index}]{entry}", key.namespace, key.name).into()
            }
        }
    }
}

/// All rules of a VirtualService in their order.
pub(crate) fn rules<'a>(
    context: CompileContext<'a>,
    object: &'a Object<VirtualService>,
    notes: &mut Notes,
) -> Vec<Rule<'a>> {
    let mut rules = Vec::with_capacity(object.spec.http.len());
    for (index, rule) in object.spec.http.iter().enumerate() {
        let field = format!("spec.http[{index}]");
        match names::delegate(rule, &object.key) {
            None => {
                let origin = RuleOrigin::Own(index);
                rules.push(Rule { rule: Cow::Borrowed(rule), namespace: &object.key.namespace, field, origin });
            }
            Some(key) => match find(context, &object.key, &key) {
                Ok(delegate) => put_in(context, object, index, delegate, &mut rules, notes),
                Err(why) => {
                    let message = format!("{why}; the rule is left out");
                    notes.add(code::DELEGATE_SKIPPED, format!("{field}.delegate"), message);
                }
            },
        }
    }
    rules
}

/// The delegate, where it is one and the root may see it.
fn find<'a>(context: CompileContext<'a>, root: &Key, key: &Key) -> Result<&'a Object<VirtualService>, String> {
    let shown = format!("VirtualService {}/{}", key.namespace, key.name);
    let Some(delegate) = context.set.virtual_services.get(key) else {
        return Err(format!("there is no {shown}"));
    };
    if !delegate.spec.hosts.is_empty() {
        return Err(format!("{shown} has hosts of its own, which a delegate has not"));
    }
    if !is_seen(context, delegate, &root.namespace) {
        return Err(format!("{shown} is not exported to namespace {}", root.namespace));
    }
    Ok(delegate)
}

/// Whether a delegate is exported to a namespace. Here the list is a set: `.` is its own namespace, and there is no `~`.
fn is_seen(context: CompileContext<'_>, delegate: &Object<VirtualService>, namespace: &str) -> bool {
    let (own, default) = (&*delegate.key.namespace, &context.settings.mesh.default_virtual_service_export_to[..]);
    let written = if delegate.spec.export_to.is_empty() { default } else { &delegate.spec.export_to };
    let mut entries = visibility::entries(written).map(|entry| if entry == "." { own } else { entry });
    written.is_empty() || entries.any(|entry| entry == "*" || entry == namespace)
}

fn put_in<'a>(
    context: CompileContext<'a>,
    object: &'a Object<VirtualService>,
    root_index: usize,
    delegate: &'a Object<VirtualService>,
    rules: &mut Vec<Rule<'a>>,
    notes: &mut Notes,
) {
    let Some(root) = object.spec.http.get(root_index) else { return };
    let origin = |index| RuleOrigin::Delegated(root_index, &delegate.key, index);
    for (index, rule) in delegate.spec.http.iter().enumerate() {
        let shown = format!("VirtualService {}/{} http[{index}]", delegate.key.namespace, delegate.key.name);
        let own = |matches: &[HttpMatch], key: &Key| with_full_gateways(matches, &key.namespace, context.domain());
        let (roots, leaves) = (own(&root.matches, &object.key), own(&rule.matches, &delegate.key));
        match matches(&roots, &leaves) {
            Ok(matches) => rules.push(Rule {
                rule: Cow::Owned(merged(context, root, &object.key, rule, matches)),
                namespace: &delegate.key.namespace,
                field: format!("spec.http[{root_index}].delegate ({shown})"),
                origin: origin(index),
            }),
            Err(entry) => {
                let message = format!(
                    "`match[{entry}]` of {shown} asks for something else than this rule does, so that its rule is left out"
                );
                let help = "let the delegate's conditions lie within those of the rule that delegates";
                let field = format!("spec.http[{root_index}].delegate");
                notes.add_with_help(code::DELEGATE_CONFLICT, field, message, help);
            }
        }
    }
}

/// A rule of a delegate, with what the root says where it says nothing.
fn merged(
    context: CompileContext<'_>,
    root: &HttpRoute,
    key: &Key,
    rule: &HttpRoute,
    matches: Box<[HttpMatch]>,
) -> HttpRoute {
    let mut merged = HttpRoute { matches, name: joined(&root.name, &rule.name), delegate: None, ..rule.clone() };
    // What the root names is in its own namespace.
    let full = |host: &Text| Text::from(&*names::full_host(host, &key.namespace, context.domain()));
    merged.rewrite = merged.rewrite.or_else(|| root.rewrite.clone());
    merged.timeout = merged.timeout.or(root.timeout);
    merged.retries = merged.retries.or_else(|| root.retries.clone());
    merged.fault = merged.fault.or_else(|| root.fault.clone());
    merged.cors_policy = merged.cors_policy.or_else(|| root.cors_policy.clone());
    merged.headers = merged.headers.or_else(|| root.headers.clone());
    merged.mirror_percent = merged.mirror_percent.or(root.mirror_percent);
    merged.mirror_percentage = merged.mirror_percentage.or_else(|| root.mirror_percentage.clone());
    if merged.mirror.is_none() {
        merged.mirror = root.mirror.clone().map(|mut mirror| {
            mirror.host = full(&mirror.host);
            mirror
        });
    }
    if merged.mirrors.is_empty() {
        merged.mirrors = root.mirrors.clone();
        for destination in merged.mirrors.iter_mut().filter_map(|mirror| mirror.destination.as_mut()) {
            destination.host = full(&destination.host);
        }
    }
    merged
}

fn joined(root: &Text, leaf: &Text) -> Text {
    match (root.is_empty(), leaf.is_empty()) {
        (true, _) => leaf.clone(),
        (false, true) => root.clone(),
        (false, false) => format!("{}-{}", &**root, &**leaf).as_str().into(),
    }
}

/// Entries whose Gateways are named in full, so that those of two namespaces can be told apart.
fn with_full_gateways(matches: &[HttpMatch], namespace: &Arc<str>, domain: &str) -> Vec<HttpMatch> {
    let full = |name: &Text| match names::gateway(name, namespace, domain) {
        Some(key) => Text::from(format!("{}/{}", key.namespace, key.name).as_str()),
        None => name.clone(),
    };
    let entry = |entry: &HttpMatch| HttpMatch { gateways: entry.gateways.iter().map(full).collect(), ..entry.clone() };
    matches.iter().map(entry).collect()
}

/// Every entry of the delegate within every one of the root that it fits into; an error names one that fits into none.
fn matches(roots: &[HttpMatch], leaves: &[HttpMatch]) -> Result<Box<[HttpMatch]>, usize> {
    if roots.is_empty() {
        return Ok(leaves.into());
    }
    if leaves.is_empty() {
        return Ok(roots.into());
    }
    let mut merged = Vec::with_capacity(leaves.len());
    for (at, leaf) in leaves.iter().enumerate() {
        let before = merged.len();
        merged.extend(roots.iter().filter(|root| !differ(root, leaf)).map(|root| within(root, leaf)));
        if merged.len() == before {
            return Err(at);
        }
    }
    Ok(merged.into())
}

/// Both conditions in one.
fn within(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let or = |leaf: &Option<StringMatch>, root: &Option<StringMatch>| leaf.clone().or_else(|| root.clone());
    HttpMatch {
        name: joined(&root.name, &leaf.name),
        uri: or(&leaf.uri, &root.uri),
        ignore_uri_case: leaf.ignore_uri_case,
        scheme: or(&leaf.scheme, &root.scheme),
        method: or(&leaf.method, &root.method),
        authority: or(&leaf.authority, &root.authority),
        headers: both(&root.headers, &leaf.headers),
        without_headers: both(&root.without_headers, &leaf.without_headers),
        query_params: both(&root.query_params, &leaf.query_params),
        port: leaf.port.filter(|port| *port != 0).or(root.port),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        source_labels: both(&root.source_labels, &leaf.source_labels),
        source_namespace: if leaf.source_namespace.is_empty() {
            &root.source_namespace
        } else {
            &leaf.source_namespace
        }
        .clone(),
        stat_prefix: if leaf.stat_prefix.is_empty() { &root.stat_prefix } else { &leaf.stat_prefix }.clone(),
    }
}

fn both<V: Clone>(root: &Pairs<V>, leaf: &Pairs<V>) -> Pairs<V> {
    let owned = |(name, value): (&Text, &V)| (name.clone(), value.clone());
    let root = root.iter().filter(|(name, _)| !leaf.contains_key(name));
    root.chain(leaf.iter()).map(owned).collect()
}

/// Whether the delegate's entry asks for something that the root's does not allow.
fn differ(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let pairs = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let named = |(root, leaf): &(&Pairs<StringMatch>, &Pairs<StringMatch>)| {
        leaf.iter().any(|(name, leaf)| root.get(name).is_some_and(|root| is_outside(root, leaf)))
    };
    let ports = root.port.unwrap_or(0) != 0 && leaf.port.unwrap_or(0) != 0 && root.port != leaf.port;
    let label = |(name, leaf): (&Text, &Text)| root.source_labels.get(name).is_some_and(|root| root != leaf);
    let gateways = !root.gateways.is_empty()
        && (root.gateways.len() < leaf.gateways.len() || leaf.gateways.iter().any(|one| !root.gateways.contains(one)));
    texts.iter().any(|(root, leaf)| matches!((root, leaf), (Some(root), Some(leaf)) if is_outside(root, leaf)))
        || pairs.iter().any(named)
        || root.ignore_uri_case != leaf.ignore_uri_case
        || ports
        || (!root.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace)
        || leaf.source_labels.iter().any(label)
        || gateways
}

/// Whether one demand on a text is not a part of another, as Istio judges it: patterns go with nothing.
fn is_outside(root: &StringMatch, leaf: &StringMatch) -> bool {
    use StringMatch::{Exact, Prefix, Present, Regex};
    let empty = |demand: &StringMatch| match demand {
        Exact(text) | Prefix(text) | Regex(text) => text.is_empty(),
        Present => true,
    };
    match (root, leaf) {
        (Regex(_), other) | (other, Regex(_)) if !empty(root) && !empty(leaf) => !empty(other),
        (Exact(root), _) if !root.is_empty() => !matches!(leaf, Exact(leaf) if leaf == root),
        (Prefix(root), Prefix(leaf) | Exact(leaf)) if !root.is_empty() && !leaf.is_empty() => {
            !leaf.starts_with(&**root)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(text: &str) -> StringMatch {
        match text.split_once(' ') {
            Some(("=", text)) => StringMatch::Exact(text.into()),
            Some(("^", text)) => StringMatch::Prefix(text.into()),
            Some(("~", text)) => StringMatch::Regex(text.into()),
            _ => StringMatch::Present,
        }
    }

    #[test]
    fn vs_48_a_delegates_condition_lies_within_the_roots() {
        let outside = |root, leaf| is_outside(&demand(root), &demand(leaf));
        for (root, leaf) in [("^ /a", "^ /a"), ("^ /a", "^ /a/b"), ("^ /a", "= /ab"), ("= /a", "= /a"), ("", "~ x")] {
            assert!(!outside(root, leaf), "{leaf} is in {root}");
        }
        let differing =
            [("^ /a/b", "^ /a"), ("= /a", "^ /a"), ("= /a", "= /b"), ("~ x", "~ x"), ("~ x", "= x"), ("^ x", "~ x")];
        for (root, leaf) in differing {
            assert!(outside(root, leaf), "{leaf} is not in {root}");
        }
        // What is present may be anything; an exact root is no presence.
        assert!(!outside("^ /a", "") && outside("= /a", ""));
    }
}
