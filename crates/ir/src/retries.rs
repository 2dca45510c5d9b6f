//! Retry policies of routes (VS-40 to VS-42).

use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// When and how often a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retries {
    /// Further attempts, at most; at least 1.
    pub attempts: u32,
    /// Causes.
    pub on: RetryOn,
    /// Statuses that are causes as well.
    pub statuses: Box<[u16]>,
    /// From the whole request having been sent until the answer's head, for each attempt.
    pub per_try_timeout: Option<Duration>,
    /// The first wait is up to this, each further one up to twice the one before and ten times this.
    pub backoff: Duration,
    /// Whether endpoints that were tried are avoided while there are others; `None` is unless the cluster chooses by hash (VS-40).
    pub avoid_tried: Option<bool>,
    /// Whether priorities are left out once two attempts went there, as long as others are left (VS-41 `retryRemoteLocalities`).
    pub remote_localities: bool,
    /// Whether it is the default policy: then a request on a stale idle connection is also replayed.
    pub implied: bool,
}

/// What went wrong with an attempt, before any answer was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No connection could be made.
    Connect,
    /// The backend said that it has not begun with the request.
    Refused,
    /// The connection or stream broke.
    Reset {
        /// Whether any of the request had been written.
        written: bool,
    },
    /// The attempt's time is over.
    Timeout,
}

/// Causes to try again, as Envoy names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(u16);

impl RetryOn {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Answers with 500 to 599, and everything that leaves none.
    pub const SERVER_ERROR: Self = Self(1);
    /// Answers with 502, 503 and 504, and everything that leaves none.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// Everything that leaves no answer.
    pub const RESET: Self = Self(1 << 2);
    /// The same, while nothing was written.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    /// No connection.
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    /// Answers with 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 5);
    /// Streams that the backend refused.
    pub const REFUSED_STREAM: Self = Self(1 << 6);
    /// Answers of a rate limiter, which are no cause otherwise.
    pub const RATE_LIMITED: Self = Self(1 << 7);
    /// gRPC's `CANCELLED`, in the head of the response.
    pub const CANCELLED: Self = Self(1 << 8);
    /// gRPC's `DEADLINE_EXCEEDED`.
    pub const DEADLINE_EXCEEDED: Self = Self(1 << 9);
    /// gRPC's `INTERNAL`.
    pub const INTERNAL: Self = Self(1 << 10);
    /// gRPC's `RESOURCE_EXHAUSTED`.
    pub const RESOURCE_EXHAUSTED: Self = Self(1 << 11);
    /// gRPC's `UNAVAILABLE`.
    pub const UNAVAILABLE: Self = Self(1 << 12);

    /// The default conditions.
    pub const USUAL: Self = Self::CONNECT_FAILURE.and(Self::REFUSED_STREAM).and(Self::UNAVAILABLE).and(Self::CANCELLED);

    const WORDS: [(&'static str, Self); 13] = [
        ("5xx", Self::SERVER_ERROR),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("reset", Self::RESET),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("retriable-4xx", Self::RETRIABLE_4XX),
        ("refused-stream", Self::REFUSED_STREAM),
        ("envoy-ratelimited", Self::RATE_LIMITED),
        ("cancelled", Self::CANCELLED),
        ("deadline-exceeded", Self::DEADLINE_EXCEEDED),
        ("internal", Self::INTERNAL),
        ("resource-exhausted", Self::RESOURCE_EXHAUSTED),
        ("unavailable", Self::UNAVAILABLE),
    ];

    /// The cause of a word; `None` for one that is not known here.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, on)| *on)
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `others` is among them.
    pub const fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether an attempt that broke is one to try again.
    pub fn broken(self, how: Broken) -> bool {
        let always = Self::SERVER_ERROR.and(Self::GATEWAY_ERROR).and(Self::RESET);
        self.any(match how {
            Broken::Connect => always.and(Self::CONNECT_FAILURE).and(Self::RESET_BEFORE_REQUEST),
            Broken::Refused => always.and(Self::REFUSED_STREAM),
            Broken::Reset { written: false } => always.and(Self::RESET_BEFORE_REQUEST),
            Broken::Reset { written: true } | Broken::Timeout => always,
        })
    }

    /// Whether gRPC's status is one to try again.
    pub fn grpc(self, status: u8) -> bool {
        self.any(match status {
            1 => Self::CANCELLED,
            4 => Self::DEADLINE_EXCEEDED,
            8 => Self::RESOURCE_EXHAUSTED,
            13 => Self::INTERNAL,
            14 => Self::UNAVAILABLE,
            _ => Self::NONE,
        })
    }
}

/// What a route has that says nothing (VS-40).
impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: RetryOn::USUAL,
            statuses: Box::default(),
            per_try_timeout: None,
            backoff: Duration::from_millis(25),
            avoid_tried: None,
            remote_localities: false,
            implied: true,
        }
    }
}

impl Retries {
    /// Whether an answer with this status is one to try again.
    pub fn status(&self, status: u16) -> bool {
        let on = match status {
            409 => RetryOn::RETRIABLE_4XX,
            502..=504 => RetryOn::GATEWAY_ERROR.and(RetryOn::SERVER_ERROR),
            500..=599 => RetryOn::SERVER_ERROR,
            _ => RetryOn::NONE,
        };
        self.on.any(on) || self.statuses.contains(&status)
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Self::WORDS.iter().filter(|(_, on)| self.any(*on)).map(|(word, _)| *word);
        formatter.write_str(&words.collect::<Vec<_>>().join(","))
    }
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vs_41_words_say_what_breaks_and_which_answers_are_tried_again() {
        let on = |words: &str| words.split(',').filter_map(RetryOn::of_word).fold(RetryOn::NONE, RetryOn::and);
        let written = Broken::Reset { written: true };
        for words in ["5xx", "gateway-error", "reset"] {
            let all = [Broken::Connect, Broken::Refused, written, Broken::Timeout];
            assert!(all.into_iter().all(|how| on(words).broken(how)), "{words}");
        }
        let before = on("reset-before-request");
        assert!(before.broken(Broken::Connect) && before.broken(Broken::Reset { written: false }));
        assert!(!before.broken(written) && !before.broken(Broken::Timeout));
        let usual = on("connect-failure,refused-stream,unavailable,cancelled");
        assert!(usual.broken(Broken::Connect) && usual.broken(Broken::Refused) && !usual.broken(written));
        assert!(usual.grpc(14) && usual.grpc(1) && !usual.grpc(13) && !usual.grpc(0));
        let status = |words: &str, statuses: &[u16], status| {
            Retries { on: on(words), statuses: statuses.into(), ..Retries::default() }.status(status)
        };
        assert!(status("5xx", &[], 500) && status("5xx", &[], 503) && !status("5xx", &[], 499));
        assert!(status("gateway-error", &[], 502) && !status("gateway-error", &[], 500));
        assert!(status("retriable-4xx", &[], 409) && !status("retriable-4xx", &[], 404));
        assert!(status("", &[418], 418) && !status("", &[418], 500));
        assert_eq!(on("unavailable,5xx").to_string(), "5xx,unavailable");
    }
}
