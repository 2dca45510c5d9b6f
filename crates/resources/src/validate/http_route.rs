//! The HTTP rules of a VirtualService: VS-10 to VS-49.

use super::names::{check_port, check_regex, is_address, is_name_or_wildcard};
use super::virtual_service::check_gateway;
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::destination_rule::Destination;
use crate::spec::scalar::{Duration, Text};
use crate::spec::text_match::StringMatch;
use crate::spec::virtual_service::{
    DirectResponse, HeaderOperations, Headers, HttpFault, HttpMatch, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute,
    Percent,
};
use base64::Engine as _;
use std::collections::BTreeMap;

/// Longest body of a direct response (VS-36), and the length from which Istio warns.
const MAX_BODY: usize = 1 << 20;
const LONG_BODY: usize = 100 << 10;
/// VS-41.
const RETRY_WORDS: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(super) fn check_http(rules: &[HttpRoute], delegate: bool, findings: &mut Findings) {
    let mut takes_all: Option<usize> = None;
    for (at, rule) in rules.iter().enumerate() {
        findings.at(format!("http[{at}]"), |findings| {
            check_rule(rule, delegate, findings);
            if let Some(before) = takes_all {
                let message = format!("the rule is never reached: http[{before}] takes every request");
                findings.warning(
                    "",
                    code::UNREACHABLE_RULE,
                    message,
                    "move it before that rule, or give that rule a match",
                );
            }
        });
        if takes_all.is_none() && (rule.matches.is_empty() || rule.matches.iter().any(is_catch_all)) {
            takes_all = Some(at);
        }
    }
}

fn is_catch_all(one: &HttpMatch) -> bool {
    let any_path = match &one.uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
        Some(StringMatch::Regex(pattern)) => matches!(&**pattern, "*" | ".*"),
        Some(_) => false,
    };
    any_path
        && HttpMatch { uri: None, name: Text::default(), stat_prefix: Text::default(), ..one.clone() }
            == HttpMatch::default()
}

fn check_rule(rule: &HttpRoute, delegate: bool, findings: &mut Findings) {
    check_action(rule, delegate, findings);
    for (at, one) in rule.matches.iter().enumerate() {
        findings.at(format!("match[{at}]"), |findings| check_match(one, findings));
    }
    check_timeout(rule.timeout, "timeout", findings);
    if let Some(redirect) = &rule.redirect {
        findings.at("redirect", |findings| check_redirect(redirect, rule, findings));
    }
    if let Some(response) = &rule.direct_response {
        findings.at("directResponse", |findings| check_direct(response, findings));
    }
    if let Some(rewrite) = &rule.rewrite {
        findings.at("rewrite", |findings| check_rewrite(rewrite, findings));
    }
    if let Some(headers) = &rule.headers {
        findings.at("headers", |findings| check_headers(headers, findings));
    }
    if let Some(retries) = &rule.retries {
        findings.at("retries", |findings| check_retries(retries, findings));
    }
    if let Some(fault) = &rule.fault {
        findings.at("fault", |findings| check_fault(fault, findings));
    }
    check_mirrors(rule, findings);
    check_cors(rule, findings);
}

/// VS-30.
fn check_action(rule: &HttpRoute, delegate: bool, findings: &mut Findings) {
    let actions =
        [!rule.route.is_empty(), rule.redirect.is_some(), rule.direct_response.is_some(), rule.delegate.is_some()];
    let help = "keep one of `route`, `redirect`, `directResponse` and `delegate`";
    match actions.iter().filter(|given| **given).count() {
        0 => findings.error(
            "",
            code::HTTP_ACTION,
            "the rule does nothing",
            "add `route`, `redirect`, `directResponse` or `delegate`",
        ),
        1 => {}
        _ => findings.error("", code::HTTP_ACTION, "the rule does several things", help),
    }
    if let Some(named) = &rule.delegate {
        if delegate {
            findings.error(
                "delegate",
                code::HTTP_DELEGATE,
                "a delegate may not delegate again",
                "name the last one directly",
            );
        }
        if named.name.is_empty() {
            findings.error("delegate.name", code::HTTP_DELEGATE, "the delegate has no name", "name a VirtualService");
        }
    }
    if rule.redirect.is_some() || rule.direct_response.is_some() {
        for (given, field) in [(rule.fault.is_some(), "fault"), (rule.rewrite.is_some(), "rewrite")] {
            if given {
                let message = format!("`{field}` does not go with a redirect or a direct response");
                findings.error(field, code::HTTP_ACTION, message, "remove one of them");
            }
        }
    }
    for (at, one) in rule.route.iter().enumerate() {
        findings.at(format!("route[{at}]"), |findings| {
            destination_of(one.destination.as_ref(), "destination", findings);
            if let Some(headers) = &one.headers {
                findings.at("headers", |findings| check_headers(headers, findings));
            }
        });
    }
    check_weights(&rule.route.iter().map(|one| one.weight).collect::<Vec<_>>(), findings);
}

/// VS-33.
pub(super) fn check_weights(weights: &[i32], findings: &mut Findings) {
    for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight < 0) {
        let field = format!("route[{at}].weight");
        findings.error(&field, code::ROUTE_WEIGHT, format!("{weight} is no weight"), "use 0 or a positive number");
    }
    if weights.len() > 1 && weights.iter().all(|weight| *weight == 0) {
        findings.error("route", code::ROUTE_WEIGHT, "all weights are zero", "give one of the destinations a weight");
    }
}

pub(super) fn destination_of(destination: Option<&Destination>, field: &str, findings: &mut Findings) {
    let Some(destination) = destination else {
        findings.error(field, code::DESTINATION, "the destination is missing", "add `destination` with a host");
        return;
    };
    findings.at(field, |findings| {
        let host = &destination.host;
        if host.is_empty() {
            findings.error(
                "host",
                code::DESTINATION,
                "the destination has no host",
                "name a Service or the host of a ServiceEntry",
            );
        } else if &**host == "*" || !(is_name_or_wildcard(host) || is_address(host)) {
            findings.error(
                "host",
                code::DESTINATION,
                format!("`{host}` is no host"),
                "name a Service or the host of a ServiceEntry",
            );
        }
        if let Some(port) = destination.port {
            check_port(port.number, "port.number", code::DESTINATION, findings);
        }
    });
}

fn check_match(one: &HttpMatch, findings: &mut Findings) {
    let single = [("uri", &one.uri), ("scheme", &one.scheme), ("method", &one.method), ("authority", &one.authority)];
    for (field, text) in single {
        match text {
            Some(StringMatch::Prefix(prefix)) if prefix.is_empty() && field == "uri" => {
                findings.error(
                    "uri.prefix",
                    code::HTTP_MATCH,
                    "an empty prefix is not allowed",
                    "use `/` for every path",
                );
            }
            Some(StringMatch::Regex(pattern)) => check_regex(pattern, &format!("{field}.regex"), findings),
            _ => {}
        }
    }
    check_map(&one.headers, "headers", true, findings);
    check_map(&one.without_headers, "withoutHeaders", true, findings);
    check_map(&one.query_params, "queryParams", false, findings);
    if let Some(port) = one.port {
        check_port(port, "port", code::HTTP_MATCH, findings);
    }
    for (at, gateway) in one.gateways.iter().enumerate() {
        check_gateway(gateway, &format!("gateways[{at}]"), findings);
    }
}

fn check_map(map: &BTreeMap<Text, StringMatch>, field: &str, header: bool, findings: &mut Findings) {
    for (name, value) in map {
        let path = format!("{field}.{name}");
        if name.is_empty() || (header && !name.starts_with('@') && !is_header_name(name)) {
            findings.error(
                &path,
                code::HTTP_MATCH,
                format!("`{name}` is no header name"),
                "use letters, digits and hyphens",
            );
        }
        if let StringMatch::Regex(pattern) = value {
            check_regex(pattern, &format!("{path}.regex"), findings);
        }
    }
}

fn is_header_name(name: &str) -> bool {
    let name = name.strip_prefix(':').unwrap_or(name);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check_timeout(timeout: Option<Duration>, field: &str, findings: &mut Findings) {
    let Some(timeout) = timeout else { return };
    if timeout.get().is_none_or(|length| length.as_millis() == 0) {
        let help = "leave it out for no limit, or use 1ms or more";
        findings.error(field, code::HTTP_TIMEOUT, format!("{timeout} is shorter than 1 ms"), help);
    }
}

/// VS-35.
fn check_redirect(redirect: &HttpRedirect, rule: &HttpRoute, findings: &mut Findings) {
    let nothing = redirect.uri.is_empty()
        && redirect.prefix_rewrite.is_empty()
        && redirect.authority.is_empty()
        && redirect.scheme.is_empty()
        && redirect.port.is_none()
        && redirect.derive_port.is_none();
    if nothing {
        findings.error(
            "",
            code::HTTP_REDIRECT,
            "the redirect changes nothing",
            "set `uri`, `prefixRewrite`, `authority`, `scheme` or `port`",
        );
    }
    if !redirect.uri.is_empty() && !redirect.prefix_rewrite.is_empty() {
        findings.error(
            "prefixRewrite",
            code::HTTP_REDIRECT,
            "`uri` and `prefixRewrite` exclude each other",
            "keep one of them",
        );
    }
    if !redirect.prefix_rewrite.is_empty()
        && rule.matches.iter().any(|one| !matches!(one.uri, Some(StringMatch::Prefix(_))))
    {
        findings.error(
            "prefixRewrite",
            code::HTTP_REDIRECT,
            "`prefixRewrite` needs a match by prefix",
            "match `uri` by `prefix`",
        );
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        findings.error(
            "derivePort",
            code::HTTP_REDIRECT,
            "`port` and `derivePort` exclude each other",
            "keep one of them",
        );
    }
    if let Some(port) = redirect.port {
        check_port(port, "port", code::HTTP_REDIRECT, findings);
    }
    if !matches!(&*redirect.scheme, "" | "http" | "https") {
        findings.error(
            "scheme",
            code::HTTP_REDIRECT,
            format!("`{}` is no scheme", redirect.scheme),
            "use `http` or `https`",
        );
    }
    if redirect.redirect_code != 0 && !(300..400).contains(&redirect.redirect_code) {
        let message = format!("{} is no redirect", redirect.redirect_code);
        findings.error("redirectCode", code::HTTP_REDIRECT, message, "use 301, 302, 303, 307 or 308");
    }
}

/// VS-36.
fn check_direct(response: &DirectResponse, findings: &mut Findings) {
    if !(200..600).contains(&response.status) {
        let message = format!("{} is no status of a response", response.status);
        findings.error("status", code::HTTP_DIRECT_RESPONSE, message, "use 200 to 599");
    }
    let Some(body) = &response.body else { return };
    let length = match (&body.string, &body.bytes) {
        (Some(_), Some(_)) => {
            findings.error(
                "body",
                code::HTTP_DIRECT_RESPONSE,
                "`string` and `bytes` exclude each other",
                "keep one of them",
            );
            return;
        }
        (Some(text), None) => text.len(),
        (None, Some(encoded)) => match base64::engine::general_purpose::STANDARD.decode(&**encoded) {
            Ok(bytes) => bytes.len(),
            Err(error) => {
                let message = format!("the bytes are no base64: {error}");
                findings.error("body.bytes", code::HTTP_DIRECT_RESPONSE, message, "encode them, or use `string`");
                return;
            }
        },
        (None, None) => 0,
    };
    if length > MAX_BODY {
        findings.error("body", code::HTTP_DIRECT_RESPONSE, "the body is longer than 1 MB", "serve it from a backend");
    } else if length > LONG_BODY {
        findings.warning(
            "body",
            code::HTTP_DIRECT_RESPONSE,
            "the body is longer than 100 KB",
            "serve it from a backend",
        );
    }
}

/// VS-37.
fn check_rewrite(rewrite: &HttpRewrite, findings: &mut Findings) {
    if rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none() {
        findings.error(
            "",
            code::HTTP_REWRITE,
            "the rewrite changes nothing",
            "set `uri`, `uriRegexRewrite` or `authority`",
        );
    }
    let Some(regex) = &rewrite.uri_regex_rewrite else { return };
    if !rewrite.uri.is_empty() {
        findings.error("uri", code::HTTP_REWRITE, "`uri` and `uriRegexRewrite` exclude each other", "keep one of them");
    }
    if regex.pattern.is_empty() || regex.rewrite.is_empty() {
        findings.error("uriRegexRewrite", code::HTTP_REWRITE, "`match` and `rewrite` are both needed", "set both");
    }
    check_regex(&regex.pattern, "uriRegexRewrite.match", findings);
}

/// VS-47.
fn check_headers(headers: &Headers, findings: &mut Findings) {
    for (field, operations) in [("request", &headers.request), ("response", &headers.response)] {
        if let Some(operations) = operations {
            findings.at(field, |findings| check_operations(operations, findings));
        }
    }
}

fn check_operations(operations: &HeaderOperations, findings: &mut Findings) {
    let written = [("set", &operations.set), ("add", &operations.add)];
    let names = written.iter().flat_map(|(field, map)| map.keys().map(move |name| (*field, name)));
    for (field, name) in names.chain(operations.remove.iter().map(|name| ("remove", name))) {
        if !is_header_name(name) {
            let path = if name.is_empty() { field.to_owned() } else { format!("{field}.{name}") };
            findings.error(
                &path,
                code::HEADER_OPERATION,
                format!("`{name}` is no header name"),
                "use letters, digits and hyphens",
            );
        }
    }
    for (field, map) in written {
        for (name, value) in map.iter().filter(|(_, value)| value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0))) {
            let message = format!("the value {value:?} has a line break or NUL");
            findings.error(&format!("{field}.{name}"), code::HEADER_OPERATION, message, "write it on one line");
        }
    }
}

/// VS-41.
fn check_retries(retries: &HttpRetry, findings: &mut Findings) {
    if retries.attempts < 0 {
        findings.error("attempts", code::HTTP_RETRIES, "attempts may not be negative", "use 0 to switch retries off");
    }
    if retries.attempts == 0
        && (retries.per_try_timeout.is_some()
            || !retries.retry_on.is_empty()
            || retries.retry_remote_localities.is_some())
    {
        findings.error(
            "attempts",
            code::HTTP_RETRIES,
            "retries are off, and yet other settings are there",
            "set `attempts`, or remove the rest",
        );
    }
    check_timeout(retries.per_try_timeout, "perTryTimeout", findings);
    for word in retries.retry_on.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let status = word.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
        if !status && !RETRY_WORDS.contains(&word) {
            findings.error(
                "retryOn",
                code::HTTP_RETRIES,
                format!("`{word}` is no cause to retry"),
                format!("use statuses and {}", RETRY_WORDS.join(", ")),
            );
        }
    }
}

/// VS-43, VS-44.
fn check_fault(fault: &HttpFault, findings: &mut Findings) {
    if fault.delay.is_none() && fault.abort.is_none() {
        findings.error("", code::HTTP_FAULT, "the fault has neither `delay` nor `abort`", "add one of them");
    }
    if let Some(delay) = &fault.delay {
        findings.at("delay", |findings| {
            if delay.fixed_delay.is_none() {
                findings.error("fixedDelay", code::HTTP_FAULT, "the delay has no length", "set `fixedDelay`");
            }
            check_timeout(delay.fixed_delay, "fixedDelay", findings);
            check_percent(delay.percentage, delay.percent, code::HTTP_FAULT, findings);
        });
    }
    if let Some(abort) = &fault.abort {
        findings.at("abort", |findings| {
            match (abort.http_status, &abort.grpc_status) {
                (None, None) => {
                    findings.error("", code::HTTP_FAULT, "the abort has no status", "set `httpStatus` or `grpcStatus`")
                }
                (Some(status), _) if !(200..600).contains(&status) => {
                    findings.error("httpStatus", code::HTTP_FAULT, format!("{status} is no status"), "use 200 to 599");
                }
                _ => {}
            }
            check_percent(abort.percentage, abort.percent, code::HTTP_FAULT, findings);
        });
    }
}

fn check_percent(percentage: Option<Percent>, percent: i32, code: &'static str, findings: &mut Findings) {
    if percentage.is_some_and(|share| !(0.0..=100.0).contains(&share.value)) || !(0..=100).contains(&percent) {
        findings.error("percentage", code, "a share is 0 to 100", "use a number from 0 to 100");
    }
}

/// VS-45.
fn check_mirrors(rule: &HttpRoute, findings: &mut Findings) {
    if rule.mirror.is_some() && !rule.mirrors.is_empty() {
        findings.error("mirrors", code::HTTP_MIRROR, "`mirror` and `mirrors` exclude each other", "keep one of them");
    }
    if let Some(mirror) = &rule.mirror {
        destination_of(Some(mirror), "mirror", findings);
    }
    for (at, mirror) in rule.mirrors.iter().enumerate() {
        findings.at(format!("mirrors[{at}]"), |findings| {
            destination_of(mirror.destination.as_ref(), "destination", findings);
            check_percent(mirror.percentage, 0, code::HTTP_MIRROR, findings);
        });
    }
    if rule.mirror_percentage.is_some_and(|share| !(0.0..=100.0).contains(&share.value)) {
        findings.error("mirrorPercentage", code::HTTP_MIRROR, "a share is 0 to 100", "use a number from 0 to 100");
    }
}

/// VS-46.
fn check_cors(rule: &HttpRoute, findings: &mut Findings) {
    let Some(cors) = &rule.cors_policy else { return };
    findings.at("corsPolicy", |findings| {
        for (at, origin) in cors.allow_origins.iter().enumerate() {
            if let StringMatch::Regex(pattern) = origin {
                check_regex(pattern, &format!("allowOrigins[{at}].regex"), findings);
            }
        }
        if let Some(age) = cors.max_age
            && age.get().is_none_or(|age| age.subsec_nanos() != 0)
        {
            findings.error("maxAge", code::HTTP_CORS, "the age is in whole seconds", "round it");
        }
    });
}
