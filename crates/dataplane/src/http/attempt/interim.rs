//! Limits on the interim responses (1xx) of one attempt: how many are forwarded, and how many are read.

use super::Failure;
use crate::conn::{Account, Charge};
use crate::limits::{INTERIM_BYTES, INTERIM_PASSED, INTERIM_RESPONSES};
use std::rc::Rc;

/// Counts of the interim responses so far.
#[derive(Debug, Default)]
pub(super) struct Interim {
    received: u32,
    passed: u32,
    bytes: usize,
    /// The charge for the forwarded ones, for an HTTP/2 client.
    charge: Option<Charge>,
}

impl Interim {
    /// Counts an interim response of `size` octets; whether it is forwarded. For an HTTP/2 client, whose library queues it, `account` is
    /// charged.
    pub(super) fn admit(&mut self, size: usize, account: Option<&Rc<Account>>) -> Result<bool, Failure> {
        self.received += 1;
        if self.received > INTERIM_RESPONSES {
            return Err(Failure::UpstreamProtocol);
        }
        let bytes = self.bytes.saturating_add(size);
        let mut passed = self.passed < INTERIM_PASSED && bytes <= INTERIM_BYTES;
        if let (true, Some(account)) = (passed, account) {
            passed = self.charge.get_or_insert_with(|| account.nothing()).resize(bytes).is_ok();
        }
        if passed {
            (self.passed, self.bytes) = (self.passed + 1, bytes);
        }
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_passed_on_and_a_limited_number_is_read() {
        let mut interim = Interim::default();
        let passed = (0..INTERIM_RESPONSES).filter(|_| interim.admit(10, None).unwrap()).count();
        assert_eq!(passed, INTERIM_PASSED as usize);
        assert_eq!(interim.admit(10, None), Err(Failure::UpstreamProtocol));
    }

    #[test]
    fn a_large_one_is_dropped_and_smaller_ones_behind_it_are_not() {
        let mut interim = Interim::default();
        let sizes = [INTERIM_BYTES + 1, INTERIM_BYTES - 10, 11, 10];
        assert_eq!(sizes.map(|size| interim.admit(size, None).unwrap()), [false, true, false, true]);
    }
}
