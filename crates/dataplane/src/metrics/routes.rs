//! Requests of the routes that ask to be counted by themselves (`statPrefix`, VS-21).

use super::WorkerMetrics;
use super::families::Counters;
use super::requests::Histogram;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Labels that tell series apart: the prefix and the status.
type Labels = (Arc<str>, u16);

/// What is counted of a worker's routes.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<HashMap<Labels, Histogram, RandomState>>);

impl WorkerMetrics {
    /// Counts a request of a route with this prefix; what is beyond the bound of series is left out here.
    pub(crate) fn route(&self, prefix: &Arc<str>, status: u16, taken: Duration) {
        let mut routes = self.routes.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = (Arc::clone(prefix), status);
        if routes.len() < self.max_series || routes.contains_key(&labels) {
            routes.entry(labels).or_default().put(u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

pub(super) fn register(registry: &mut Registry, workers: &[Arc<WorkerMetrics>]) {
    let mut all: BTreeMap<Labels, Histogram> = BTreeMap::new();
    for worker in workers {
        let routes = worker.routes.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, histogram) in routes.iter() {
            all.entry(labels.clone()).or_default().add(histogram);
        }
    }
    let labels =
        |(prefix, status): &Labels| vec![("stat_prefix", prefix.to_string()), ("response_code", status.to_string())];
    let requests = all.iter().map(|(series, histogram)| (labels(series), histogram.count));
    let help = "Requests of routes with a `statPrefix`";
    registry.register("moongate_route_requests", help, Counters(requests.collect()));
    let seconds = all.iter().map(|(series, histogram)| (labels(series), histogram.sum as f64 / 1000.0));
    let help = "Time from the heads of these requests to the ends of their responses";
    registry.register("moongate_route_seconds", help, Counters(seconds.collect()));
}
