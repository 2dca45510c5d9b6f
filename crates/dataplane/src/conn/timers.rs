//! Timers of a worker's connections: one timer wheel that turns ten times a second, or faster while a near deadline is set.
//!
//! Setting a deadline is a store. A timer is in the wheel at or before its deadline; when its slot is reached and the deadline has moved on, it
//! is inserted again. So a connection that sets two deadlines with every request does not change the wheel.

use crate::limits::{FINE_TICK, TICK};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Slots of the wheel, one for each fine tick. Later deadlines are inserted more than once.
const SLOTS: u64 = 1024;
const NEVER: u64 = u64::MAX;

/// All timers of a worker.
#[derive(Debug)]
pub(crate) struct Timers {
    begun: Instant,
    /// The fine tick up to which the wheel has turned.
    now: Cell<u64>,
    wheel: Box<[RefCell<Vec<Weak<TimerState>>>]>,
    /// A deadline was set that comes before the next turn.
    near: Notify,
}

/// A timer for the task that polls it; clones share the deadline.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    state: Rc<TimerState>,
    timers: Rc<Timers>,
}

#[derive(Debug)]
struct TimerState {
    deadline: Cell<u64>,
    /// The earliest slot in the wheel.
    slot_tick: Cell<u64>,
    /// The timer has expired, whatever deadline is set.
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Timers {
    /// Ticks are counted from `begun`.
    pub(crate) fn new(begun: Instant) -> Rc<Self> {
        let wheel = (0..SLOTS).map(|_| RefCell::default()).collect();
        let timers = Self { begun, now: Cell::new(0), wheel, near: Notify::new() };
        timers.now.set(timers.tick_of(Instant::now()));
        Rc::new(timers)
    }

    /// The fine tick up to which the wheel has turned.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// A timer without a deadline.
    pub(crate) fn timer(self: &Rc<Self>) -> Timer {
        let state = TimerState {
            deadline: Cell::new(NEVER),
            slot_tick: Cell::new(NEVER),
            cancelled: Cell::new(false),
            waker: RefCell::new(None),
        };
        Timer { state: Rc::new(state), timers: Rc::clone(self) }
    }

    fn tick_of(&self, moment: Instant) -> u64 {
        let ticks = moment.saturating_duration_since(self.begun).as_micros() / FINE_TICK.as_micros();
        u64::try_from(ticks).unwrap_or(NEVER)
    }

    fn insert(&self, state: &Rc<TimerState>, tick: u64) {
        let tick = tick.clamp(self.now.get() + 1, self.now.get() + SLOTS - 1);
        state.slot_tick.set(tick);
        if let Some(slot) = self.wheel.get((tick % SLOTS) as usize) {
            slot.borrow_mut().push(Rc::downgrade(state));
        }
    }

    /// Turns the wheel up to `moment`, and wakes the tasks whose deadlines have passed.
    pub(crate) fn turn(&self, moment: Instant) {
        let until = self.tick_of(moment);
        // After a long pause, one full turn visits every slot.
        let from = self.now.get().max(until.saturating_sub(SLOTS));
        for tick in from + 1..=until {
            self.now.set(tick);
            let Some(slot) = self.wheel.get((tick % SLOTS) as usize) else { continue };
            for state in slot.take().iter().filter_map(Weak::upgrade) {
                self.reach(&state, tick);
            }
        }
        self.now.set(until.max(from));
    }

    fn reach(&self, state: &Rc<TimerState>, tick: u64) {
        if state.slot_tick.get() > tick {
            return; // It stands elsewhere too.
        }
        state.slot_tick.set(NEVER);
        match state.deadline.get() {
            NEVER => {}
            deadline if deadline <= tick => state.wake(),
            deadline => self.insert(state, deadline),
        }
    }

    /// Wakes every task that waits for a deadline.
    pub(crate) fn wake_all(&self) {
        for slot in &self.wheel {
            slot.borrow().iter().filter_map(Weak::upgrade).for_each(|state| state.wake());
        }
    }

    /// Waits until it is time to turn the wheel.
    pub(crate) async fn next_turn(&self) {
        let coarse = (TICK.as_micros() / FINE_TICK.as_micros()) as u64;
        let now = self.now.get();
        let is_taken =
            |tick: &u64| self.wheel.get((tick % SLOTS) as usize).is_some_and(|slot| !slot.borrow().is_empty());
        let ticks = (now + 1..now + coarse).find(is_taken).map_or(coarse, |tick| tick - now);
        let since = (now + ticks).saturating_mul(u64::try_from(FINE_TICK.as_micros()).unwrap_or(1));
        let at = self.begun + Duration::from_micros(since);
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = self.near.notified() => {}
        }
    }
}

impl TimerState {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Timer {
    /// Sets the deadline to `after` from now, exact to a tenth of a second.
    pub(crate) fn set(&self, after: Duration) {
        let ticks = u64::try_from((after + TICK).as_micros() / FINE_TICK.as_micros()).unwrap_or(NEVER - 1);
        self.set_tick(self.timers.now.get().saturating_add(ticks));
    }

    /// Brings the deadline forward to a moment, exact to a hundredth of a second; for configured timeouts.
    pub(crate) fn set_no_later(&self, moment: Instant) {
        let tick = self.timers.tick_of(moment).saturating_add(1);
        self.set_tick(tick.min(self.state.deadline.get()));
    }

    fn set_tick(&self, tick: u64) {
        self.state.deadline.set(tick);
        if tick < self.state.slot_tick.get() {
            self.timers.insert(&self.state, tick);
            if tick <= self.timers.now.get() + (TICK.as_micros() / FINE_TICK.as_micros()) as u64 {
                self.timers.near.notify_one();
            }
        }
    }

    /// Removes the deadline.
    pub(crate) fn clear(&self) {
        self.state.deadline.set(NEVER);
    }

    /// Expires the timer for good, whatever deadline is set later.
    pub(crate) fn cancel(&self) {
        self.state.cancelled.set(true);
        self.state.wake();
    }

    /// Whether the timer was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.cancelled.get()
    }

    /// Whether the deadline has passed; if not, wakes the task when it does.
    pub(crate) fn expired(&self, context: &Context<'_>) -> bool {
        let mut waker = self.state.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.state.deadline.get() <= self.timers.now.get() || self.state.cancelled.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn woken(timers: &Rc<Timers>, timer: &Timer, after: Duration) -> (usize, bool) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        timer.expired(&context);
        timers.turn(timers.begun + after);
        (count.0.load(Ordering::Relaxed), timer.expired(&context))
    }

    #[test]
    fn a_deadline_expires_at_its_time_and_not_before() {
        let timers = Timers::new(Instant::now());
        let timer = timers.timer();
        timer.set_no_later(timers.begun + Duration::from_millis(50));
        assert_eq!(woken(&timers, &timer, Duration::from_millis(40)), (0, false));
        assert_eq!(woken(&timers, &timer, Duration::from_millis(70)), (1, true));
    }

    #[test]
    fn a_deadline_beyond_the_wheel_expires_in_a_later_round() {
        let timers = Timers::new(Instant::now());
        let timer = timers.timer();
        timer.set(Duration::from_secs(3600));
        for seconds in (1..3600).step_by(5) {
            assert_eq!(woken(&timers, &timer, Duration::from_secs(seconds)), (0, false));
        }
        assert_eq!(woken(&timers, &timer, Duration::from_secs(3601)), (1, true));
    }

    #[test]
    fn a_deadline_that_is_moved_or_cleared_does_not_come() {
        let timers = Timers::new(Instant::now());
        let timer = timers.timer();
        timer.set(Duration::from_secs(1));
        timer.set(Duration::from_secs(3));
        assert_eq!(woken(&timers, &timer, Duration::from_secs(2)), (0, false));
        assert_eq!(woken(&timers, &timer, Duration::from_secs(4)), (1, true));
        timer.set(Duration::from_secs(1));
        timer.clear();
        assert_eq!(woken(&timers, &timer, Duration::from_secs(9)), (0, false));
    }

    #[test]
    fn a_timer_that_is_cancelled_wakes_and_stays_so_whatever_is_set() {
        let timers = Timers::new(Instant::now());
        let timer = timers.timer();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(!timer.expired(&Context::from_waker(&waker)));
        timer.cancel();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        timer.set(Duration::from_secs(9));
        assert!(timer.expired(&Context::from_waker(&waker)) && timer.is_cancelled());
    }

    #[test]
    fn a_long_stop_misses_nothing() {
        let timers = Timers::new(Instant::now());
        let (one, other) = (timers.timer(), timers.timer());
        one.set(Duration::from_secs(1));
        other.set(Duration::from_secs(9));
        other.expired(&Context::from_waker(Waker::noop()));
        assert_eq!(woken(&timers, &one, Duration::from_secs(100)), (1, true));
        assert!(other.expired(&Context::from_waker(Waker::noop())));
    }

    #[test]
    fn setting_deadlines_repeatedly_takes_no_memory() {
        let timers = Timers::new(Instant::now());
        let timer = timers.timer();
        for _ in 0..1000 {
            timer.set(Duration::from_secs(60));
            timer.set(Duration::from_secs(3600));
            timer.clear();
        }
        let entries: usize = timers.wheel.iter().map(|slot| slot.borrow().len()).sum();
        assert!(entries <= 2, "{entries}");
    }
}
