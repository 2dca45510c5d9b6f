//! `--limit NAME=VALUE`: the bounds of the data plane by name. Each stands in `docs/features.md`.

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
    ("handshake-timeout", |limits, text| time(text).map(|value| limits.handshake_timeout = value)),
    ("handshakes", |limits, text| any(text).map(|value| limits.handshakes = value)),
    ("connections", |limits, text| any(text).map(|value| limits.connections = value)),
    ("listener-connections", |limits, text| any(text).map(|value| limits.listener_connections = Some(value))),
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

/// The defaults, with what is set over them.
pub(crate) fn limits(set: &[(String, String)]) -> Result<Limits> {
    let mut limits = Limits::default();
    for (name, value) in set {
        let Some((_, setter)) = SETTERS.iter().find(|(known, _)| known == name) else {
            let names: Vec<_> = SETTERS.iter().map(|(name, _)| *name).collect();
            bail!("`--limit {name}`: there is no such limit; there are {}", names.join(", "));
        };
        if setter(&mut limits, value).is_none() {
            bail!(
                "`--limit {name}={value}`: use a number, a size such as 64KiB or a time such as 30s, within its bounds"
            );
        }
    }
    Ok(limits)
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
        limits(&[(name.to_owned(), value.to_owned())])
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
    fn s_122_every_limit_is_documented() {
        let table = include_str!("../../../docs/features.md");
        for (name, _) in SETTERS {
            assert!(table.contains(&format!("`{name}`")), "{name}");
        }
    }
}
