//! Redirects, direct responses and rewrites of an HTTP rule: VS-35 to VS-37.

use super::paths;
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::text_match::StringMatch;
use crate::spec::virtual_service::{DirectResponse, HttpBody, HttpMatch, HttpRedirect, HttpRewrite, HttpRoute};
use crate::validate::fields::check_port;
use crate::validate::head_text::{check_authority, check_path};
use crate::validate::patterns::check_pattern;
use base64::Engine as _;

/// Longest body of a direct response (VS-36), and the length from which Istio warns.
const MAX_BODY: usize = 1 << 20;
const LONG_BODY: usize = 100 << 10;

pub(super) fn check(rule: &HttpRoute, findings: &mut Findings) {
    if let Some(redirect) = &rule.redirect {
        findings.at("redirect", |findings| check_redirect(redirect, &rule.matches, findings));
    }
    if let Some(response) = &rule.direct_response {
        findings.at("directResponse", |findings| check_direct(response, findings));
    }
    if let Some(rewrite) = &rule.rewrite {
        findings.at("rewrite", |findings| check_rewrite(rewrite, findings));
    }
}

/// VS-35.
fn check_redirect(redirect: &HttpRedirect, matches: &[HttpMatch], findings: &mut Findings) {
    let mut refuse = |field: &str, message: String, help: &str| {
        findings.error(field, code::HTTP_REDIRECT, message, help);
    };
    let texts = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority, &redirect.scheme];
    if texts.iter().all(|text| text.is_empty()) && redirect.port.is_none() && redirect.derive_port.is_none() {
        let help = "set `uri`, `prefixRewrite`, `authority`, `scheme` or `port`";
        refuse("", "the redirect changes nothing".to_owned(), help);
    }
    if !redirect.uri.is_empty() && !redirect.prefix_rewrite.is_empty() {
        refuse("prefixRewrite", "`uri` and `prefixRewrite` exclude each other".to_owned(), "keep one of them");
    }
    let by_prefix = |one: &HttpMatch| matches!(one.uri, Some(StringMatch::Prefix(_)));
    if !redirect.prefix_rewrite.is_empty() && !matches.iter().all(by_prefix) {
        refuse("prefixRewrite", "`prefixRewrite` needs a match by prefix".to_owned(), "match `uri` by `prefix`");
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        refuse("derivePort", "`port` and `derivePort` exclude each other".to_owned(), "keep one of them");
    }
    if !matches!(&*redirect.scheme, "" | "http" | "https") {
        refuse("scheme", format!("`{}` is not a valid scheme", redirect.scheme), "use `http` or `https`");
    }
    let help = "use 301, 302, 303, 307 or 308";
    match redirect.redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        code @ 300..400 => {
            let message = format!("{code} is a status that no redirect can be carried out with");
            findings.warning("redirectCode", code::HTTP_REDIRECT, message, help);
        }
        code => refuse("redirectCode", format!("{code} is not a redirect status"), help),
    }
    check_path(&redirect.uri, "uri", code::HEAD_TEXT, findings);
    check_path(&redirect.prefix_rewrite, "prefixRewrite", code::HEAD_TEXT, findings);
    check_authority(&redirect.authority, "authority", code::HEAD_TEXT, findings);
    if let Some(port) = redirect.port.filter(|port| *port != 0) {
        check_port(port, "port", code::HTTP_REDIRECT, findings);
    }
    paths::check_redirect(redirect, findings);
}

/// VS-36.
fn check_direct(response: &DirectResponse, findings: &mut Findings) {
    if !(200..600).contains(&response.status) {
        let message = format!("{} is not a response status", response.status);
        findings.error("status", code::HTTP_DIRECT_RESPONSE, message, "use 200 to 599");
    }
    let length = match response.body.as_ref().map_or(Ok(0), length) {
        Ok(length) => length,
        Err((field, message, help)) => {
            findings.error(field, code::HTTP_DIRECT_RESPONSE, message, help);
            return;
        }
    };
    let help = "serve it from a backend";
    if length > MAX_BODY {
        findings.error("body", code::HTTP_DIRECT_RESPONSE, "the body is longer than 1 MB", help);
    } else if length > LONG_BODY {
        findings.warning("body", code::HTTP_DIRECT_RESPONSE, "the body is longer than 100 KB", help);
    }
}

/// How long a body is, or where it is wrong, why, and what to do.
fn length(body: &HttpBody) -> Result<usize, (&'static str, String, &'static str)> {
    match (&body.string, &body.bytes) {
        (Some(_), Some(_)) => Err(("body", "`string` and `bytes` exclude each other".to_owned(), "keep one of them")),
        (Some(text), None) => Ok(text.len()),
        (None, Some(encoded)) => match base64::engine::general_purpose::STANDARD.decode(&**encoded) {
            Ok(bytes) => Ok(bytes.len()),
            Err(_) => Err(("body.bytes", "the bytes are no base64".to_owned(), "encode them, or use `string`")),
        },
        (None, None) => Ok(0),
    }
}

/// VS-37.
fn check_rewrite(rewrite: &HttpRewrite, findings: &mut Findings) {
    if rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none() {
        let help = "set `uri`, `uriRegexRewrite` or `authority`";
        findings.error("", code::HTTP_REWRITE, "the rewrite changes nothing", help);
    }
    paths::check_rewrite(rewrite, findings);
    check_path(&rewrite.uri, "uri", code::HEAD_TEXT, findings);
    check_authority(&rewrite.authority, "authority", code::HEAD_TEXT, findings);
    let Some(regex) = &rewrite.uri_regex_rewrite else { return };
    check_path(&regex.rewrite, "uriRegexRewrite.rewrite", code::HEAD_TEXT, findings);
    if !rewrite.uri.is_empty() {
        let help = "keep one of them";
        findings.error("uri", code::HTTP_REWRITE, "`uri` and `uriRegexRewrite` exclude each other", help);
    }
    if regex.pattern.is_empty() || regex.rewrite.is_empty() {
        findings.error("uriRegexRewrite", code::HTTP_REWRITE, "`match` and `rewrite` are both needed", "set both");
    }
    if !regex.pattern.is_empty() {
        check_pattern(&regex.pattern, "uriRegexRewrite.match", findings);
    }
}
