//! Faults that a route puts in on purpose: before its rules for time and retries count (VS-43, VS-44).

use super::record::Ended;
use crate::conn::Worker;
use crate::reasons::{Flags, Reject};
use ir::Fault;
use std::time::Instant;

/// Waits, if the request is one that waits; what it is answered with, if it is one of those.
pub(super) async fn inject(worker: &Worker, fault: &Fault, ended: &mut Ended) -> Option<Reject> {
    if let Some((_, time)) = fault.delay.filter(|(share, _)| share.takes(worker.random())) {
        ended.flags |= Flags::DI;
        tokio::time::sleep(time).await;
        // The time of the route begins behind it.
        ended.counted = Instant::now();
    }
    let abort = fault.abort.filter(|(share, _)| share.takes(worker.random()));
    abort.map(|(_, abort)| Reject::Fault(abort))
}
