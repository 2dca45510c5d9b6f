//! Connections that end before their protocol starts: counted by cause; a failed TLS handshake also gets a line in the access log. A connection
//! that sent nothing and was closed by its client is a load balancer's probe, not a failure.

use crate::conn::{ClientEnds, Tracked, Worker};
use crate::reasons::HandshakeFailure;
use crate::stream_info::{LogFacts, LogKind, StreamFacts, StreamInfo};
use std::time::Instant;

/// A handshake in progress.
pub(super) struct HandshakeAttempt {
    pub(super) begun: Instant,
    pub(super) ends: ClientEnds,
    /// The SNI, once it is known.
    pub(super) sni: Option<Box<str>>,
}

impl HandshakeAttempt {
    /// Counts a connection that sent nothing, unless the client closed it.
    pub(super) fn silent(&self, worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) {
        if cause != HandshakeFailure::ClosedByClient {
            count(worker, tracked, cause);
        }
    }

    /// Counts a failed handshake and writes its log line. For an evicted connection the cause is the eviction.
    pub(super) fn failed(&self, worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) {
        let cause = count(worker, tracked, cause);
        let Some(log) = worker.log() else { return };
        let info = StreamInfo { flags: cause.flags(), detail: cause.detail(), ..StreamInfo::since(self.begun) };
        log.write(&LogFacts {
            kind: LogKind::Listener,
            stream: StreamFacts::of_connection(
                (self.ends.remote, self.ends.local),
                self.sni.as_deref().unwrap_or_default(),
                None,
            ),
            info: &info,
            ended: Instant::now(),
            request: &|_| None,
        });
    }
}

fn count(worker: &Worker, tracked: &Tracked, cause: HandshakeFailure) -> HandshakeFailure {
    let cause = if tracked.is_evicted() { HandshakeFailure::Evicted } else { cause };
    worker.metrics.arrivals.fail(cause);
    cause
}
