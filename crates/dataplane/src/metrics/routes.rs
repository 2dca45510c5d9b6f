//! Requests of routes with a `statPrefix` (VS-21).

use super::families::Counters;
use super::requests::Histogram;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The labels of a series: the prefix and the status.
type Series = (Arc<str>, u16);

/// One worker's requests by series.
#[derive(Debug)]
pub(super) struct RouteMetrics {
    series: Mutex<HashMap<Series, Histogram, RandomState>>,
    max_series: usize,
}

impl RouteMetrics {
    pub(super) fn new(max_series: usize) -> Self {
        Self { series: Mutex::default(), max_series }
    }

    /// Counts a finished request. New series beyond the limit are dropped.
    pub(super) fn count(&self, prefix: &Arc<str>, status: u16, taken: Duration) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = (Arc::clone(prefix), status);
        if all.len() < self.max_series || all.contains_key(&series) {
            all.entry(series).or_default().put(u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

/// Adds the families.
pub(super) fn register(registry: &mut Registry, workers: &[&RouteMetrics]) {
    let mut all: BTreeMap<Series, Histogram> = BTreeMap::new();
    for worker in workers {
        let routes = worker.series.lock().unwrap_or_else(PoisonError::into_inner);
        for (series, histogram) in routes.iter() {
            all.entry(series.clone()).or_default().add(histogram);
        }
    }
    let labels =
        |(prefix, status): &Series| vec![("stat_prefix", prefix.to_string()), ("response_code", status.to_string())];
    let requests = all.iter().map(|(series, histogram)| (labels(series), histogram.count));
    let help = "Requests of routes with a `statPrefix`";
    registry.register("moongate_route_requests", help, Counters(requests.collect()));
    let seconds = all.iter().map(|(series, histogram)| (labels(series), histogram.sum as f64 / 1000.0));
    let help = "Time from the head of a request to the end of its response, summed over the requests of routes with a `statPrefix`";
    registry.register("moongate_route_seconds", help, Counters(seconds.collect()));
}
