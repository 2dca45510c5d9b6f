//! What is needed to send a request again: everything of its body that was sent. Whether the request is sent again is decided in `retry`.
//!
//! An attempt sends a head, which is written anew for each attempt, and behind it the body. Octets of the body that are sent leave the send
//! buffer when it needs their room. If another attempt may follow, they are kept here; otherwise, or beyond the limit, they are lost, and the
//! request cannot be sent again. After a failed attempt, the kept octets and those in the send buffer are what the next attempt begins with.

use crate::conn::Charge;
use http::HeaderMap;

/// What was sent of the body of a request, for another attempt.
#[derive(Debug)]
pub(in crate::http) struct Replay {
    /// Octets that have left the send buffer, in the framing that the backend receives.
    kept: Vec<u8>,
    /// The charge for them, for an HTTP/2 client.
    charge: Option<Charge>,
    /// The most octets of a body that are sent again.
    limit: usize,
    /// The length of the head at the front of the send buffer; 0 once it has left the buffer.
    head: usize,
    /// Whether another attempt may follow the current one.
    may_follow: bool,
    /// Whether octets have left the send buffer that were not kept.
    is_lost: bool,
    /// The trailers that follow the body in a frame of their own, once its end is in the send buffer.
    trailers: Option<Box<HeaderMap>>,
}

impl Replay {
    /// An empty replay, before anything was sent. `charge` is a charge of nothing.
    pub(in crate::http) fn new(limit: usize, charge: Option<Charge>) -> Self {
        Self { kept: Vec::new(), charge, limit, head: 0, may_follow: false, is_lost: false, trailers: None }
    }

    /// Begins an attempt: puts what earlier attempts have sent of the body behind the head in `out`.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>, may_follow: bool) {
        (self.head, self.may_follow) = (out.len(), may_follow);
        out.append(&mut self.kept);
    }

    /// Keeps what the send buffer has sent and is about to forget.
    pub(super) fn keep(&mut self, sent: &[u8]) {
        let body = sent.get(self.head..).unwrap_or_default();
        self.head = 0;
        if body.is_empty() || self.is_lost {
            return;
        }
        let octets = self.kept.len() + body.len();
        let is_kept = self.may_follow
            && octets <= self.limit
            && self.charge.as_mut().is_none_or(|charge| charge.resize(octets).is_ok());
        if is_kept {
            self.kept.extend_from_slice(body);
        } else {
            self.lose();
        }
    }

    /// Notes that octets are sent without the send buffer.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
        self.kept = Vec::new();
        if let Some(charge) = &mut self.charge {
            // A smaller charge is never refused.
            let _ = charge.resize(0);
        }
    }

    /// Notes that the end of the body is in the send buffer.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.trailers = trailers.cloned().map(Box::new);
    }

    /// The trailers of a body whose end was in the send buffer of an earlier attempt.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    /// Whether the request can be sent again, when `sent` is in the send buffer.
    pub(super) fn is_whole(&self, sent: &[u8]) -> bool {
        !self.is_lost && self.kept.len() + sent.len().saturating_sub(self.head) <= self.limit
    }

    /// Ends a failed attempt, after which the request is sent again: takes the body out of the send buffer.
    pub(super) fn rewind(&mut self, sent: &mut Vec<u8>) {
        self.kept.extend_from_slice(sent.get(self.head..).unwrap_or_default());
        sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Budget;
    use crate::limits::BudgetLimits;
    use std::sync::Arc;

    /// The octets of a request on its way, with a limit of 8 octets of body.
    struct Sent {
        out: Vec<u8>,
        replay: Replay,
    }

    impl Sent {
        fn new(charge: Option<Charge>) -> Self {
            Self { out: Vec::new(), replay: Replay::new(8, charge) }
        }

        /// Begins an attempt with a head.
        fn begin(mut self, head: &str, may_follow: bool) -> Self {
            self.out = head.into();
            self.replay.begin(&mut self.out, may_follow);
            self
        }

        /// Sends pieces of the body, each once the octets before it were sent.
        fn send(mut self, pieces: &[&str]) -> Self {
            for piece in pieces {
                self.replay.keep(&self.out);
                self.out = (*piece).into();
            }
            self
        }

        fn is_whole(&self) -> bool {
            self.replay.is_whole(&self.out)
        }

        fn rewind(mut self) -> Self {
            self.replay.rewind(&mut self.out);
            assert_eq!(self.out, b"");
            self
        }
    }

    #[test]
    fn a_request_can_be_sent_again_while_all_of_its_body_is_kept() {
        let cases: &[(&str, bool, &[&str], bool)] = &[
            ("no body", false, &[], true),
            ("all of it in the send buffer", false, &["ab"], true),
            ("cleared, and no other attempt follows", false, &["ab", "c"], false),
            ("cleared, and kept", true, &["ab", "c"], true),
            ("as much as the limit", true, &["abcd", "ef", "gh"], true),
            ("more than the limit, in the send buffer", true, &["abcd", "ef", "ghi"], false),
            ("more than the limit, kept", true, &["abcd", "efghi", "j"], false),
            ("more than the limit at once", true, &["abcdefghi"], false),
        ];
        for (name, may_follow, pieces, expected) in cases {
            // A head is longer than the limit, and does not count.
            let sent = Sent::new(None).begin("GET / HTTP/1.1", *may_follow).send(pieces);
            assert_eq!(sent.is_whole(), *expected, "{name}");
        }
    }

    #[test]
    fn the_next_attempt_begins_with_its_own_head_and_the_whole_body() {
        let sent = Sent::new(None).begin("head 1 ", true).send(&["ab", "cd", "e"]).rewind().begin("head two ", true);
        assert_eq!(sent.out, b"head two abcde");
        assert!(sent.is_whole());
        let sent = sent.send(&["fg"]).rewind().begin("", true);
        assert_eq!(sent.out, b"abcdefg");
        assert!(sent.is_whole());
        // After the last attempt that may be followed, nothing is kept.
        let sent = sent.rewind().begin("head 4 ", false);
        assert!(sent.is_whole());
        assert!(!sent.send(&["h"]).is_whole());
    }

    #[test]
    fn what_is_lost_once_stays_lost() {
        let mut sent = Sent::new(None).begin("head", true).send(&["ab"]);
        sent.replay.lose();
        assert!(!sent.is_whole());
        let sent = sent.send(&[""]);
        assert!(!sent.is_whole());
    }

    #[test]
    fn kept_octets_are_charged_and_given_up_where_the_budget_ends() {
        let limits = BudgetLimits { connection: 6, worker: 1 << 20, process: 1 << 20 };
        let account = Budget::new(limits, Arc::default(), Arc::default()).account();
        let sent = Sent::new(Some(account.nothing())).begin("head", true).send(&["abc", "def", "g"]);
        assert!(sent.is_whole());
        assert_eq!(account.room(), 0);
        let sent = sent.send(&["h"]);
        assert!(!sent.is_whole());
        assert_eq!(account.room(), 6);
    }
}
