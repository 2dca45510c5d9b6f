//! Connections that end before their protocol starts: counted by cause; a failed TLS handshake also gets a line in the access log. A connection
//! that sent nothing and was closed by its client is a load balancer's probe, not a failure.

use crate::conn::{ClientEnds, Tracked, Worker};
use crate::reasons::HandshakeFailure;
use crate::stream_info::{FinishedStream, NoRequest, StreamFacts, StreamInfo, StreamKind};
use std::time::Instant;

/// A handshake in progress.
pub(super) struct HandshakeAttempt {
    pub(super) begun: Instant,
    pub(super) ends: ClientEnds,
    /// The SNI, once it is known.
    pub(super) sni: Option<Box<str>>,
}

impl HandshakeAttempt {
    /// Counts a connection that sent nothing, unless the client closed it. It is no stream.
    pub(super) fn silent(&self, worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) {
        if cause != HandshakeFailure::ClosedByClient {
            worker.metrics.arrivals.fail(cause_of(tracked, cause));
        }
    }

    /// Records a failed handshake.
    pub(super) fn failed(&self, worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) {
        let cause = cause_of(tracked, cause);
        let (flags, detail, is_denied) = (cause.flags(), cause.detail(), cause.is_denial());
        let info = StreamInfo { flags, detail, is_denied, ..StreamInfo::since(self.begun) };
        worker.record(&FinishedStream {
            kind: StreamKind::Handshake(cause),
            stream: StreamFacts::of_connection(
                self.ends.remote,
                self.ends.local,
                self.sni.as_deref().unwrap_or_default(),
                None,
            ),
            destination: None,
            stat_prefix: None,
            origin: None,
            info: &info,
            ended: Instant::now(),
            request: &NoRequest,
        });
    }
}

/// The cause of the failure; for an evicted connection it is the eviction.
fn cause_of(tracked: &Tracked, cause: HandshakeFailure) -> HandshakeFailure {
    if tracked.is_evicted() { HandshakeFailure::Evicted } else { cause }
}
