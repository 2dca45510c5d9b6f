//! Counters of the decisions of AuthorizationPolicies (AP-02, AP-16).

use super::counter::add;
use super::families::Counters;
use crate::stream_info::{DryRunResult, PolicyResult};
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's counters.
#[derive(Debug, Default)]
pub(super) struct PolicyMetrics {
    counts: [[[AtomicU64; RESULTS.len()]; KINDS.len()]; PROTOCOLS.len()],
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A request.
    Http,
    /// A connection whose bytes are passed on.
    Tcp,
}

/// The values of the labels.
const PROTOCOLS: [&str; 2] = ["http", "tcp"];
const KINDS: [&str; 4] = ["enforced", "dry_run_deny", "dry_run_allow", "audit"];
const RESULTS: [&str; 2] = ["allowed", "denied"];

impl PolicyMetrics {
    /// Counts a result.
    pub(super) fn count(&self, protocol: Protocol, result: &PolicyResult) {
        let Some(counts) = self.counts.get(protocol as usize) else { return };
        // What an audit rule matches is counted as allowed: it denies nothing.
        let audited = result.audited.filter(|audited| *audited);
        let dry_run = |result: &Option<DryRunResult>| result.as_ref().map(|result| result.is_allowed);
        let allowed = [Some(result.is_allowed), dry_run(&result.dry_run_deny), dry_run(&result.dry_run_allow), audited];
        for (results, allowed) in counts.iter().zip(allowed) {
            let [yes, no] = results;
            match allowed {
                Some(true) => add(yes),
                Some(false) => add(no),
                None => {}
            }
        }
    }
}

/// Adds the family.
pub(super) fn register(registry: &mut Registry, workers: &[&PolicyMetrics]) {
    let mut rows = Vec::new();
    for (at, protocol) in PROTOCOLS.into_iter().enumerate() {
        for (kind_at, kind) in KINDS.into_iter().enumerate() {
            for (result_at, result) in RESULTS.into_iter().enumerate() {
                let of = |worker: &&PolicyMetrics| {
                    Some(worker.counts.get(at)?.get(kind_at)?.get(result_at)?.load(Ordering::Relaxed))
                };
                let labels = [("protocol", protocol), ("policies", kind), ("result", result)];
                let labels = labels.map(|(name, value)| (name, value.to_owned())).to_vec();
                rows.push((labels, workers.iter().filter_map(of).sum::<u64>()));
            }
        }
    }
    let help = "Decisions of AuthorizationPolicies";
    registry.register("moongate_authorization", help, Counters(rows));
}
