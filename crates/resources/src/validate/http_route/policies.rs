//! Retries, faults and CORS of an HTTP rule: VS-41, VS-43, VS-44, VS-46.

use crate::code;
use crate::diagnostic::Findings;
use crate::spec::scalar::Percent;
use crate::spec::text_match::StringMatch;
use crate::spec::virtual_service::{
    CorsPolicy, FaultAbort, FaultDelay, GRPC_STATUSES, HttpFault, HttpRetry, HttpRoute,
};
use crate::suggest;
use crate::validate::fields::check_time;
use crate::validate::headers::is_matched_name;
use crate::validate::patterns::check_pattern;

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
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

pub(super) fn check(rule: &HttpRoute, findings: &mut Findings) {
    if let Some(retries) = &rule.retries {
        findings.at("retries", |findings| check_retries(retries, findings));
    }
    if let Some(fault) = &rule.fault {
        findings.at("fault", |findings| check_fault(fault, findings));
    }
    if let Some(cors) = &rule.cors_policy {
        findings.at("corsPolicy", |findings| check_cors(cors, findings));
    }
}

fn check_retries(retries: &HttpRetry, findings: &mut Findings) {
    let others =
        retries.per_try_timeout.is_some() || !retries.retry_on.is_empty() || retries.retry_remote_localities.is_some();
    if retries.attempts < 0 {
        let help = "use 0 to switch retries off";
        findings.error("attempts", code::HTTP_RETRIES, "attempts may not be negative", help);
    } else if retries.attempts == 0 && others {
        let message = "retries are off, and yet other settings are there";
        findings.error("attempts", code::HTTP_RETRIES, message, "set `attempts`, or remove the rest");
    }
    check_time(retries.per_try_timeout, "perTryTimeout", code::HTTP_RETRIES, findings);
    check_time(retries.backoff, "backoff", code::HTTP_RETRIES, findings);
    for word in retries.retry_on.split(',').filter(|_| !retries.retry_on.is_empty()) {
        if !(RETRY_WORDS.contains(&word) || is_status(word)) {
            let trimmed = word.trim();
            let help = if trimmed != word && (RETRY_WORDS.contains(&trimmed) || is_status(trimmed)) {
                "remove the blank".to_owned()
            } else {
                suggest::help(word, RETRY_WORDS, "use statuses and")
            };
            findings.error("retryOn", code::HTTP_RETRIES, format!("unknown condition `{word}`"), help);
        }
    }
}

/// A status that has a name.
fn is_status(word: &str) -> bool {
    matches!(
        word.parse(),
        Ok(
            100..=103
            | 200..=208
            | 226
            | 300..=305
            | 307
            | 308
            | 400..=418
            | 421..=426
            | 428
            | 429
            | 431
            | 451
            | 500..=508
            | 510
            | 511,
        )
    )
}

fn check_fault(fault: &HttpFault, findings: &mut Findings) {
    if fault.delay.is_none() && fault.abort.is_none() {
        findings.error("", code::HTTP_FAULT, "the fault has neither `delay` nor `abort`", "add one of them");
    }
    if let Some(delay) = &fault.delay {
        findings.at("delay", |findings| check_delay(delay, findings));
    }
    if let Some(abort) = &fault.abort {
        findings.at("abort", |findings| check_abort(abort, findings));
    }
}

/// VS-43.
fn check_delay(delay: &FaultDelay, findings: &mut Findings) {
    if delay.exponential_delay.is_some() {
        let help = "use `fixedDelay`";
        findings.error("exponentialDelay", code::HTTP_FAULT, "Istio has never carried this out", help);
    } else if delay.fixed_delay.is_none() {
        findings.warning("", code::HTTP_FAULT, "the delay has no length, so that it does nothing", "set `fixedDelay`");
    }
    check_time(delay.fixed_delay, "fixedDelay", code::HTTP_FAULT, findings);
    check_share(delay.percentage, delay.percent, findings);
}

/// VS-44.
fn check_abort(abort: &FaultAbort, findings: &mut Findings) {
    let given = [abort.http_status.is_some(), abort.grpc_status.is_some(), abort.http2_error.is_some()];
    match given.iter().filter(|given| **given).count() {
        0 => {
            let help = "set `httpStatus` or `grpcStatus`";
            findings.warning("", code::HTTP_FAULT, "the abort has no status, so that it does nothing", help);
        }
        1 => {}
        _ => findings.error("", code::HTTP_FAULT, "the abort has more than one status", "keep one of them"),
    }
    if abort.http2_error.is_some() {
        let help = "use `httpStatus` or `grpcStatus`";
        findings.error("http2Error", code::HTTP_FAULT, "Istio has never carried this out", help);
    }
    if let Some(status) = abort.http_status.filter(|status| !(200..600).contains(status)) {
        findings.error("httpStatus", code::HTTP_FAULT, format!("{status} is not a valid status"), "use 200 to 599");
    }
    if let Some(status) = abort.grpc_status.as_ref().filter(|status| !GRPC_STATUSES.contains(&&***status)) {
        let help = suggest::help(status, &GRPC_STATUSES, "use one of");
        findings.error("grpcStatus", code::HTTP_FAULT, format!("unknown gRPC status `{status}`"), help);
    }
    check_share(abort.percentage, 0, findings);
}

/// Envoy counts in millionths, so that less is none; the old whole numbers Istio does not look at.
fn check_share(percentage: Option<Percent>, percent: i32, findings: &mut Findings) {
    let counts = |share: f64| share == 0.0 || (0.0001..=100.0).contains(&share);
    if let Some(share) = percentage.filter(|share| !counts(share.value)) {
        let message = format!("must be between 0.0001 and 100, is {}", share.value);
        findings.error("percentage.value", code::HTTP_FAULT, message, "use 0, or 0.0001 to 100");
    }
    if !(0..=100).contains(&percent) {
        let message = format!("must be between 0 and 100, is {percent}");
        findings.warning("percent", code::HTTP_FAULT, message, "use `percentage` with 0 to 100");
    }
}

/// VS-46.
fn check_cors(cors: &CorsPolicy, findings: &mut Findings) {
    for (at, origin) in cors.allow_origins.iter().enumerate() {
        let field = format!("allowOrigins[{at}]");
        match origin {
            StringMatch::Regex(pattern) => check_pattern(pattern, &format!("{field}.regex"), findings),
            StringMatch::Exact(text) | StringMatch::Prefix(text) if !text.is_empty() => {}
            _ => {
                let help = "set `exact`, `prefix` or `regex`";
                findings.error(&field, code::HTTP_CORS, "the origin is empty", help);
            }
        }
    }
    for (at, method) in cors.allow_methods.iter().enumerate().filter(|(_, method)| !METHODS.contains(&&***method)) {
        let message = format!("`{method}` is not a valid method");
        let help = format!("use one of {}", METHODS.join(", "));
        findings.error(&format!("allowMethods[{at}]"), code::HTTP_CORS, message, help);
    }
    for (field, names) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        let wrong = |name: &str| name != "*" && !is_matched_name(name);
        for (at, name) in names.iter().enumerate().filter(|(_, name)| wrong(name)) {
            let help = "use letters, digits, `-` and `_`, or `*`";
            findings.error(
                &format!("{field}[{at}]"),
                code::HTTP_CORS,
                format!("`{name}` is not a valid header name"),
                help,
            );
        }
    }
    check_time(cors.max_age, "maxAge", code::HTTP_CORS, findings);
    let age = cors.max_age.and_then(|age| age.get()).unwrap_or_default();
    if age.as_millis() > 0 && age.subsec_nanos() != 0 {
        findings.error("maxAge", code::HTTP_CORS, "the age is in whole seconds", "round it");
    }
}
