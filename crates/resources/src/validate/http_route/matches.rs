//! Conditions of an HTTP rule: VS-11 to VS-22.

use super::Around;
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::pairs::Pairs;
use crate::spec::text_match::StringMatch;
use crate::spec::virtual_service::HttpMatch;
use crate::validate::fields::{check_gateways, check_labels, check_port};
use crate::validate::headers::{is_claim, is_matched_name};
use crate::validate::names::is_label;
use crate::validate::patterns::check_pattern;

pub(super) fn check(matches: &[HttpMatch], around: Around, findings: &mut Findings) {
    for (at, one) in matches.iter().enumerate() {
        findings.at(format_args!("match[{at}]"), |findings| check_one(one, around, findings));
    }
}

fn check_one(one: &HttpMatch, around: Around, findings: &mut Findings) {
    // An empty prefix is one of every path (VS-12); of the others Envoy asks for more.
    if !matches!(&one.uri, Some(StringMatch::Prefix(prefix)) if prefix.is_empty()) {
        check_text(one.uri.as_ref(), "uri", findings);
    }
    check_text(one.scheme.as_ref(), "scheme", findings);
    check_text(one.method.as_ref(), "method", findings);
    check_text(one.authority.as_ref(), "authority", findings);
    check_names(&one.headers, "headers", around, findings);
    check_names(&one.without_headers, "withoutHeaders", around, findings);
    for (field, map) in
        [("headers", &one.headers), ("withoutHeaders", &one.without_headers), ("queryParams", &one.query_params)]
    {
        for (name, value) in map {
            findings.at(field, |findings| check_text(Some(value), name, findings));
        }
    }
    if let Some(port) = one.port.filter(|port| *port != 0) {
        check_port(port, "port", code::HTTP_MATCH, findings);
    }
    check_gateways(&one.gateways, findings);
    check_labels(&one.source_labels, "sourceLabels", code::HTTP_MATCH, findings);
    if !one.source_namespace.is_empty() && !is_label(&one.source_namespace) {
        let message = format!("`{}` is not a valid namespace", one.source_namespace);
        findings.error("sourceNamespace", code::HTTP_MATCH, message, "use letters, digits and hyphens");
    }
}

fn check_text(text: Option<&StringMatch>, field: &str, findings: &mut Findings) {
    match text {
        Some(StringMatch::Prefix(prefix)) if prefix.is_empty() => {
            let help = "leave the condition out, or give it a text";
            findings.error(&format!("{field}.prefix"), code::HTTP_MATCH, "the prefix is empty", help);
        }
        Some(StringMatch::Regex(pattern)) => check_pattern(pattern, &format!("{field}.regex"), findings),
        _ => {}
    }
}

/// VS-15, VS-16, VS-22.
fn check_names(map: &Pairs<StringMatch>, field: &str, around: Around, findings: &mut Findings) {
    for name in map.keys() {
        let path = if name.is_empty() { field.to_owned() } else { format!("{field}.{name}") };
        if is_claim(name) {
            if !around.gateways_alone {
                let message = "claims can be matched at gateways alone, and this is for the mesh";
                findings.error(&path, code::HTTP_MATCH, message, "name Gateways in `gateways`, and not `mesh`");
            }
        } else if !is_matched_name(name) {
            let help = match &**name {
                ":authority" => "use the field `authority` of the match",
                ":path" => "use the field `uri` of the match",
                ":method" => "use the field `method` of the match",
                ":scheme" => "use the field `scheme` of the match",
                _ => "use letters, digits, `-` and `_`",
            };
            findings.error(&path, code::HTTP_MATCH, format!("`{name}` is not a valid header name"), help);
        }
    }
}
