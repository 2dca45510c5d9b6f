//! Faults that a route puts in on purpose: before its rules for time and retries count (VS-43, VS-44).

use super::downstream::{ClientReset, Downstream};
use super::record::StreamInfo;
use crate::conn::Worker;
use crate::reasons::{Flags, Reject};
use ir::Fault;
use std::time::Instant;

/// Waits, if the request is one that waits and as long as its client does; what it is answered with, if it is one of those.
pub(super) async fn inject(
    worker: &Worker,
    client: &mut Downstream,
    fault: &Fault,
    info: &mut StreamInfo,
) -> Result<Option<Reject>, ClientReset> {
    if let Some((_, time)) = fault.delay.filter(|(share, _)| share.takes(worker.random())) {
        info.flags |= Flags::DI;
        client.until_reset(tokio::time::sleep(time)).await?;
        // The time of the route begins behind it.
        info.counted = Instant::now();
        info.whole = info.counted;
    }
    let abort = fault.abort.filter(|(share, _)| share.takes(worker.random()));
    Ok(abort.map(|(_, abort)| Reject::Fault(abort)))
}
