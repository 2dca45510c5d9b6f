//! How endpoints are chosen: DR-10 to DR-13.

use crate::code;
use crate::diagnostic::Findings;
use crate::spec::destination_rule::{
    ConsistentHash, Distribute, HttpCookie, LoadBalancer, LocalityBalancer, Maglev, SimpleBalancer, Warmup,
};
use crate::validate::fields::check_time;
use crate::validate::head_text;
use text::{CookieName, CookieText};

/// Maglev's table is smaller than this (DR-11).
const MAX_TABLE: u64 = 5_000_011;
/// Labels that stand for a part of a locality.
const TOPOLOGY: &[&str] =
    &["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn check(balancer: &LoadBalancer, outlier: bool, findings: &mut Findings) {
    if let Some(hash) = &balancer.consistent_hash {
        if balancer.simple.is_some_and(|simple| simple != SimpleBalancer::Unspecified) {
            let message = "`simple` and `consistentHash` exclude each other";
            findings.error("simple", code::LOAD_BALANCER, message, "keep one of them");
        }
        findings.at("consistentHash", |findings| check_hash(hash, findings));
    }
    check_time(balancer.warmup_duration_secs, "warmupDurationSecs", code::LOAD_BALANCER, findings);
    if let Some(warmup) = &balancer.warmup {
        findings.at("warmup", |findings| check_warmup(warmup, findings));
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        findings.at("localityLbSetting", |findings| check_locality(locality, outlier, findings));
    }
}

/// DR-11.
fn check_hash(hash: &ConsistentHash, findings: &mut Findings) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip.is_some(),
        hash.http_query_parameter_name.is_some(),
    ];
    let help = "set one of `httpHeaderName`, `httpCookie`, `useSourceIp` and `httpQueryParameterName`";
    match keys.iter().filter(|given| **given).count() {
        0 => findings.warning("", code::LOAD_BALANCER, "there is no key, so that endpoints are random", help),
        1 => {}
        _ => findings.error("", code::LOAD_BALANCER, "there is more than one key", help),
    }
    if let Some(cookie) = &hash.http_cookie {
        check_cookie(cookie, findings);
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        let message = "`ringHash` and `maglev` exclude each other";
        findings.error("maglev", code::LOAD_BALANCER, message, "keep one of them");
    }
    if hash.minimum_ring_size.is_some_and(|size| size != 0) {
        let help = "use `ringHash.minimumRingSize`";
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            let message = "`minimumRingSize` does not go with `ringHash` and `maglev`";
            findings.error("minimumRingSize", code::LOAD_BALANCER, message, help);
        } else {
            findings.warning("minimumRingSize", code::LOAD_BALANCER, "`minimumRingSize` is deprecated here", help);
        }
    }
    if let Some(Maglev { table_size }) = hash.maglev
        && !(table_size < MAX_TABLE && is_prime(table_size))
    {
        let message = format!("{table_size} is not a valid table size");
        findings.error(
            "maglev.tableSize",
            code::LOAD_BALANCER,
            message,
            "use a prime below 5000011, for example 65537",
        );
    }
}

/// What is written into `Set-Cookie` stays within its own part of it (RFC 6265 §4.1.1).
fn check_cookie(cookie: &HttpCookie, findings: &mut Findings) {
    let code = code::LOAD_BALANCER;
    head_text::check(CookieName::parse(&cookie.name), "httpCookie.name", code, findings);
    head_text::check(CookieText::parse(&cookie.path), "httpCookie.path", code, findings);
    for (at, attribute) in cookie.attributes.iter().enumerate() {
        let field = |part: &str| format!("httpCookie.attributes[{at}].{part}");
        head_text::check(CookieName::parse(&attribute.name), &field("name"), code, findings);
        head_text::check(CookieText::parse(&attribute.value), &field("value"), code, findings);
    }
}

/// For numbers below [`MAX_TABLE`], whose roots are small.
fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}

/// DR-12.
fn check_warmup(warmup: &Warmup, findings: &mut Findings) {
    let code = code::LOAD_BALANCER;
    if warmup.duration.is_none() {
        findings.error("duration", code, "the warm-up has no length", "set `duration`");
    }
    check_time(warmup.duration, "duration", code, findings);
    if let Some(percent) = warmup.minimum_percent.filter(|percent| !(0.0..=100.0).contains(percent)) {
        findings.error("minimumPercent", code, format!("{percent} is not a valid percentage"), "use 0 to 100");
    }
    if let Some(aggression) = warmup.aggression.filter(|aggression| aggression.is_nan() || *aggression < 1.0) {
        findings.error("aggression", code, format!("{aggression} is less than 1"), "use 1 or more");
    }
}

/// DR-13.
fn check_locality(locality: &LocalityBalancer, outlier: bool, findings: &mut Findings) {
    let code = code::LOAD_BALANCER;
    if !locality.distribute.is_empty() && !locality.failover.is_empty() {
        findings.error("", code, "`distribute` and `failover` exclude each other", "keep one of them");
        return;
    }
    let by_topology = locality.failover_priority.iter().find(|label| TOPOLOGY.contains(&&***label));
    if let Some(label) = by_topology.filter(|_| !locality.failover.is_empty()) {
        let message = format!("`{label}` in `failoverPriority` and `failover` exclude each other");
        findings.error("failoverPriority", code, message, "keep one of them");
    }
    for (at, distribute) in locality.distribute.iter().enumerate() {
        findings.at(format_args!("distribute[{at}]"), |findings| check_distribute(distribute, findings));
    }
    check_apart(locality.distribute.iter().map(|distribute| &*distribute.from), "distribute", findings);
    let fails_over = !locality.failover.is_empty() || !locality.failover_priority.is_empty();
    if fails_over && !outlier {
        let message = "without `outlierDetection` there is no failover";
        findings.warning("", code, message, "add `outlierDetection` to the policy");
    }
    for (at, failover) in locality.failover.iter().enumerate() {
        let whole = |region: &str| !region.contains(['/', '*']);
        if failover.from == failover.to || !whole(&failover.from) || !whole(&failover.to) {
            let message = format!("`{}` to `{}` is not a valid failover", failover.from, failover.to);
            findings.error(&format!("failover[{at}]"), code, message, "name two different regions");
        }
    }
}

fn check_distribute(distribute: &Distribute, findings: &mut Findings) {
    let code = code::LOAD_BALANCER;
    for (to, share) in distribute.to.iter().filter(|(_, share)| !(1..=100).contains(*share)) {
        findings.error(&format!("to.{to}"), code, format!("{share} is not a valid share"), "use 1 to 100");
    }
    let sum: u64 = distribute.to.values().map(|share| u64::from(*share)).sum();
    if sum != 100 {
        findings.error("to", code, format!("the shares sum up to {sum}"), "make it 100");
    }
    check_apart(distribute.to.keys().map(|to| &**to), "to", findings);
}

/// Localities of one list are well-formed, and none lies within another.
fn check_apart<'a>(localities: impl Iterator<Item = &'a str>, field: &str, findings: &mut Findings) {
    let code = code::LOAD_BALANCER;
    let mut before: Vec<&str> = Vec::new();
    for locality in localities {
        let stars = locality.matches('*').count();
        if locality.split('/').any(str::is_empty) || stars > 1 || (stars == 1 && !locality.ends_with('*')) {
            let message = format!("`{locality}` is not a valid locality");
            findings.error(field, code, message, "write `region/zone/subzone`, or less of it, or `*` at its end");
        } else if let Some(other) = before.iter().find(|other| is_within(locality, other) || is_within(other, locality))
        {
            findings.error(field, code, format!("`{locality}` and `{other}` overlap"), "keep one of them");
        }
        before.push(locality);
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    let outer = outer.strip_suffix('*').map_or(outer, |outer| outer.strip_suffix('/').unwrap_or(outer));
    let inner = inner.strip_suffix("/*").unwrap_or(inner);
    outer.is_empty() || inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}
