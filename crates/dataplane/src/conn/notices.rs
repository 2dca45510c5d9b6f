//! What the process log says of connections that are not accepted, or closed for others: one line a second at most for each kind, with a
//! count. A flood of connections is no flood of lines.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Ticks between two lines of a kind: a second (see `limits::FINE_TICK`).
const EVERY: u64 = 100;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Connections that were rejected, since there are as many as there may be.
    Full,
    /// Connections that were closed to make room for others.
    Evicted,
    /// Connections that were rejected, since their address has as many as it may have.
    Address,
    /// The system gave no connection.
    AcceptError,
}

const KINDS: [Notice; 4] = [Notice::Full, Notice::Evicted, Notice::Address, Notice::AcceptError];

/// Counts since the last lines, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    counts: [Count; KINDS.len()],
    error: Mutex<String>,
}

#[derive(Debug, Default)]
struct Count {
    waiting: AtomicU64,
    /// The tick from which on the next line may be written.
    next: AtomicU64,
}

impl Notices {
    /// Counts one.
    pub(crate) fn add(&self, notice: Notice) {
        if let Some(count) = self.counts.get(notice as usize) {
            count.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an error of the system.
    pub(crate) fn add_error(&self, error: &io::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
        self.add(Notice::AcceptError);
    }

    /// Writes the lines whose time has come. `most` is how many connections there may be.
    pub(crate) fn flush(&self, now: u64, most: usize) {
        for (notice, count) in KINDS.into_iter().zip(&self.counts) {
            if let Some(count) = count.take(now) {
                self.write(notice, count, most);
            }
        }
    }

    fn write(&self, notice: Notice, count: u64, most: usize) {
        match notice {
            Notice::Full => tracing::warn!(
                count,
                "connections were rejected: {most} are open, which is the limit, and none of them is idle; raise RLIMIT_NOFILE or `--limit connections=N`"
            ),
            Notice::Evicted => {
                tracing::info!(count, "idle connections were closed to accept new ones: {most} is the limit");
            }
            Notice::Address => tracing::warn!(
                count,
                "connections were rejected: their addresses have reached a limit; see `--limit address-connections`, `address-rate`, `address-handshakes` and `--trusted-proxies`"
            ),
            Notice::AcceptError => {
                let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tracing::warn!(count, %error, "connections could not be accepted; they wait and are tried again");
            }
        }
    }
}

impl Count {
    /// What was counted, if a line may be written now.
    fn take(&self, now: u64) -> Option<u64> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let next = self.next.load(Ordering::Relaxed);
        let due = now >= next;
        // Of several workers one writes.
        let won = due && self.next.compare_exchange(next, now + EVERY, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        won.then(|| self.waiting.swap(0, Ordering::AcqRel)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_once_a_second_with_all_that_was_counted() {
        let count = Count::default();
        assert_eq!(count.take(7), None);
        count.waiting.fetch_add(3, Ordering::Relaxed);
        assert_eq!(count.take(7), Some(3));
        count.waiting.fetch_add(1000, Ordering::Relaxed);
        assert_eq!((7..7 + EVERY).find_map(|now| count.take(now)), None);
        assert_eq!(count.take(7 + EVERY), Some(1000));
    }
}
