//! Decoded trailers, which the library holds until the body before them is read. HPACK can encode a field in one octet, so the charge is an
//! upper bound of the decoded size. [`upstream::Watched`] reports trailers; the receiving half of the stream releases them.

use crate::conn::{Account, Charge};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use upstream::Trailing;

/// The octets of a field in the library's map.
const OF_FIELD: usize = 128;

/// The unread trailers of one connection.
#[derive(Debug)]
pub(super) struct Trailers {
    account: Rc<Account>,
    /// By stream.
    held: RefCell<HashMap<u32, Charge>>,
    over: Cell<bool>,
}

impl Trailers {
    pub(super) fn new(account: &Rc<Account>) -> Rc<Self> {
        Rc::new(Self { account: Rc::clone(account), held: RefCell::default(), over: Cell::new(false) })
    }

    /// Whether they exceed the budget of the connection.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Releases the trailers of refused streams; called while there are no other streams.
    pub(super) fn clear(&self) {
        let mut held = self.held.borrow_mut();
        if !held.is_empty() {
            held.clear();
        }
    }

    /// A guard that releases the trailers of a stream when it is dropped.
    pub(super) fn of(self: &Rc<Self>, stream: u32) -> StreamTrailers {
        StreamTrailers { trailers: Rc::clone(self), stream }
    }
}

impl Trailing for Trailers {
    fn came(&self, stream: u32, octets: usize) {
        let mut held = self.held.borrow_mut();
        let charge = held.entry(stream).or_insert_with(|| self.account.nothing());
        if charge.resize(charge.octets() + octets * OF_FIELD).is_err() {
            self.over.set(true);
        }
    }
}

/// The trailers of an accepted stream.
#[derive(Debug)]
pub(super) struct StreamTrailers {
    trailers: Rc<Trailers>,
    stream: u32,
}

impl Drop for StreamTrailers {
    fn drop(&mut self) {
        let mut held = self.trailers.held.borrow_mut();
        if !held.is_empty() {
            held.remove(&self.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Budget;
    use crate::limits::BudgetLimits;
    use std::sync::Arc;

    #[test]
    fn trailers_are_charged_until_they_are_read() {
        let limits = BudgetLimits { connection: 10_000, worker: 1 << 20, process: 1 << 20 };
        let account = Budget::new(limits, Arc::default(), Arc::default()).account();
        let trailers = Trailers::new(&account);
        trailers.came(1, 20);
        trailers.came(1, 10);
        assert_eq!((account.room(), trailers.is_over()), (10_000 - 30 * OF_FIELD, false));
        drop(trailers.of(3));
        assert_eq!(account.room(), 10_000 - 30 * OF_FIELD);
        drop(trailers.of(1));
        assert_eq!(account.room(), 10_000);
        trailers.came(3, 100);
        assert!(trailers.is_over());
        trailers.clear();
        assert_eq!(account.room(), 10_000);
    }
}
