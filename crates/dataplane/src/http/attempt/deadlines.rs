//! The moments that the deadlines of an attempt are counted from.

use crate::conn::{Client, Timer};
use crate::http::plan::Plan;
use crate::stream_info::StreamInfo;
use std::time::Instant;

/// The moments that the deadlines of an attempt are counted from.
#[derive(Debug)]
pub(super) struct Deadlines<'a> {
    pub(super) timer: &'a Timer,
    /// Whether the timer was set since the last progress.
    pub(super) is_armed: bool,
    /// The start of the route's timeout (VS-39): the end of the request was received.
    pub(super) complete_at: Option<Instant>,
    /// The start of the per-try timeout: the end of the request was sent.
    pub(super) try_from: Option<Instant>,
    /// When a head or trailer section began that is still incomplete.
    pub(super) section_begun: Option<Instant>,
    /// The deadline for the end of the response: that of a gRPC client, or of the mesh.
    pub(super) response_end: Option<Instant>,
    /// The deadline for the end of the request, if the mesh sets one (PC-04).
    pub(super) request_end: Option<Instant>,
}

impl<'a> Deadlines<'a> {
    /// The deadlines of an attempt that starts now; `is_complete` says that all of the request was received before.
    pub(super) fn new(timer: &'a Timer, plan: &Plan, client: &Client, info: &StreamInfo, is_complete: bool) -> Self {
        let per_try = plan.retry_policy().retries.and_then(|retries| retries.per_try_timeout);
        Self {
            timer,
            is_armed: false,
            complete_at: is_complete.then_some(info.timeout_start),
            try_from: per_try.filter(|_| is_complete).map(|_| Instant::now()),
            section_begun: None,
            response_end: plan.deadline.and_then(|after| info.counted.checked_add(after)),
            request_end: client.request_end(info.counted),
        }
    }

    /// Notes progress, after which idle timeouts are counted anew.
    pub(super) fn move_on(&mut self) {
        self.is_armed = false;
    }

    /// Notes the end of the request.
    pub(super) fn complete(&mut self, now: Instant) {
        (self.complete_at, self.try_from) = (Some(now), Some(now));
    }

    /// Notes the end of a head.
    pub(super) fn end_section(&mut self) {
        self.section_begun = None;
    }
}
