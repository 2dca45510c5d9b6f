//! `--limit NAME=VALUE`: the bounds of the data plane by name. Each stands in `docs/features.md`.

use crate::descriptors::Plan;
use crate::operators::OperatorLimits;
use anyhow::{Result, bail};
use dataplane::Limits;
use resources::spec::scalar;
use std::time::Duration;

/// The largest head: a buffer has to have room for it.
const LARGEST_HEAD: usize = 120 << 10;
/// The bounds of windows (RFC 9113 §6.9).
const WINDOWS: std::ops::RangeInclusive<usize> = 65_535..=i32::MAX as usize;

/// What names a limit, and how it is set.
type Setter = (&'static str, fn(&mut Limits, &str) -> Option<()>);

const SETTERS: &[Setter] = &[
    ("head-bytes", |limits, text| size(text, 1024..=LARGEST_HEAD).map(|value| limits.head.bytes = value)),
    ("head-lines", |limits, text| size(text, 1..=wire::h1::MAX_FIELDS).map(|value| limits.head.fields = value)),
    ("head-timeout", |limits, text| time(text).map(|value| limits.head_timeout = value)),
    ("idle-timeout", |limits, text| time(text).map(|value| limits.idle_timeout = value)),
    ("body-timeout", |limits, text| time(text).map(|value| limits.body_timeout = value)),
    ("write-timeout", |limits, text| time(text).map(|value| limits.write_timeout = value)),
    ("tunnel-timeout", |limits, text| time(text).map(|value| limits.tunnel_timeout = value)),
    ("client-hello-timeout", |limits, text| time(text).map(|value| limits.client_hello_timeout = value)),
    ("handshake-timeout", |limits, text| time(text).map(|value| limits.handshake_timeout = value)),
    ("handshakes", |limits, text| any(text).map(|value| limits.handshakes = value)),
    ("connections", |limits, text| any(text).map(|value| limits.connections = value)),
    ("listener-connections", |limits, text| any(text).map(|value| limits.listener_connections = Some(value))),
    ("address-connections", |limits, text| off(text, any).map(|value| limits.address.connections = value)),
    ("address-rate", |limits, text| off(text, number).map(|value| limits.address.rate = value)),
    ("address-handshakes", |limits, text| off(text, any).map(|value| limits.address.handshakes = value)),
    ("replay-bytes", |limits, text| size(text, 0..=usize::MAX).map(|value| limits.replay_bytes = value)),
    ("linger-bytes", |limits, text| size(text, 0..=usize::MAX).map(|value| limits.linger_bytes = value)),
    ("linger-timeout", |limits, text| time(text).map(|value| limits.linger_timeout = value)),
    ("resolve-timeout", |limits, text| time(text).map(|value| limits.resolve_timeout = value)),
    ("http2-streams", |limits, text| number(text).map(|value| limits.http2.streams = value)),
    ("http2-stream-window", |limits, text| window(text).map(|value| limits.http2.stream_window = value)),
    ("http2-connection-window", |limits, text| window(text).map(|value| limits.http2.connection_window = value)),
    ("http2-send-buffer", |limits, text| any(text).map(|value| limits.http2.send_buffer = value)),
    ("http2-resets", |limits, text| any(text).map(|value| limits.http2.resets = value)),
    ("http2-cheap-frames", |limits, text| number(text).map(|value| limits.http2.cheap_frames = value)),
    ("http2-refusals", |limits, text| number(text).map(|value| limits.http2.refusals = value)),
    ("heads-of-connection", |limits, text| any(text).map(|value| limits.heads.connection = value)),
    ("heads-of-worker", |limits, text| any(text).map(|value| limits.heads.worker = value)),
    ("heads-of-process", |limits, text| any(text).map(|value| limits.heads.process = value)),
    ("responses-of-connection", |limits, text| any(text).map(|value| limits.responses.connection = value)),
    ("responses-of-worker", |limits, text| any(text).map(|value| limits.responses.worker = value)),
    ("responses-of-process", |limits, text| any(text).map(|value| limits.responses.process = value)),
    ("ahead-of-worker", |limits, text| any(text).map(|value| limits.ahead.worker = value)),
    ("ahead-of-process", |limits, text| any(text).map(|value| limits.ahead.process = value)),
    ("mirrors", |limits, text| any(text).map(|value| limits.mirrors = value)),
    ("mirror-bytes", |limits, text| any(text).map(|value| limits.mirror_bytes = value)),
    ("mirror-bytes-of-all", |limits, text| any(text).map(|value| limits.mirror_bytes_of_all = value)),
    ("mirror-timeout", |limits, text| time(text).map(|value| limits.mirror_timeout = value)),
    ("log-lines", |limits, text| any(text).map(|value| limits.log_lines = value)),
    ("metric-series", |limits, text| any(text).map(|value| limits.metric_series = value)),
];

/// The same for the ports for operators.
type OperatorSetter = (&'static str, fn(&mut OperatorLimits, &str) -> Option<()>);

const OPERATORS: &[OperatorSetter] = &[
    ("admin-connections", |limits, text| any(text).map(|value| limits.connections = value)),
    ("admin-timeout", |limits, text| time(text).map(|value| limits.timeout = value)),
];

/// All bounds of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) plane: Limits,
    pub(crate) operators: OperatorLimits,
    /// Connections to backends.
    pub(crate) backends: usize,
}

/// The defaults, with what is set over them, as far as the process may have so many descriptors. `ports` is how many ports for operators
/// there are.
pub(crate) fn bounds(set: &[(String, String)], descriptors: u64, workers: usize, ports: usize) -> Result<Bounds> {
    let (mut plane, mut operators) = limits(set)?;
    let is_set = |name: &str| set.iter().any(|(known, _)| known == name);
    let wanted = is_set("connections").then_some(plane.connections);
    let plan = Plan::of(descriptors, workers, ports, wanted);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > plan.clients) {
        tracing::warn!(
            "`--limit connections={wanted}` is lowered to {}: the process may have {} descriptors (RLIMIT_NOFILE), and backends, files and operators need some of them",
            plan.clients,
            plan.limit
        );
    }
    (plane.connections, plane.client_descriptors) = (plan.clients, plan.client_descriptors);
    plane.pipes = plan.pipes;
    plane.idle_upstream = plane.idle_upstream.min(u32::try_from(plan.backends / 2).unwrap_or(u32::MAX).max(1));
    if !is_set("address-connections") {
        plane.address.connections = Some((plan.clients / 2).max(1));
    }
    if operators.connections > plan.operators {
        if is_set("admin-connections") {
            tracing::warn!(
                "`--limit admin-connections={}` is lowered to {}: the process may have {} descriptors (RLIMIT_NOFILE)",
                operators.connections,
                plan.operators,
                plan.limit
            );
        }
        operators.connections = plan.operators;
    }
    Ok(Bounds { plane, operators, backends: plan.backends })
}

fn limits(set: &[(String, String)]) -> Result<(Limits, OperatorLimits)> {
    let (mut plane, mut operators) = (Limits::default(), OperatorLimits::default());
    for (name, value) in set {
        let of_plane = SETTERS.iter().find(|(known, _)| known == name).map(|(_, set)| set(&mut plane, value));
        let of_operators = || {
            let setter = OPERATORS.iter().find(|(known, _)| known == name);
            setter.map(|(_, set)| set(&mut operators, value))
        };
        match of_plane.or_else(of_operators) {
            None => bail!("`--limit {name}`: unknown limit; the limits are {}", names().join(", ")),
            Some(None) => bail!(
                "`--limit {name}={value}`: use a number, a size such as 64KiB or a time such as 30s, within its bounds"
            ),
            Some(Some(())) => {}
        }
    }
    Ok((plane, operators))
}

fn names() -> Vec<&'static str> {
    SETTERS.iter().map(|(name, _)| *name).chain(OPERATORS.iter().map(|(name, _)| *name)).collect()
}

/// What `read` makes of a text, or no limit.
fn off<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "off" { Some(None) } else { read(text).map(Some) }
}

/// A number, perhaps of KiB or MiB.
fn size(text: &str, bounds: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let (digits, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(digits), _) => (digits, 1 << 10),
        (None, Some(digits)) => (digits, 1 << 20),
        (None, None) => (text, 1),
    };
    let value: usize = digits.parse().ok()?;
    value.checked_mul(unit).filter(|value| bounds.contains(value))
}

fn any(text: &str) -> Option<usize> {
    size(text, 1..=usize::MAX)
}

fn number(text: &str) -> Option<u32> {
    size(text, 1..=i32::MAX as usize).and_then(|value| u32::try_from(value).ok())
}

fn window(text: &str) -> Option<u32> {
    size(text, WINDOWS).and_then(|value| u32::try_from(value).ok())
}

fn time(text: &str) -> Option<Duration> {
    scalar::Duration::parse(text)?.get().filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Limits> {
        limits(&[(name.to_owned(), value.to_owned())]).map(|(plane, _)| plane)
    }

    #[test]
    fn s_122_limits_are_set_by_name() {
        assert_eq!(set("head-bytes", "32KiB").unwrap().head.bytes, 32 << 10);
        assert_eq!(set("idle-timeout", "1m30s").unwrap().idle_timeout, Duration::from_secs(90));
        assert_eq!(set("listener-connections", "5000").unwrap().listener_connections, Some(5000));
        assert_eq!(set("http2-stream-window", "1MiB").unwrap().http2.stream_window, 1 << 20);
        assert!(set("hed-bytes", "1").unwrap_err().to_string().contains("head-bytes"));
        for (name, value) in
            [("head-bytes", "1GiB"), ("head-bytes", "1MiB"), ("head-lines", "101"), ("idle-timeout", "0s")]
        {
            assert!(set(name, value).is_err(), "{name}={value}");
        }
        assert!(set("http2-stream-window", "1").is_err() && set("connections", "-1").is_err());
    }

    #[test]
    fn limits_follow_from_what_the_process_may_have() {
        let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let all = bounds(&[], 256, 2, 2).unwrap();
        assert_eq!((all.plane.connections, all.backends, all.operators.connections), (80, 80, 8));
        assert_eq!((all.plane.address.connections, all.plane.idle_upstream), (Some(40), 40));
        assert_eq!(bounds(&set("connections", "7"), 256, 2, 2).unwrap().plane.connections, 7);
        assert_eq!(bounds(&set("connections", "1000000"), 20_000, 2, 2).unwrap().plane.connections, 13_200);
        assert_eq!(bounds(&set("address-connections", "off"), 256, 2, 2).unwrap().plane.address.connections, None);
        assert_eq!(bounds(&set("address-connections", "5"), 256, 2, 2).unwrap().plane.address.connections, Some(5));
        assert_eq!(bounds(&set("admin-connections", "9999"), 20_000, 2, 2).unwrap().operators.connections, 64);
        assert_eq!(
            bounds(&set("admin-timeout", "3s"), 20_000, 2, 2).unwrap().operators.timeout,
            Duration::from_secs(3)
        );
        assert!(bounds(&set("address-rate", "0"), 256, 2, 2).is_err());
    }

    #[test]
    fn s_122_every_limit_is_documented() {
        let table = include_str!("../../../docs/features.md");
        for name in names() {
            assert!(table.contains(&format!("`{name}`")), "{name}");
        }
    }
}
