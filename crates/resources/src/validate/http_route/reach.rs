//! Which HTTP rules and matches are never reached, because those before them take all that they would: VS-49, IST0130, IST0131.
//! Only what is certain is told: a match is covered by one before it that asks for nothing else.

use crate::code;
use crate::diagnostic::Findings;
use crate::spec::pairs::Pairs;
use crate::spec::text_match::{Labels, StringMatch};
use crate::spec::virtual_service::{HttpMatch, HttpRoute};
use std::collections::HashMap;

/// How many of the earlier matches of one path are compared with; VirtualServices with more of them are made by programs.
const MAX_COMPARED: usize = 16;

/// Where a match stands.
#[derive(Clone, Copy)]
struct IndexedMatch<'a> {
    rule: usize,
    at: usize,
    one: &'a HttpMatch,
}

/// Earlier matches by what they ask of the path.
#[derive(Default)]
struct Earlier<'a> {
    any: Vec<IndexedMatch<'a>>,
    exact: HashMap<&'a str, Vec<IndexedMatch<'a>>>,
    /// By the hash of the prefix, so that all beginnings of a path are looked up in one pass over it.
    prefix: HashMap<u64, Vec<IndexedMatch<'a>>>,
    regex: HashMap<&'a str, Vec<IndexedMatch<'a>>>,
}

pub(super) fn check_http(rules: &[HttpRoute], findings: &mut Findings) {
    if let [only] = rules
        && only.matches.len() < 2
    {
        return;
    }
    let mut earlier = Earlier::default();
    let mut takes_all: Option<usize> = None;
    for (rule, written) in rules.iter().enumerate() {
        if let Some(before) = takes_all.filter(|_| written.matches.iter().all(|one| one.gateways.is_empty())) {
            never_reached(rule, &format!("http[{before}] takes every request"), findings);
            continue;
        }
        check_matches(rule, written, &mut earlier, findings);
        if written.matches.is_empty() {
            takes_all = takes_all.or(Some(rule));
        }
    }
}

fn check_matches<'a>(rule: usize, written: &'a HttpRoute, earlier: &mut Earlier<'a>, findings: &mut Findings) {
    if written.matches.is_empty() {
        if let Some(before) = earlier.covering(&HttpMatch::default()) {
            never_reached(rule, &format!("{} takes every request", path(&before)), findings);
        }
        return;
    }
    let mut covered = Vec::new();
    for (at, one) in written.matches.iter().enumerate() {
        covered.extend(earlier.covering(one).map(|before| (at, before)));
        earlier.add(IndexedMatch { rule, at, one });
    }
    if covered.len() == written.matches.len() {
        let last = covered.last().map_or_else(String::new, |(_, before)| path(before));
        never_reached(rule, &format!("{last} takes all that it asks for"), findings);
        return;
    }
    for (at, before) in covered {
        let message = format!("the match is never needed: {} takes all of it", path(&before));
        let help = "remove it, or move it before the wider one";
        findings.warning(&format!("http[{rule}].match[{at}]"), code::INEFFECTIVE_MATCH, message, help);
    }
}

fn path(place: &IndexedMatch<'_>) -> String {
    format!("http[{}].match[{}]", place.rule, place.at)
}

fn never_reached(rule: usize, cause: &str, findings: &mut Findings) {
    let message = format!("the rule is never reached: {cause}");
    let help = "move it before that rule, or give that rule a narrower match";
    findings.warning(&format!("http[{rule}]"), code::UNREACHABLE_RULE, message, help);
}

impl<'a> Earlier<'a> {
    fn add(&mut self, place: IndexedMatch<'a>) {
        let list = match &place.one.uri {
            None | Some(StringMatch::Present) => &mut self.any,
            Some(StringMatch::Regex(pattern)) if is_any(pattern) => &mut self.any,
            Some(StringMatch::Prefix(text)) if matches!(&**text, "" | "/") => &mut self.any,
            Some(StringMatch::Exact(text)) => self.exact.entry(text).or_default(),
            Some(StringMatch::Prefix(text)) => {
                self.prefix.entry(beginnings(text).last().unwrap_or_default()).or_default()
            }
            Some(StringMatch::Regex(text)) => self.regex.entry(text).or_default(),
        };
        if list.len() < MAX_COMPARED {
            list.push(place);
        }
    }

    /// The first of the earlier matches that takes all that `one` would.
    fn covering(&self, one: &HttpMatch) -> Option<IndexedMatch<'a>> {
        let whole = |place: &&IndexedMatch<'a>| asks_no_more(place.one, one);
        // A match that looks at the case takes less than one that does not.
        let same_case = |place: &&IndexedMatch<'a>| {
            asks_no_more(place.one, one) && (place.one.ignore_uri_case || !one.ignore_uri_case)
        };
        if let Some(place) = self.any.iter().find(whole) {
            return Some(*place);
        }
        let prefixes = |text: &str| {
            let begins = |place: &&IndexedMatch<'a>| matches!(&place.one.uri, Some(StringMatch::Prefix(prefix)) if text.starts_with(&**prefix));
            let found = beginnings(text).filter_map(|hash| self.prefix.get(&hash)).flatten();
            found.filter(begins).find(same_case).copied()
        };
        let same =
            |map: &HashMap<&str, Vec<IndexedMatch<'a>>>, text: &str| map.get(text)?.iter().find(same_case).copied();
        match one.uri.as_ref()? {
            StringMatch::Exact(text) => same(&self.exact, text).or_else(|| prefixes(text)),
            StringMatch::Prefix(text) => prefixes(text),
            StringMatch::Regex(text) => same(&self.regex, text),
            StringMatch::Present => None,
        }
    }
}

/// The hash of each beginning of a text, the whole last.
fn beginnings(text: &str) -> impl Iterator<Item = u64> {
    // FNV-1a: that of a longer text goes on from that of a shorter one.
    text.bytes().scan(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Some(*hash)
    })
}

fn is_any(pattern: &str) -> bool {
    matches!(pattern, "*" | ".*")
}

/// Whether all that `wide` asks for, the path apart, `narrow` asks for as well.
fn asks_no_more(wide: &HttpMatch, narrow: &HttpMatch) -> bool {
    let text = |wide: &Option<StringMatch>, narrow: &Option<StringMatch>| wide.is_none() || wide == narrow;
    let labels = |wide: &Labels, narrow: &Labels| wide.iter().all(|(name, value)| narrow.get(name) == Some(value));
    text(&wide.scheme, &narrow.scheme)
        && text(&wide.method, &narrow.method)
        && text(&wide.authority, &narrow.authority)
        && within(&wide.headers, &narrow.headers)
        && within(&wide.without_headers, &narrow.without_headers)
        && within(&wide.query_params, &narrow.query_params)
        && (wide.port.is_none() || wide.port == narrow.port)
        // They stand in place of the list of the VirtualService (VS-19), so that neither is the wider.
        && wide.gateways == narrow.gateways
        && labels(&wide.source_labels, &narrow.source_labels)
        && (wide.source_namespace.is_empty() || wide.source_namespace == narrow.source_namespace)
}

fn within(wide: &Pairs<StringMatch>, narrow: &Pairs<StringMatch>) -> bool {
    wide.iter().all(|(name, value)| narrow.get(name) == Some(value))
}
