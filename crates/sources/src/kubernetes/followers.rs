//! The tasks that follow the kinds: which of them run, and which kinds are known.

use super::access::Cluster;
use super::follow::{Follower, Pace, Report};
use super::page::PageSize;
use super::watched::Watched;
use resources::key::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Observations that wait; followers pause beyond.
const WAITING: usize = 16;
/// Pages among them; each follower has one more at most.
const PAGES: usize = 2;

/// The followers, until this is dropped.
pub(super) struct Followers {
    cluster: Cluster,
    namespace: Arc<str>,
    pace: Pace,
    out: Sender<Report>,
    pages: Arc<Semaphore>,
    tasks: JoinSet<()>,
    followed: BTreeMap<Kind, Followed>,
    /// The number of the last follower.
    last: u64,
}

/// A kind that is followed.
struct Followed {
    /// That of its follower.
    number: u64,
    task: AbortHandle,
    /// How many listings were requested besides the first.
    relists: watch::Sender<u64>,
    /// How many of them were under way or done when the last listing began that came to its end, or failed.
    answered_count: u64,
    /// Whether a listing is under way.
    is_listing: bool,
    /// Whether the kind has been listed, or is known not to be installed.
    is_settled: bool,
}

impl Followers {
    /// `namespace` is that of the gateway. The receiver has what is observed.
    pub(super) fn new(cluster: Cluster, namespace: Arc<str>, pace: Pace) -> (Self, Receiver<Report>) {
        let (out, observed) = channel(WAITING);
        let pages = Arc::new(Semaphore::new(PAGES));
        let (tasks, followed, last) = Default::default();
        (Self { cluster, namespace, pace, out, pages, tasks, followed, last }, observed)
    }

    /// Follows a kind, unless it is followed. `was_there`: objects of it are known from before.
    pub(super) fn follow(&mut self, watched: &Watched, was_there: bool) {
        let Some(resource) = watched.resource().filter(|_| !self.follows(watched.kind)) else { return };
        let (sender, relists) = watch::channel(0);
        self.last += 1;
        let follower = Follower {
            number: self.last,
            cluster: self.cluster.clone(),
            watched: *watched,
            resource,
            namespace: Arc::clone(&self.namespace),
            pace: self.pace,
            relists,
            out: self.out.clone(),
            pages: Arc::clone(&self.pages),
            size: PageSize::USUAL,
            was_there,
            is_unwatched: false,
        };
        // Those that were ended leave nothing else behind.
        while self.tasks.try_join_next().is_some() {}
        let task = self.tasks.spawn(follower.run());
        let followed = Followed {
            number: self.last,
            task,
            relists: sender,
            answered_count: 0,
            is_listing: false,
            is_settled: false,
        };
        self.followed.insert(watched.kind, followed);
    }

    /// Follows a kind no more: whether it did.
    pub(super) fn unfollow(&mut self, kind: Kind) -> bool {
        let Some(followed) = self.followed.remove(&kind) else { return false };
        followed.task.abort();
        true
    }

    /// Whether a report counts: not if its kind is not followed any more, or by another follower.
    pub(super) fn has_sent(&self, report: &Report) -> bool {
        self.followed.get(&report.kind).is_some_and(|followed| followed.number == report.follower)
    }

    pub(super) fn follows(&self, kind: Kind) -> bool {
        self.followed.contains_key(&kind)
    }

    /// Has a kind listed again, if it is followed.
    pub(super) fn relist(&self, kind: Kind) {
        if let Some(followed) = self.followed.get(&kind) {
            followed.relist();
        }
    }

    pub(super) fn relist_all(&self) {
        self.followed.values().for_each(Followed::relist);
    }

    /// A listing of the kind has begun.
    pub(super) fn begin(&mut self, kind: Kind) {
        if let Some(followed) = self.followed.get_mut(&kind) {
            followed.is_listing = true;
        }
    }

    /// The kind has been listed, or is known not to be there. `relist_count`: how many further listings had been requested
    /// when this one began.
    pub(super) fn settle(&mut self, kind: Kind, relist_count: u64) {
        if let Some(followed) = self.followed.get_mut(&kind) {
            (followed.is_listing, followed.is_settled) = (false, true);
            followed.answered_count = followed.answered_count.max(relist_count);
        }
    }

    /// The kind cannot be read, which is reported: further listings of it are not waited for.
    pub(super) fn excuse(&mut self, kind: Kind) {
        if let Some(followed) = self.followed.get_mut(&kind) {
            followed.is_listing = false;
            followed.answered_count = *followed.relists.borrow();
        }
    }

    /// The configuration is complete without the kind.
    pub(super) fn dispense_with(&mut self, kind: Kind) {
        self.excuse(kind);
        if let Some(followed) = self.followed.get_mut(&kind) {
            followed.is_settled = true;
        }
    }

    pub(super) fn is_settled(&self, kind: Kind) -> bool {
        self.followed.get(&kind).is_some_and(|followed| followed.is_settled)
    }

    /// Whether any kind is being listed, or is to be listed again.
    pub(super) fn are_listing(&self) -> bool {
        self.followed
            .values()
            .any(|followed| followed.is_listing || followed.answered_count < *followed.relists.borrow())
    }
}

impl Followed {
    fn relist(&self) {
        self.relists.send_modify(|count| *count += 1);
    }
}
