//! The health of one endpoint for outlier detection (DR-30): consecutive failures, and the number and the end of its ejections. It belongs to
//! the endpoint, and survives changes of the cluster's configuration.

use ir::OutlierDetection;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The outcome of a request or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this status; a gRPC status is mapped to HTTP.
    Answered(u16),
    /// A connection for requests was established; their outcomes are reported separately.
    Connected,
    /// A TCP connection was established; nothing else is reported about it.
    Served,
    /// A connection failed, or was reset.
    Disconnected,
    /// There was no response in time.
    TimedOut,
}

/// The kinds of consecutive failures.
#[derive(Debug, Clone, Copy)]
enum Row {
    ServerErrors,
    GatewayFailures,
    LocalFailures,
}

const ROWS: [Row; 3] = [Row::ServerErrors, Row::GatewayFailures, Row::LocalFailures];

/// The health of an endpoint. Written only after failures.
#[derive(Debug, Default)]
pub(crate) struct Health {
    in_a_row: [AtomicU32; 3],
    /// A bit for each kind that has reached its threshold since the last check.
    detected: AtomicU8,
    ejected: AtomicBool,
    /// Set by the first ejection.
    record: Mutex<Option<Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// The factor of the base time for the next ejection, less one.
    multiplier: u32,
    ejected_at: Instant,
    returned_at: Option<Instant>,
}

impl Health {
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    pub(super) fn set_ejected(&self, ejected: bool) {
        self.ejected.store(ejected, Ordering::Relaxed);
    }

    /// Counts an outcome; returns whether a threshold was reached.
    pub(crate) fn count(&self, policy: &OutlierDetection, outcome: Outcome) -> bool {
        let apart = policy.consecutive_local_origin_failure;
        match (outcome, apart) {
            (Outcome::Answered(status), None) => self.count_status(policy, status),
            (Outcome::Answered(status), Some(_)) => {
                self.clear(Row::LocalFailures);
                self.count_status(policy, status)
            }
            (Outcome::Connected, None) => false,
            (Outcome::Served, None) => self.count_status(policy, 200),
            (Outcome::Disconnected, None) => self.count_status(policy, 503),
            (Outcome::TimedOut, None) => self.count_status(policy, 504),
            (Outcome::Connected | Outcome::Served, Some(_)) => {
                self.clear(Row::LocalFailures);
                false
            }
            (Outcome::Disconnected | Outcome::TimedOut, Some(most)) => self.add(Row::LocalFailures, most),
        }
    }

    fn count_status(&self, policy: &OutlierDetection, status: u16) -> bool {
        let server_error = (500..600).contains(&status) || policy.error_statuses.binary_search(&status).is_ok();
        if !server_error {
            self.clear(Row::ServerErrors);
            self.clear(Row::GatewayFailures);
            return false;
        }
        let gateway = match status {
            502..=504 => self.add(Row::GatewayFailures, policy.consecutive_gateway_failure),
            _ => {
                self.clear(Row::GatewayFailures);
                false
            }
        };
        self.add(Row::ServerErrors, policy.consecutive_5xx) || gateway
    }

    /// Counts a failure; returns whether it is the one that reaches the threshold `most`, where 0 disables it.
    fn add(&self, row: Row, most: u32) -> bool {
        let Some(count) = self.in_a_row.get(row as usize) else { return false };
        // A disabled kind is not counted.
        if most == 0 || count.fetch_add(1, Ordering::Relaxed).saturating_add(1) != most {
            return false;
        }
        self.detected.fetch_or(1 << row as u8, Ordering::SeqCst);
        true
    }

    fn clear(&self, row: Row) {
        if let Some(count) = self.in_a_row.get(row as usize)
            && count.load(Ordering::Relaxed) != 0
        {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Resets the counts of consecutive failures.
    pub(crate) fn begin_anew(&self) {
        ROWS.into_iter().for_each(|row| self.clear(row));
    }

    /// Whether a threshold was reached since the last check.
    pub(crate) fn is_detected(&self) -> bool {
        self.detected.load(Ordering::SeqCst) != 0
    }

    /// Resets the kinds that reached their threshold since the last check; returns their number, 0 while the endpoint is ejected.
    pub(crate) fn take_detected(&self) -> u32 {
        let detected = self.detected.swap(0, Ordering::SeqCst);
        if self.is_ejected() {
            return 0;
        }
        ROWS.into_iter().filter(|row| detected & (1 << *row as u8) != 0).for_each(|row| self.clear(row));
        detected.count_ones()
    }

    /// Ejects the endpoint.
    pub(crate) fn eject(&self, policy: &OutlierDetection, now: Instant) {
        let mut record = self.record();
        let multiplier = record.as_ref().map_or(0, |record| record.multiplier);
        let longest = policy.max_ejection_time + policy.base_ejection_time;
        let grows = policy.base_ejection_time.saturating_mul(multiplier) < longest;
        let returned_at = record.as_ref().and_then(|record| record.returned_at);
        *record = Some(Record { multiplier: multiplier + u32::from(grows), ejected_at: now, returned_at });
        self.set_ejected(true);
    }

    /// Restores the endpoint, and resets everything except the number of its ejections.
    pub(crate) fn restore(&self, now: Instant) {
        self.begin_anew();
        if let Some(record) = &mut *self.record() {
            record.returned_at = Some(now);
        }
        self.set_ejected(false);
    }

    /// Checks the endpoint at the end of an interval; returns whether it was restored.
    pub(crate) fn sweep(&self, policy: &OutlierDetection, now: Instant) -> bool {
        let Some(record) = *self.record() else { return false };
        if self.is_ejected() {
            let over = now.saturating_duration_since(record.ejected_at) >= ejection_time(policy, record.multiplier);
            if over {
                self.restore(now);
            }
            return over;
        }
        let healthy = record.returned_at.is_some_and(|since| now.saturating_duration_since(since) >= policy.interval);
        if let (true, Some(record)) = (healthy, &mut *self.record()) {
            record.multiplier = record.multiplier.saturating_sub(1);
        }
        false
    }

    /// Whether it does not change with time.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_ejected() && self.record().as_ref().is_none_or(|record| record.multiplier == 0)
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ejection_time(policy: &OutlierDetection, multiplier: u32) -> Duration {
    policy.base_ejection_time.saturating_mul(multiplier).min(policy.max_ejection_time)
}

#[cfg(test)]
mod tests;
