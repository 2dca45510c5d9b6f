//! Families of counters and gauges with labels, made of values that are collected at the time of the scrape. The program's own metrics use
//! them too.

use prometheus_client::encoding::{EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt::{self, Debug};

/// Names and values of labels; empty for a family with one value.
pub type Labels = Vec<(&'static str, String)>;

/// Counters of one family. A family without values is omitted.
#[derive(Debug)]
pub struct Counters<V>(pub Vec<(Labels, V)>);

/// Gauges of one family. A family without values is omitted.
#[derive(Debug)]
pub struct Gauges<V>(pub Vec<(Labels, V)>);

impl<V> Counters<V> {
    /// A family with one value.
    pub fn one(value: V) -> Self {
        Self(vec![(Labels::new(), value)])
    }
}

impl<V> Gauges<V> {
    /// A family with one value.
    pub fn one(value: V) -> Self {
        Self(vec![(Labels::new(), value)])
    }
}

impl<V: EncodeCounterValue + Debug> EncodeMetric for Counters<V> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        let write =
            |encoder: &mut MetricEncoder<'_>, value: &V| encoder.encode_counter::<NoLabelSet, V, u64>(value, None);
        each(&self.0, encoder, write)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: EncodeGaugeValue + Debug> EncodeMetric for Gauges<V> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        each(&self.0, encoder, |encoder, value| encoder.encode_gauge(value))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn each<V>(
    rows: &[(Labels, V)],
    mut encoder: MetricEncoder<'_>,
    write: impl Fn(&mut MetricEncoder<'_>, &V) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in rows {
        if labels.is_empty() {
            write(&mut encoder, value)?;
        } else {
            write(&mut encoder.encode_family(labels)?, value)?;
        }
    }
    Ok(())
}
