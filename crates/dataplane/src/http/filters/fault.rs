//! Fault injection, before the route's timeout and retries apply (VS-43, VS-44).

use super::result::FilterResult;
use crate::codec::{ClientReset, Downstream};
use crate::conn::Worker;
use crate::http::plan::Reply;
use crate::reasons::{Flags, Reject};
use crate::stream_info::StreamInfo;
use ir::Fault;
use std::time::Instant;

/// Delays the request, and aborts it, each for its share of requests.
pub(super) async fn run(
    worker: &Worker,
    client: &mut Downstream,
    fault: &Fault,
    info: &mut StreamInfo,
) -> FilterResult {
    if let Some((_, time)) = fault.delay.filter(|(share, _)| share.takes(worker.random())) {
        info.flags |= Flags::DI;
        if let Err(ClientReset) = client.until_reset(tokio::time::sleep(time)).await {
            return FilterResult::Abandon;
        }
        // The route's timeout starts after the delay.
        info.counted = Instant::now();
        info.timeout_start = info.counted;
    }
    match fault.abort.filter(|(share, _)| share.takes(worker.random())) {
        Some((_, abort)) => FilterResult::Reply(Reply::Reject(Reject::Fault(abort))),
        None => FilterResult::Continue,
    }
}
