//! The tasks that follow the kinds: which of them run, and which kinds are known.

use super::access::Cluster;
use super::follow::{Follower, Observed, Pace};
use super::watched::Watched;
use resources::key::Kind;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

/// Observations that wait; followers pause beyond.
const WAITING: usize = 16;
/// Pages among them; each follower has one more at most.
const PAGES: usize = 2;

/// The followers, until this is dropped.
pub(super) struct Followers {
    cluster: Cluster,
    namespace: Arc<str>,
    pace: Pace,
    out: Sender<(Kind, Observed)>,
    pages: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// Followed kinds, each with the way to ask for a listing.
    relists: BTreeMap<Kind, Arc<Notify>>,
    /// Kinds that have been listed, or are known not to be installed.
    settled: HashSet<Kind>,
}

impl Followers {
    /// `namespace` is that of the gateway. The receiver has what is observed.
    pub(super) fn new(cluster: Cluster, namespace: Arc<str>, pace: Pace) -> (Self, Receiver<(Kind, Observed)>) {
        let (out, observed) = channel(WAITING);
        let pages = Arc::new(Semaphore::new(PAGES));
        let (tasks, relists, settled) = Default::default();
        (Self { cluster, namespace, pace, out, pages, tasks, relists, settled }, observed)
    }

    /// Follows a kind, unless it is followed. `was_there`: objects of it are known from before.
    pub(super) fn follow(&mut self, watched: &Watched, was_there: bool) {
        let Some(resource) = watched.resource().filter(|_| !self.follows(watched.kind)) else { return };
        let relist = Arc::new(Notify::new());
        self.relists.insert(watched.kind, Arc::clone(&relist));
        let follower = Follower {
            cluster: self.cluster.clone(),
            watched: *watched,
            resource,
            namespace: Arc::clone(&self.namespace),
            pace: self.pace,
            relist,
            out: self.out.clone(),
            pages: Arc::clone(&self.pages),
            was_there,
        };
        self.tasks.spawn(follower.run());
    }

    pub(super) fn follows(&self, kind: Kind) -> bool {
        self.relists.contains_key(&kind)
    }

    /// Has a kind listed again, if it is followed.
    pub(super) fn relist(&self, kind: Kind) {
        if let Some(relist) = self.relists.get(&kind) {
            relist.notify_one();
        }
    }

    pub(super) fn relist_all(&self) {
        self.relists.values().for_each(|relist| relist.notify_one());
    }

    /// The kind has been listed, or is known not to be there.
    pub(super) fn settle(&mut self, kind: Kind) {
        self.settled.insert(kind);
    }

    pub(super) fn is_settled(&self, kind: Kind) -> bool {
        self.settled.contains(&kind)
    }
}
