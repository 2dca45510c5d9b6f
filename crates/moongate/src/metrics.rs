//! What `/metrics` shows: one registry of all families, of the process, its configuration and its data plane, and the two formats that
//! scrapers read.

mod text_format;

use crate::accept::{MediaType, preference};
use crate::current::Current;
use crate::process;
use axum::http::HeaderMap;
use dataplane::{DataPlane, Gauges};
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::registry::Registry;
use text_format::TextFormat;

const OPEN_METRICS: MediaType = MediaType { main: "application", sub: "openmetrics-text", version: Some("1.0.0") };
const TEXT: MediaType = MediaType { main: "text", sub: "plain", version: Some("0.0.4") };

/// The format of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// The format that a client asks for: OpenMetrics where it wants that at least as much as the text format. A wildcard alone asks for
    /// nothing, so that browsers and curl get the text format. So does a client that accepts neither, since an answer that can be read
    /// helps more than 406.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let (open, text) = (preference(headers, OPEN_METRICS), preference(headers, TEXT));
        let as_good = open.named && open.quality > 0 && open.quality == text.quality;
        if open.quality > text.quality || as_good { Self::OpenMetrics } else { Self::Text }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All families, with the values that they have now.
pub(crate) fn registry(current: &Current, data_plane: &DataPlane) -> Registry {
    let mut registry = data_plane.metrics();
    process::register(&mut registry);
    let help = "Generation of the configuration";
    registry.register("moongate_config_generation", help, Gauges::one(current.generation));
    let help = "Configured paths that cannot be listed or read; what they held before is still served";
    registry.register("moongate_config_source_errors", help, Gauges::one(current.unavailable as u64));
    let stages = current.stages;
    let stages =
        [("parse", stages.parse), ("collect", stages.collect), ("compile", stages.compile), ("apply", stages.apply)];
    let seconds = stages.map(|(stage, time)| (vec![("stage", stage.to_owned())], time.as_secs_f64()));
    let help = "Time that a stage of the last change took";
    registry.register("moongate_config_seconds", help, Gauges(seconds.into()));
    current.certificates.register(&mut registry);
    registry
}

/// The text of a registry. Bounds of buckets (`le`) are the same in both formats, so that series stay the same when a scraper changes
/// its format.
pub(crate) fn render(registry: &Registry, format: Format) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = match format {
        Format::OpenMetrics => encode(&mut out, registry),
        Format::Text => encode_registry(&mut TextFormat::new(&mut out), registry),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header};

    #[test]
    fn open_metrics_is_sent_to_those_that_want_it_at_least_as_much_as_text() {
        let of = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(header::ACCEPT, HeaderValue::from_static(accept));
            Format::of(&headers)
        };
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
        for accept in [
            // Prometheus 2 and 3.
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
            "text/plain, application/openmetrics-text",
            "application/*",
        ] {
            assert_eq!(of(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4",
            "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text;q=0, */*;q=0",
            "image/png",
        ] {
            assert_eq!(of(accept), Format::Text, "{accept}");
        }
    }
}
