//! A worker's client connections that wait for their client, ordered by the start of the wait: the candidates for eviction. Connections with a
//! request in progress, or with TCP proxying, are not candidates.
//!
//! A request costs two steps that touch memory of the worker alone, and no allocation.

use super::addresses::AddressPermit;
use super::admission::{Admission, Permit};
use super::timers::Timers;
use super::{Notice, Timer};
use crate::metrics::{WAITS, WorkerMetrics};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// No place.
const NONE: u32 = u32::MAX;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its PROXY header, its ClientHello, or its first octets.
    FirstBytes,
    /// The rest of its TLS handshake.
    Handshake,
    /// The rest of a request's head.
    Head,
    /// A request.
    Idle,
}

impl Stage {
    /// All of them, by number; `metrics::WAITS` has their names.
    const ALL: [Self; WAITS.len()] = [Self::FirstBytes, Self::Handshake, Self::Head, Self::Idle];

    /// Whether the TLS handshake is not finished.
    fn is_handshake(self) -> bool {
        matches!(self, Self::FirstBytes | Self::Handshake)
    }
}

/// All connections of a worker.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// The worker's number.
    pub(super) worker: usize,
    nodes: RefCell<Nodes>,
    timers: Rc<Timers>,
    pub(super) admission: Arc<Admission>,
    metrics: Arc<WorkerMetrics>,
    handshakes: usize,
}

/// A connection of a client, for as long as it is open.
#[derive(Debug)]
pub(crate) struct Tracked {
    tracker: Rc<Tracker>,
    at: u32,
    timer: Timer,
    address: RefCell<Option<AddressPermit>>,
}

#[derive(Debug)]
struct Node {
    before: u32,
    after: u32,
    stage: Stage,
    linked: bool,
    /// A request is in progress. The node stays in its list until the next search for the oldest.
    busy: bool,
    since: u64,
    timer: Timer,
    permit: Option<Permit>,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
    length: usize,
}

#[derive(Debug)]
struct Nodes {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    lists: [List; WAITS.len()],
}

impl Tracker {
    /// An empty tracker; `handshakes` limits the connections in a handshake.
    pub(super) fn new(
        worker: usize,
        timers: &Rc<Timers>,
        admission: &Arc<Admission>,
        metrics: &Arc<WorkerMetrics>,
        handshakes: usize,
    ) -> Rc<Self> {
        let lists = [List { first: NONE, last: NONE, length: 0 }; WAITS.len()];
        Rc::new(Self {
            worker,
            nodes: RefCell::new(Nodes { nodes: Vec::new(), free: Vec::new(), lists }),
            timers: Rc::clone(timers),
            admission: Arc::clone(admission),
            metrics: Arc::clone(metrics),
            handshakes,
        })
    }

    /// Adds a connection, which waits for its client from now on.
    pub(crate) fn track(self: &Rc<Self>, permit: Permit, address: Option<AddressPermit>) -> Rc<Tracked> {
        let timer = self.timers.timer();
        let node = Node {
            before: NONE,
            after: NONE,
            stage: Stage::Idle,
            linked: false,
            busy: true,
            since: 0,
            timer: timer.clone(),
            permit: Some(permit),
        };
        let at = self.nodes.borrow_mut().insert(node);
        let tracked = Tracked { tracker: Rc::clone(self), at, timer, address: RefCell::new(address) };
        tracked.wait(Stage::Idle);
        Rc::new(tracked)
    }

    /// Evicts the connection that has waited longest for its client, and returns its permit; `None` if none waits.
    pub(crate) fn evict(&self) -> Option<Permit> {
        let stage = self.nodes.borrow_mut().oldest()?.1;
        let permit = self.evict_of(stage);
        self.publish();
        self.admission.notices.add(Notice::Evicted);
        permit
    }

    /// The start of the longest wait.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.nodes.borrow_mut().oldest().map(|(since, _)| since)
    }

    /// Publishes the start of the longest wait to the other workers.
    pub(super) fn publish(&self) {
        self.admission.publish(self.worker, self.oldest());
    }

    fn evict_of(&self, stage: Stage) -> Option<Permit> {
        let evicted = self.nodes.borrow_mut().take_first(stage);
        let (timer, permit) = evicted?;
        self.metrics.arrivals.evict(stage as usize);
        timer.cancel();
        permit
    }

    /// Makes room for one more handshake: at the limit, evicts the connection that has waited longest for its ClientHello, or else the longest
    /// handshake.
    fn limit_handshakes(&self) {
        let under_way = {
            let nodes = self.nodes.borrow();
            nodes.length(Stage::FirstBytes) + nodes.length(Stage::Handshake)
        };
        if under_way >= self.handshakes && self.evict_of(Stage::FirstBytes).is_none() {
            drop(self.evict_of(Stage::Handshake));
        }
    }
}

impl Tracked {
    /// The timer of the connection. After an eviction it has expired, whatever deadline is set later.
    pub(crate) fn timer(&self) -> Timer {
        self.timer.clone()
    }

    /// Marks the connection as waiting for its client.
    pub(crate) fn wait(&self, stage: Stage) {
        if stage == Stage::FirstBytes {
            self.tracker.limit_handshakes();
        }
        let now = self.tracker.timers.now();
        let was_empty = self.tracker.nodes.borrow_mut().wait(self.at, stage, now);
        if was_empty {
            self.tracker.admission.publish(self.tracker.worker, Some(now));
        }
    }

    /// Marks the connection as busy; `false` if it was evicted.
    pub(crate) fn begin(&self) -> bool {
        self.tracker.nodes.borrow_mut().begin(self.at);
        !self.timer.is_cancelled()
    }

    /// Whether it was evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        self.timer.is_cancelled()
    }

    /// Sets its permit of the client address.
    pub(crate) fn set_address(&self, permit: Option<AddressPermit>) {
        *self.address.borrow_mut() = permit;
    }

    /// Counts its TLS handshake; `false` at the limit of its address.
    pub(crate) fn begin_handshake(&self) -> bool {
        self.address.borrow_mut().as_mut().is_none_or(AddressPermit::begin_handshake)
    }

    /// Ends its handshake.
    pub(crate) fn end_handshake(&self) {
        if let Some(permit) = &mut *self.address.borrow_mut() {
            permit.end_handshake();
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // The permit is dropped after the borrow, since this may notify others.
        let node = self.tracker.nodes.borrow_mut().remove(self.at);
        drop(node);
    }
}

impl Nodes {
    fn insert(&mut self, node: Node) -> u32 {
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.nodes.get_mut(at as usize) {
                *place = Some(node);
            }
            return at;
        }
        self.nodes.push(Some(node));
        u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn remove(&mut self, at: u32) -> Option<Node> {
        self.unlink(at);
        let node = self.nodes.get_mut(at as usize)?.take();
        self.free.push(at);
        node
    }

    fn get(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(at as usize)?.as_mut()
    }

    fn length(&self, stage: Stage) -> usize {
        self.lists.get(stage as usize).map_or(0, |list| list.length)
    }

    /// Moves a connection to the end of its stage's list; whether all lists were empty.
    fn wait(&mut self, at: u32, stage: Stage, now: u64) -> bool {
        let Some(node) = self.get_mut(at) else { return false };
        if node.linked && !node.busy && node.stage == stage {
            return false;
        }
        node.busy = false;
        let is_last = node.linked && node.stage == stage && node.after == NONE;
        node.since = now;
        let was_empty = self.lists.iter().all(|list| list.length == 0);
        if !is_last {
            self.unlink(at);
            self.push(at, stage);
        }
        was_empty
    }

    fn begin(&mut self, at: u32) {
        let Some(node) = self.get_mut(at) else { return };
        node.busy = true;
        if node.stage.is_handshake() {
            self.unlink(at);
        }
    }

    fn push(&mut self, at: u32, stage: Stage) {
        let Some(list) = self.lists.get_mut(stage as usize) else { return };
        let last = std::mem::replace(&mut list.last, at);
        list.length += 1;
        if list.first == NONE {
            list.first = at;
        }
        if let Some(node) = self.get_mut(last) {
            node.after = at;
        }
        if let Some(node) = self.get_mut(at) {
            (node.before, node.after, node.stage, node.linked) = (last, NONE, stage, true);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(node) = self.get_mut(at).filter(|node| node.linked) else { return };
        node.linked = false;
        let (before, after, stage) = (node.before, node.after, node.stage);
        match self.get_mut(before) {
            Some(node) => node.after = after,
            None => self.change(stage, |list| list.first = after),
        }
        match self.get_mut(after) {
            Some(node) => node.before = before,
            None => self.change(stage, |list| list.last = before),
        }
        self.change(stage, |list| list.length = list.length.saturating_sub(1));
    }

    fn change(&mut self, stage: Stage, change: impl FnOnce(&mut List)) {
        if let Some(list) = self.lists.get_mut(stage as usize) {
            change(list);
        }
    }

    /// The first waiting connection of a stage; busy ones are unlinked.
    fn first(&mut self, stage: Stage) -> Option<u32> {
        loop {
            let first = self.lists.get(stage as usize)?.first;
            if !self.get(first)?.busy {
                return Some(first);
            }
            self.unlink(first);
        }
    }

    /// The start and the stage of the longest wait.
    fn oldest(&mut self) -> Option<(u64, Stage)> {
        let mut of = |stage: Stage| {
            let first = self.first(stage)?;
            Some((self.get(first)?.since, stage))
        };
        Stage::ALL.into_iter().filter_map(&mut of).min_by_key(|(since, _)| *since)
    }

    /// Removes the first waiting connection of a stage, with its permit.
    fn take_first(&mut self, stage: Stage) -> Option<(Timer, Option<Permit>)> {
        let first = self.first(stage)?;
        self.unlink(first);
        let node = self.get_mut(first)?;
        node.busy = true;
        Some((node.timer.clone(), node.permit.take()))
    }
}

#[cfg(test)]
mod tests;
