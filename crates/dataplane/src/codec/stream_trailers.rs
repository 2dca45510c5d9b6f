//! Decoded trailers, which the library holds until the body before them is read. HPACK can encode a field in one octet, so the charge is an
//! upper bound of the decoded size. [`upstream::Watched`] reports trailers; the receiving half of the stream releases them.

use crate::conn::{Account, Charge};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use upstream::TrailerObserver;

/// The octets of a field in the library's map.
const OF_FIELD: usize = 128;

/// The unread trailers of one stream.
#[derive(Debug)]
struct Held {
    charge: Charge,
    /// Whether they have pseudo-header fields (RFC 9113 §8.1).
    malformed: bool,
}

/// The unread trailers of one connection.
#[derive(Debug)]
pub(crate) struct UnreadTrailers {
    account: Rc<Account>,
    /// By stream.
    held: RefCell<HashMap<u32, Held>>,
    over: Cell<bool>,
}

impl UnreadTrailers {
    pub(crate) fn new(account: &Rc<Account>) -> Rc<Self> {
        Rc::new(Self { account: Rc::clone(account), held: RefCell::default(), over: Cell::new(false) })
    }

    /// Whether they exceed the budget of the connection.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Releases the trailers of refused streams; called while there are no other streams.
    pub(crate) fn clear(&self) {
        let mut held = self.held.borrow_mut();
        if !held.is_empty() {
            held.clear();
        }
    }

    /// A guard that releases the trailers of a stream when it is dropped.
    pub(crate) fn of(self: &Rc<Self>, stream: u32) -> StreamTrailers {
        StreamTrailers { trailers: Rc::clone(self), stream }
    }
}

impl TrailerObserver for UnreadTrailers {
    fn mark_malformed(&self, stream: u32) {
        if let Some(held) = self.held.borrow_mut().get_mut(&stream) {
            held.malformed = true;
        }
    }

    fn begin_frame(&self, stream: u32, octets: usize) {
        let mut held = self.held.borrow_mut();
        let nothing = || Held { charge: self.account.nothing(), malformed: false };
        let Held { charge, .. } = held.entry(stream).or_insert_with(nothing);
        if charge.resize(charge.octets() + octets * OF_FIELD).is_err() {
            self.over.set(true);
        }
    }
}

/// The trailers of an accepted stream.
#[derive(Debug)]
pub(crate) struct StreamTrailers {
    trailers: Rc<UnreadTrailers>,
    stream: u32,
}

impl StreamTrailers {
    /// Whether trailers were received that have pseudo-header fields.
    pub(super) fn are_malformed(&self) -> bool {
        self.trailers.held.borrow().get(&self.stream).is_some_and(|held| held.malformed)
    }
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
        let trailers = UnreadTrailers::new(&account);
        trailers.begin_frame(1, 20);
        trailers.begin_frame(1, 10);
        assert_eq!((account.room(), trailers.is_over()), (10_000 - 30 * OF_FIELD, false));
        trailers.mark_malformed(1);
        let (one, three) = (trailers.of(1), trailers.of(3));
        assert_eq!((one.are_malformed(), three.are_malformed()), (true, false));
        drop(three);
        assert_eq!(account.room(), 10_000 - 30 * OF_FIELD);
        drop(one);
        assert_eq!(account.room(), 10_000);
        trailers.begin_frame(3, 100);
        assert!(trailers.is_over());
        trailers.clear();
        assert_eq!(account.room(), 10_000);
    }
}
