//! Trailers that the library holds, decoded, until the body before them is read. HPACK makes a field out of one octet, so that they are
//! charged for what they may have become. [`upstream::Watched`] tells of them; a stream's receiving half returns them.

use crate::conn::{Account, Charge};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use upstream::Trailing;

/// What a field takes in the library's map.
const OF_FIELD: usize = 128;

/// The trailers of one connection that were not read yet.
#[derive(Debug)]
pub(in crate::http) struct Trailers {
    account: Rc<Account>,
    /// By stream.
    held: RefCell<HashMap<u32, Charge>>,
    over: Cell<bool>,
}

impl Trailers {
    pub(super) fn new(account: &Rc<Account>) -> Rc<Self> {
        Rc::new(Self { account: Rc::clone(account), held: RefCell::default(), over: Cell::new(false) })
    }

    /// Whether there are more than the connection may hold.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Forgets those of streams that were refused: there is no other.
    pub(super) fn clear(&self) {
        let mut held = self.held.borrow_mut();
        if !held.is_empty() {
            held.clear();
        }
    }

    /// Those of a stream, which are returned when this is dropped.
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

/// The trailers of a stream that was begun.
#[derive(Debug)]
pub(in crate::http) struct StreamTrailers {
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
