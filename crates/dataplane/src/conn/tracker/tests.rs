//! The order in which connections are closed for others, in one worker and across workers.

use super::*;
use crate::conn::Admission;
use crate::limits::Limits;
use std::time::{Duration, Instant};

struct Connections {
    admission: Arc<Admission>,
    timers: Rc<Timers>,
    tracker: Rc<Tracker>,
    metrics: Arc<WorkerMetrics>,
}

impl Connections {
    fn new(most: usize, handshakes: usize) -> Self {
        let admission = Admission::new(most, usize::MAX, 1);
        let timers = Timers::new(admission.origin());
        let metrics = Arc::new(WorkerMetrics::new(&Limits::default(), &crate::metrics::ProcessGauges::default()));
        let tracker = Tracker::new(0, &timers, &admission, &metrics, handshakes);
        Self { admission, timers, tracker, metrics }
    }

    /// A new connection, for which another is closed where it has to be.
    fn accept(&self) -> Option<Rc<Tracked>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let permit = runtime.block_on(self.tracker.admit(None));
        Some(self.tracker.track(permit?, None))
    }

    fn pass(&self, seconds: u64) {
        let ticks = self.timers.now();
        self.timers.turn(self.admission.origin() + Duration::from_millis(10 * ticks + 1000 * seconds));
    }
}

#[test]
fn the_connection_that_has_been_idle_longest_is_evicted() {
    let of = Connections::new(3, 9);
    let all: Vec<_> = (0..3).map(|_| of.accept().unwrap()).collect();
    for one in &all {
        of.pass(1);
        one.wait(Stage::Idle);
    }
    // It has a request meanwhile, and is idle again.
    assert!(all[0].begin());
    of.pass(1);
    all[0].wait(Stage::Idle);
    let mut newcomers = Vec::new();
    for evicted in [1, 2, 0] {
        let newcomer = of.accept().unwrap();
        assert!(newcomer.begin());
        newcomers.push(newcomer);
        assert!(all[evicted].is_evicted(), "{evicted}");
        assert!(!all[evicted].begin(), "it takes no request");
    }
    assert!(of.accept().is_none(), "all have a request");
    drop(newcomers.pop());
    assert!(of.accept().is_some());
    assert_eq!(of.metrics.arrivals.evicted(Stage::Idle as usize), 3);
}

#[test]
fn waiting_again_for_the_same_is_no_news_and_another_stage_is() {
    let of = Connections::new(3, 9);
    let all: Vec<_> = (0..3).map(|_| of.accept().unwrap()).collect();
    all.iter().for_each(|one| one.wait(Stage::Idle));
    of.pass(1);
    all[0].wait(Stage::Idle);
    all[1].wait(Stage::Head);
    assert_eq!(of.tracker.oldest(), Some(of.timers.now() - 100));
    drop(of.accept().unwrap());
    assert!(all[0].is_evicted() && !all[1].is_evicted());
    let next = of.accept().unwrap();
    drop(of.accept().unwrap());
    assert!(all[2].is_evicted() && !all[1].is_evicted());
    drop(next);
}

#[test]
fn a_further_handshake_evicts_the_connection_that_has_waited_longest_for_its_client_hello() {
    let of = Connections::new(100, 3);
    let all: Vec<_> = (0..5).map(|_| of.accept().unwrap()).collect();
    for one in &all[..3] {
        one.wait(Stage::FirstBytes);
    }
    all[0].wait(Stage::Handshake);
    all[3].wait(Stage::FirstBytes);
    assert!(all[1].is_evicted() && !all[0].is_evicted() && !all[2].is_evicted());
    all[2].wait(Stage::Handshake);
    all[3].wait(Stage::Handshake);
    all[4].wait(Stage::FirstBytes);
    assert!(all[0].is_evicted() && !all[4].is_evicted(), "where all have said hello, the oldest handshake");
    // Those that are done make room.
    all[2].wait(Stage::Idle);
    assert!(all[3].begin());
    let more: Vec<_> = (0..2).map(|_| of.accept().unwrap()).collect();
    more.iter().for_each(|one| one.wait(Stage::FirstBytes));
    assert!(!all[4].is_evicted() && !all[2].is_evicted());
}

#[test]
fn places_and_permits_come_back() {
    let of = Connections::new(8, 9);
    for round in 0..100 {
        let all: Vec<_> = (0..8).map(|_| of.accept().unwrap()).collect();
        for (at, one) in all.iter().enumerate() {
            one.wait(Stage::ALL[(at + round) % 4]);
        }
        all.iter().step_by(3).for_each(|one| assert!(one.begin()));
        let others: Vec<_> = (0..5).map(|_| of.accept()).collect();
        assert_eq!(others.iter().flatten().count(), 5);
    }
    assert!(of.tracker.nodes.borrow().nodes.len() <= 16);
    assert!(
        of.tracker.nodes.borrow().lists.iter().all(|list| list.length == 0 && list.first == NONE && list.last == NONE)
    );
    assert_eq!(of.tracker.oldest(), None);
    let all: Vec<_> = (0..8).map(|_| of.accept().unwrap()).collect();
    assert!(all.iter().all(|one| one.begin()));
    assert!(of.accept().is_none());
    drop(all);
}

/// Worker A is full of idle connections, and all new ones come to worker B.
#[test]
fn another_worker_evicts_its_oldest() {
    let admission = Admission::new(100, 40, 2);
    let ready = Arc::new(std::sync::Barrier::new(2));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = |number: usize, admission: &Arc<Admission>| {
        let timers = Timers::new(admission.origin());
        let metrics = Arc::new(WorkerMetrics::new(&Limits::default(), &crate::metrics::ProcessGauges::default()));
        Tracker::new(number, &timers, admission, &metrics, 9)
    };
    let other = {
        let (admission, ready) = (Arc::clone(&admission), Arc::clone(&ready));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tracker = worker(0, &admission);
                let mut all = Vec::new();
                for _ in 0..40 {
                    let permit = tracker.admit(None).await.unwrap();
                    all.push(tracker.track(permit, None));
                }
                all.iter().for_each(|one| one.wait(Stage::Idle));
                ready.wait();
                tokio::select! {
                    () = Rc::clone(&tracker).serve_evictions() => {}
                    _ = stopped => {}
                }
                all.iter().map(|one| one.is_evicted()).collect::<Vec<_>>()
            })
        })
    };
    ready.wait();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let here = runtime.block_on(async {
        let tracker = worker(1, &admission);
        let mut here = Vec::new();
        for _ in 0..30 {
            let permit = tracker.admit(None).await.expect("somebody is idle");
            let tracked = tracker.track(permit, None);
            assert!(tracked.begin());
            here.push(tracked);
        }
        here
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    drop(stop);
    let evicted = other.join().unwrap();
    let count = evicted.iter().filter(|evicted| **evicted).count();
    // Each has its own; one that asks again while a busy worker closes what it asked for may get another.
    assert!((30..40).contains(&count), "{count}");
    assert!(evicted[..count].iter().all(|evicted| *evicted), "the oldest first");
    drop(here);
}
