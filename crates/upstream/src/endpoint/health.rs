//! What the results of requests say of one endpoint (DR-30): failures in a row, and how often and until when it is out. It stays with the
//! endpoint, whatever becomes of its cluster's configuration.

use ir::OutlierDetection;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What came of a request or of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status; that of gRPC is told as HTTP's.
    Answered(u16),
    /// A connection was made for requests, which tell the rest.
    Connected,
    /// A connection of bytes was made, and no more will be told of it.
    Served,
    /// A connection was not made, or was reset.
    Disconnected,
    /// No answer came in time.
    TimedOut,
}

/// What is counted in a row.
#[derive(Debug, Clone, Copy)]
enum Row {
    ServerErrors,
    GatewayFailures,
    LocalFailures,
}

const ROWS: [Row; 3] = [Row::ServerErrors, Row::GatewayFailures, Row::LocalFailures];

/// The health of an endpoint. Written only where something fails, or has failed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    in_a_row: [AtomicU32; 3],
    /// A bit for each row that has become long enough since somebody looked.
    detected: AtomicU8,
    ejected: AtomicBool,
    /// There once it was ejected.
    record: Mutex<Option<Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// How many times the base time the next ejection takes, less one.
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

    /// Counts an outcome; whether somebody is to look at it now.
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

    /// Whether the row is just long enough: `most` of them, where 0 is never.
    fn add(&self, row: Row, most: u32) -> bool {
        let Some(count) = self.in_a_row.get(row as usize) else { return false };
        // Nobody looks where nothing is to be found.
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

    /// All rows begin anew.
    pub(crate) fn begin_anew(&self) {
        ROWS.into_iter().for_each(|row| self.clear(row));
    }

    /// Whether a row has become long enough since the last look.
    pub(crate) fn is_detected(&self) -> bool {
        self.detected.load(Ordering::SeqCst) != 0
    }

    /// The rows that have become long enough since the last look begin anew; how many there were. While it is ejected they do not count.
    pub(crate) fn take_detected(&self) -> u32 {
        let detected = self.detected.swap(0, Ordering::SeqCst);
        if self.is_ejected() {
            return 0;
        }
        ROWS.into_iter().filter(|row| detected & (1 << *row as u8) != 0).for_each(|row| self.clear(row));
        detected.count_ones()
    }

    /// Takes it out of use.
    pub(crate) fn eject(&self, policy: &OutlierDetection, now: Instant) {
        let mut record = self.record();
        let multiplier = record.as_ref().map_or(0, |record| record.multiplier);
        let longest = policy.max_ejection_time + policy.base_ejection_time;
        let grows = policy.base_ejection_time.saturating_mul(multiplier) < longest;
        let returned_at = record.as_ref().and_then(|record| record.returned_at);
        *record = Some(Record { multiplier: multiplier + u32::from(grows), ejected_at: now, returned_at });
        self.set_ejected(true);
    }

    /// Takes it into use again, with nothing held against it but how often it was out.
    pub(crate) fn restore(&self, now: Instant) {
        self.begin_anew();
        if let Some(record) = &mut *self.record() {
            record.returned_at = Some(now);
        }
        self.set_ejected(false);
    }

    /// Looks at it once in an interval. Whether it was taken back.
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

    /// Whether time alone changes nothing.
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
