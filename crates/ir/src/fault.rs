//! Faults that are put in on purpose (VS-43, VS-44).

use serde::Serialize;
use std::time::Duration;

/// All requests.
const ALL: u32 = 1_000_000;

/// What is done to requests of a route before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// They wait so long.
    pub delay: Option<(Share, Duration)>,
    /// They are answered with an error, after the wait.
    pub abort: Option<(Share, Abort)>,
}

/// The error of an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Abort {
    /// A status of HTTP.
    Http(u16),
    /// A status of gRPC.
    Grpc(u8),
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share(u32);

impl Share {
    /// From a percentage, within 0 to 100.
    pub fn of_percent(percent: f64) -> Self {
        // In range, so that nothing is cut off.
        Self((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    /// Whether the share is zero.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether it is everybody.
    pub fn is_all(self) -> bool {
        self.0 >= ALL
    }

    /// So many of `count`, rounded down.
    pub fn of(self, count: u32) -> u32 {
        let part = u64::from(count) * u64::from(self.0) / u64::from(ALL);
        u32::try_from(part).unwrap_or(count)
    }

    /// Whether a request is in it, by a random number.
    pub fn takes(self, random: u64) -> bool {
        random % u64::from(ALL) < u64::from(self.0)
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vs_43_shares_are_exact_to_a_millionth() {
        assert!(Share::of_percent(0.0).is_none() && Share::of_percent(100.0).is_all());
        assert!(
            (0..1000).all(|random| !Share::of_percent(0.0).takes(random) && Share::of_percent(100.0).takes(random))
        );
        let share = Share::of_percent(0.0003);
        assert_eq!((0..1_000_000).filter(|random| share.takes(*random)).count(), 3);
        assert_eq!(share.percent(), 0.0003);
    }
}
