//! Budgets for memory that clients cause the process to hold: limits in octets per connection, worker and process, for each kind of memory.
//!
//! The owner of memory holds a [`Charge`] for it, and returns the octets by dropping the charge. This module allocates nothing itself: `http`
//! charges decoded heads and responses that wait for a client.
//!
//! A connection gets no more than what is free in the budget of its worker. So a few connections that hold all that they can leave room for
//! others, and many leave as much as each of them has; a new connection is served in any case. (Choudhury and Hahne, "Dynamic queue length
//! thresholds for shared-memory packet switches", 1998.)

use crate::limits::BudgetLimits;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use upstream::Holder;

/// The octets that a worker leases from the process's budget at a time, so that workers rarely contend.
const LEASE: usize = 1 << 20;
/// The octets that each stream may hold in any case.
pub(crate) const MIN_PER_STREAM: usize = 2 << 10;
/// The least room to wake a stream for, and the room that one stream is expected to use.
const WORTH_WAKING: usize = 1 << 10;
const FOR_ONE: usize = 16 << 10;
/// The least room for reading ahead of clients; it leaves the minimum of 128 streams.
const AHEAD: usize = 288 << 10;

/// The limit that a charge would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BudgetExceeded {
    /// The limit of the connection.
    Connection,
    /// The limit of the worker, or a connection's share of it.
    Worker,
    /// The limit of the process.
    Process,
}

/// One kind of memory on one worker.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: BudgetLimits,
    /// Octets held on this worker. Only this worker writes it; the metrics read it.
    held: Arc<AtomicU64>,
    /// The octets leased by this worker, and by all workers.
    leased: Cell<usize>,
    process: Arc<AtomicUsize>,
}

/// The octets that one connection holds of a budget.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Rc<Budget>,
    held: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<StreamShare>>>,
}

/// The octets that one stream holds of an account: data queued or read for its client.
#[derive(Debug)]
pub(crate) struct StreamShare {
    account: Rc<Account>,
    held: Cell<usize>,
    /// The task that waits for room, and whether it is in the account's queue.
    waker: RefCell<Option<Waker>>,
    queued: Cell<bool>,
}

/// Octets that a stream holds besides its queued data.
#[derive(Debug)]
pub(crate) struct HeldOctets {
    share: Rc<StreamShare>,
    octets: usize,
}

/// Octets that something holds; they are returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Rc<Account>,
    octets: usize,
}

impl Budget {
    /// A budget that holds nothing. `held` is the worker's gauge, `process` is shared by all workers.
    pub(crate) fn new(limits: BudgetLimits, held: Arc<AtomicU64>, process: Arc<AtomicUsize>) -> Rc<Self> {
        Rc::new(Self { limits, held, leased: Cell::new(0), process })
    }

    /// The account of a new connection.
    pub(crate) fn account(self: &Rc<Self>) -> Rc<Account> {
        Rc::new(Account { budget: Rc::clone(self), held: Cell::new(0), waiting: RefCell::default() })
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed) as usize
    }

    /// The free octets, and the limit that applies.
    fn free(&self) -> (usize, BudgetExceeded) {
        let of_worker = self.limits.worker.saturating_sub(self.held());
        let unleased = self.limits.process.saturating_sub(self.process.load(Ordering::Relaxed));
        let of_process = unleased + self.leased.get().saturating_sub(self.held());
        if of_process < of_worker { (of_process, BudgetExceeded::Process) } else { (of_worker, BudgetExceeded::Worker) }
    }

    fn take(&self, octets: usize) -> Result<(), BudgetExceeded> {
        let held = self.held() + octets;
        if held > self.leased.get() {
            self.lease(held - self.leased.get())?;
        }
        self.held.store(held as u64, Ordering::Relaxed);
        Ok(())
    }

    fn hold_anyway(&self, octets: usize) {
        if self.take(octets).is_err() {
            self.process.fetch_add(octets, Ordering::Relaxed);
            self.leased.set(self.leased.get() + octets);
            self.held.store((self.held() + octets) as u64, Ordering::Relaxed);
        }
    }

    /// Leases at least `least` more octets from the process's budget.
    fn lease(&self, least: usize) -> Result<(), BudgetExceeded> {
        for more in [least.max(LEASE), least] {
            let taken = self.process.fetch_add(more, Ordering::Relaxed).saturating_add(more);
            if taken <= self.limits.process {
                self.leased.set(self.leased.get() + more);
                return Ok(());
            }
            self.process.fetch_sub(more, Ordering::Relaxed);
        }
        Err(BudgetExceeded::Process)
    }

    fn give_back(&self, octets: usize) {
        let held = self.held().saturating_sub(octets);
        self.held.store(held as u64, Ordering::Relaxed);
        let spare = self.leased.get().saturating_sub(held);
        if spare >= 2 * LEASE {
            self.leased.set(held + LEASE);
            self.process.fetch_sub(spare - LEASE, Ordering::Relaxed);
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.process.fetch_sub(self.leased.get(), Ordering::Relaxed);
    }
}

impl Account {
    /// The octets that it may hold in addition.
    pub(crate) fn room(&self) -> usize {
        self.bound().0.saturating_sub(self.held.get())
    }

    /// Whether there is too little room to read ahead of the client.
    pub(crate) fn is_tight(&self) -> bool {
        self.room() < AHEAD
    }

    /// The octets that it may hold now, and the limit that applies.
    fn bound(&self) -> (usize, BudgetExceeded) {
        let (free, over) = self.budget.free();
        let own = self.budget.limits.connection;
        if own <= free { (own, BudgetExceeded::Connection) } else { (free, over) }
    }

    /// Charges octets if they are within all limits.
    pub(crate) fn charge(self: &Rc<Self>, octets: usize) -> Result<Charge, BudgetExceeded> {
        let mut charge = self.nothing();
        charge.resize(octets)?;
        Ok(charge)
    }

    /// A charge for no octets, which can grow.
    pub(crate) fn nothing(self: &Rc<Self>) -> Charge {
        Charge { account: Rc::clone(self), octets: 0 }
    }

    /// A share for a new stream.
    pub(crate) fn share(self: &Rc<Self>) -> Rc<StreamShare> {
        let account = Rc::clone(self);
        Rc::new(StreamShare { account, held: Cell::new(0), waker: RefCell::default(), queued: Cell::new(false) })
    }

    /// Charges octets that are already allocated, beyond limits if necessary.
    fn hold_anyway(&self, octets: usize) {
        self.held.set(self.held.get() + octets);
        self.budget.hold_anyway(octets);
    }

    fn give_back(&self, octets: usize) {
        self.held.set(self.held.get().saturating_sub(octets));
        self.budget.give_back(octets);
        if !self.waiting.borrow().is_empty() {
            self.wake();
        }
    }

    /// Wakes as many tasks as there is room for, the first to wait first.
    fn wake(&self) {
        let mut room = if self.held.get() == 0 { usize::MAX } else { self.room() };
        while room >= WORTH_WAKING {
            let Some(share) = self.waiting.borrow_mut().pop_front() else { return };
            share.queued.set(false);
            share.wake();
            room = room.saturating_sub(FOR_ONE);
        }
    }
}

impl StreamShare {
    /// The octets that the stream may queue now; a minimum is always allowed, so that no stream stalls.
    pub(crate) fn room(&self) -> usize {
        self.account.room().max(MIN_PER_STREAM.saturating_sub(self.held.get()))
    }

    /// Whether there is too little room to read ahead of the client.
    pub(crate) fn is_tight(&self) -> bool {
        self.account.is_tight()
    }

    /// Waits for room, and returns it.
    pub(crate) fn poll_room(self: &Rc<Self>, context: &Context<'_>) -> Poll<usize> {
        let room = self.room();
        if room > 0 {
            return Poll::Ready(room);
        }
        self.waker.replace(Some(context.waker().clone()));
        if !self.queued.replace(true) {
            self.account.waiting.borrow_mut().push_back(Rc::clone(self));
        }
        Poll::Pending
    }

    /// Charges octets that were already read, until the guard is dropped.
    pub(crate) fn hold(self: &Rc<Self>, octets: usize) -> HeldOctets {
        self.take(octets);
        HeldOctets { share: Rc::clone(self), octets }
    }

    /// Counts octets; [`Holder::release`] returns them.
    pub(crate) fn take(&self, octets: usize) {
        self.held.set(self.held.get() + octets);
        self.account.hold_anyway(octets);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Holder for StreamShare {
    fn release(&self, octets: usize) {
        self.held.set(self.held.get().saturating_sub(octets));
        self.account.give_back(octets);
        if self.held.get() < MIN_PER_STREAM {
            self.wake();
        }
    }
}

impl HeldOctets {
    /// Changes the number of octets.
    pub(crate) fn set(&mut self, octets: usize) {
        if octets != self.octets {
            self.share.take(octets);
            self.share.release(self.octets);
            self.octets = octets;
        }
    }
}

impl Drop for HeldOctets {
    fn drop(&mut self) {
        self.share.release(self.octets);
    }
}

impl Charge {
    /// Changes the number of octets. A decrease never fails; a refused increase changes nothing.
    pub(crate) fn resize(&mut self, octets: usize) -> Result<(), BudgetExceeded> {
        let Some(more) = octets.checked_sub(self.octets) else {
            self.account.give_back(self.octets - octets);
            self.octets = octets;
            return Ok(());
        };
        let held = self.account.held.get() + more;
        let (bound, over) = self.account.bound();
        if held > bound {
            return Err(over);
        }
        self.account.budget.take(more)?;
        self.account.held.set(held);
        self.octets = octets;
        Ok(())
    }

    /// The octets.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.octets > 0 {
            self.account.give_back(self.octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    fn budget(connection: usize, worker: usize, process: usize, used: &Arc<AtomicUsize>) -> Rc<Budget> {
        let limits = BudgetLimits { connection, worker, process };
        Budget::new(limits, Arc::default(), Arc::clone(used))
    }

    #[test]
    fn octets_are_returned_and_each_bound_is_named() {
        let process = Arc::default();
        let budget = budget(100, 1000, 1500, &process);
        let account = budget.account();
        let first = account.charge(60).unwrap();
        let mut second = account.charge(40).unwrap();
        assert_eq!(account.charge(1).unwrap_err(), BudgetExceeded::Connection);
        second.resize(10).unwrap();
        assert_eq!((account.held.get(), account.room(), second.octets), (70, 30, 10));
        assert_eq!(second.resize(41), Err(BudgetExceeded::Connection));
        drop((first, second));
        assert_eq!((account.held.get(), budget.held()), (0, 0));
        drop(account);
        drop(budget);
        assert_eq!(process.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn connections_that_hold_all_they_can_leave_room_for_a_new_one() {
        let process = Arc::default();
        let budget = budget(1 << 20, 1 << 20, 1 << 30, &process);
        let greedy: Vec<_> = (0..99).map(|_| budget.account()).collect();
        let mut charges = Vec::new();
        loop {
            let before = charges.len();
            charges.extend(greedy.iter().filter_map(|account| account.charge(100).ok()));
            if charges.len() == before {
                break;
            }
        }
        assert_eq!(greedy[0].charge(100).unwrap_err(), BudgetExceeded::Worker);
        // Each has about a hundredth, and so has one that comes now.
        let newcomer = budget.account();
        assert!(newcomer.room() > (1 << 20) / 110, "{}", newcomer.room());
        assert!(newcomer.charge(9000).is_ok());
    }

    #[test]
    fn workers_share_the_budget_of_the_process() {
        let process = Arc::default();
        let [one, two] = [1, 2].map(|_| budget(5 << 20, 8 << 20, 6 << 20, &process));
        let held = one.account().charge(3 << 20).unwrap();
        let other = two.account();
        assert_eq!(other.charge(4 << 20).unwrap_err(), BudgetExceeded::Process);
        drop(held);
        assert!(process.load(Ordering::Relaxed) <= LEASE, "all but a lease is returned");
        assert!(other.charge(4 << 20).is_ok());
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_stream_that_waits_for_room_is_woken_when_there_is_some() {
        let process = Arc::default();
        let account = budget(64 << 10, 1 << 20, 1 << 20, &process).account();
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let context = Context::from_waker(&waker);
        let [greedy, other] = [1, 2].map(|_| account.share());
        let held = greedy.hold(64 << 10);
        assert!(greedy.is_tight() && greedy.poll_room(&context).is_pending());
        // Others have theirs nevertheless.
        assert_eq!(other.poll_room(&context), Poll::Ready(MIN_PER_STREAM));
        let mut own = other.hold(MIN_PER_STREAM);
        assert!(other.poll_room(&context).is_pending());
        own.set(MIN_PER_STREAM - 1);
        assert!(woken.0.swap(false, Ordering::Relaxed), "its own has become less");
        drop(held);
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(greedy.room(), (64 << 10) - MIN_PER_STREAM + 1);
        drop((own, greedy, other));
        assert_eq!((account.held.get(), process.load(Ordering::Relaxed)), (0, LEASE));
    }
}
