//! The HTTP rules of a VirtualService: what each does and where to (VS-30 to VS-34, VS-45, VS-48). Conditions, answers and
//! policies of a rule are in the modules below.

mod answers;
mod around;
mod matches;
mod paths;
mod policies;
mod reach;

use super::fields::{check_port, check_time};
use super::headers::{check_authority, check_headers};
use super::names::{is_host, is_label};
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::destination_rule::Destination;
use crate::spec::scalar::Percent;
use crate::spec::virtual_service::{Delegate, HttpRoute};

pub(super) use around::Around;

pub(super) fn check_http(rules: &[HttpRoute], around: Around, findings: &mut Findings) {
    for (at, rule) in rules.iter().enumerate() {
        findings.at(format_args!("http[{at}]"), |findings| check_rule(rule, around, findings));
    }
    reach::check_http(rules, findings);
}

fn check_rule(rule: &HttpRoute, around: Around, findings: &mut Findings) {
    check_action(rule, findings);
    if let Some(delegate) = &rule.delegate {
        check_delegate(delegate, around, findings);
    }
    check_destinations(rule, findings);
    matches::check(&rule.matches, around, findings);
    check_time(rule.timeout, "timeout", code::HTTP_TIMEOUT, findings);
    answers::check(rule, findings);
    if let Some(headers) = &rule.headers {
        findings.at("headers", |findings| check_headers(headers, findings));
    }
    check_authority(rule.rewrite.as_deref(), rule.headers.as_deref(), findings);
    policies::check(rule, findings);
    check_mirrors(rule, findings);
}

/// VS-30.
fn check_action(rule: &HttpRoute, findings: &mut Findings) {
    let actions =
        [!rule.route.is_empty(), rule.redirect.is_some(), rule.direct_response.is_some(), rule.delegate.is_some()];
    match actions.iter().filter(|given| **given).count() {
        0 => {
            let help = "add `route`, `redirect`, `directResponse` or `delegate`";
            findings.error("", code::HTTP_ACTION, "the rule does nothing", help);
        }
        1 => {}
        _ => {
            let help = "keep one of `route`, `redirect`, `directResponse` and `delegate`";
            findings.error("", code::HTTP_ACTION, "the rule does several things", help);
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
}

/// VS-48.
fn check_delegate(named: &Delegate, around: Around, findings: &mut Findings) {
    if around.delegate {
        let help = "name the last one directly";
        findings.error("delegate", code::HTTP_DELEGATE, "a delegate may not delegate again", help);
    }
    if named.name.is_empty() {
        let help = "name a VirtualService";
        findings.error("delegate.name", code::HTTP_DELEGATE, "the delegate has no name", help);
    }
}

fn check_destinations(rule: &HttpRoute, findings: &mut Findings) {
    for (at, one) in rule.route.iter().enumerate() {
        findings.at(format_args!("route[{at}]"), |findings| {
            check_destination(one.destination.as_ref(), "destination", findings);
            if let Some(headers) = &one.headers {
                findings.at("headers", |findings| check_headers(headers, findings));
            }
        });
    }
    check_weights(rule.route.iter().map(|one| one.weight), findings);
}

/// VS-33.
pub(super) fn check_weights(weights: impl ExactSizeIterator<Item = i32>, findings: &mut Findings) {
    let several = weights.len() > 1;
    let mut sum = 0_i64;
    for (at, weight) in weights.enumerate() {
        sum += i64::from(weight);
        if weight < 0 {
            let field = format!("route[{at}].weight");
            let help = "use 0 or a positive number";
            findings.error(&field, code::ROUTE_WEIGHT, format!("{weight} is not a valid weight"), help);
        }
    }
    if several && sum == 0 {
        let help = "give one of the destinations a weight";
        findings.error("route", code::ROUTE_WEIGHT, "the weights sum up to zero", help);
    }
}

/// VS-31.
pub(super) fn check_destination(destination: Option<&Destination>, field: &str, findings: &mut Findings) {
    let Some(destination) = destination else {
        let help = "add `destination` with a host";
        findings.error(field, code::DESTINATION, "the destination is missing", help);
        return;
    };
    findings.at(field, |findings| {
        let host = &destination.host;
        if host.is_empty() {
            let help = "name a Service or the host of a ServiceEntry";
            findings.error("host", code::DESTINATION, "the destination has no host", help);
        } else if &**host == "*" || !is_host(host) {
            let help = "name a Service, or the host of a ServiceEntry that has the address among its endpoints";
            findings.error("host", code::DESTINATION, format!("`{host}` is not a valid service host"), help);
        }
        if !destination.subset.is_empty() && !is_label(&destination.subset) {
            let message = format!("`{}` is not a valid subset name", destination.subset);
            findings.error("subset", code::DESTINATION, message, "use letters, digits and hyphens");
        }
        if let Some(port) = destination.port {
            check_port(port.number, "port.number", code::DESTINATION, findings);
        }
    });
}

/// VS-45.
fn check_mirrors(rule: &HttpRoute, findings: &mut Findings) {
    if rule.mirror.is_some() && !rule.mirrors.is_empty() {
        let help = "keep one of them";
        findings.error("mirrors", code::HTTP_MIRROR, "`mirror` and `mirrors` exclude each other", help);
    }
    if let Some(mirror) = &rule.mirror {
        check_destination(Some(mirror), "mirror", findings);
    }
    for (at, mirror) in rule.mirrors.iter().enumerate() {
        findings.at(format_args!("mirrors[{at}]"), |findings| {
            check_destination(mirror.destination.as_ref(), "destination", findings);
            check_share(mirror.percentage, "percentage", findings);
        });
    }
    check_share(rule.mirror_percentage.as_deref().copied(), "mirrorPercentage", findings);
    if let Some(percent) = rule.mirror_percent {
        if percent > 100 {
            let help = "use a number from 0 to 100";
            findings.error("mirrorPercent", code::HTTP_MIRROR, format!("{percent} is more than 100 %"), help);
        }
        let help = "use `mirrorPercentage`";
        findings.warning("mirrorPercent", code::HTTP_MIRROR, "`mirrorPercent` is deprecated", help);
    }
}

fn check_share(share: Option<Percent>, field: &str, findings: &mut Findings) {
    if let Some(share) = share.filter(|share| !(0.0..=100.0).contains(&share.value)) {
        let message = format!("must be between 0 and 100, is {}", share.value);
        findings.error(field, code::HTTP_MIRROR, message, "use a number from 0 to 100");
    }
}
