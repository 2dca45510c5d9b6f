//! Checks of a response head: retriable, invalid, and its status for outlier detection.

use super::response::{ResponseSide, WEBSOCKET};
use ir::{Retries, RetryOn};
use wire::h1::BodyReader;

impl ResponseSide<'_> {
    /// Whether the policy retries this response; `grpc` says that the request is gRPC.
    pub(super) fn is_retriable(&self, policy: &Retries, grpc: bool) -> bool {
        let status = self.head.status;
        if !policy.status(status) && !grpc {
            return false;
        }
        let fields = self.head.fields(self.input.filled());
        if fields.get("x-envoy-ratelimited").is_some() {
            return policy.on.any(RetryOn::RATE_LIMITED);
        }
        policy.status(status) || self.grpc_status().is_some_and(|status| policy.on.grpc(status))
    }

    /// The gRPC status in the head.
    fn grpc_status(&self) -> Option<u8> {
        let text = self.head.fields(self.input.filled()).get("grpc-status")?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    /// The HTTP status; for a gRPC request, the HTTP equivalent of the gRPC status in the head.
    pub(super) fn effective_status(&self, grpc: bool) -> u16 {
        let status = if grpc { self.grpc_status() } else { None };
        status.map_or(self.head.status, wire::grpc::http_status_of)
    }

    /// Whether the octets after a head of `length` octets can begin its body. Checked before the head is sent, so that an error response is
    /// still possible.
    pub(super) fn may_begin_body(&self, length: usize) -> bool {
        BodyReader::may_begin(self.head.body, self.input.filled().get(length..).unwrap_or_default())
    }

    /// Whether the backend switches to a protocol that was not requested (S-118).
    pub(super) fn is_unrequested_upgrade(&self) -> bool {
        let to = self.head.upgrade.map(|span| span.of(self.input.filled()));
        self.head.status == 101 && !to.is_some_and(|to| to.eq_ignore_ascii_case(WEBSOCKET))
    }
}
