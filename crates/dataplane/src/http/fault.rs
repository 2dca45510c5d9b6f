//! Fault injection, before the route's timeout and retries apply (VS-43, VS-44).

use crate::codec::{ClientReset, Downstream};
use crate::conn::Worker;
use crate::reasons::{Flags, Reject};
use crate::stream_info::StreamInfo;
use ir::Fault;
use std::time::Instant;

/// Delays the request, and returns the reject of an abort, each for its share of requests. The error is a reset by the client during the delay.
pub(super) async fn inject(
    worker: &Worker,
    client: &mut Downstream,
    fault: &Fault,
    info: &mut StreamInfo,
) -> Result<Option<Reject>, ClientReset> {
    if let Some((_, time)) = fault.delay.filter(|(share, _)| share.takes(worker.random())) {
        info.flags |= Flags::DI;
        client.until_reset(tokio::time::sleep(time)).await?;
        // The route's timeout starts after the delay.
        info.counted = Instant::now();
        info.whole = info.counted;
    }
    let abort = fault.abort.filter(|(share, _)| share.takes(worker.random()));
    Ok(abort.map(|(_, abort)| Reject::Fault(abort)))
}
