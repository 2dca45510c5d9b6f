//! Single requests for what something has begun to refer to: one for each reference, repeated until it is answered. What is asked is decided by
//! the source; whether an answer still counts is decided here.

use super::access::Cluster;
use super::follow::Pace;
use super::object::name;
use super::page::{Problem, select};
use super::references::Reference;
use kube::core::params::ListParams;
use resources::api::ApiResource;
use resources::key::{Kind, ObjectRef};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// The single requests that are under way, until this is dropped.
pub(super) struct Fetches {
    cluster: Cluster,
    /// The namespace of the gateway.
    namespace: Arc<str>,
    pace: Pace,
    tasks: JoinSet<Answer>,
    under_way: HashMap<Reference, Request>,
    /// References whose requests were ended for a listing that is under way.
    superseded: HashSet<Reference>,
    /// The number of the last request.
    last: u64,
}

/// A request that is under way.
struct Request {
    /// Distinguishes its answer from that of an earlier request for the same reference.
    number: u64,
    task: AbortHandle,
    /// How often it was tried in vain.
    failures: u32,
    /// The objects that were reported meanwhile: the answer may be older.
    reported: HashSet<ObjectRef>,
}

/// What a task came to.
struct Answer {
    number: u64,
    reference: Reference,
    objects: Result<Vec<Value>, Problem>,
}

/// What the answer to a request is, without objects of which something newer was reported.
pub(super) struct Fetched {
    pub(super) reference: Reference,
    /// An error concerns one try, not the first one; the next one follows.
    pub(super) objects: Result<Vec<Value>, Problem>,
}

impl Fetches {
    /// `namespace` is that of the gateway.
    pub(super) fn new(cluster: Cluster, namespace: Arc<str>, pace: Pace) -> Self {
        let (tasks, under_way, superseded, last) = Default::default();
        Self { cluster, namespace, pace, tasks, under_way, superseded, last }
    }

    /// Asks for what the reference is to.
    pub(super) fn begin(&mut self, reference: &Reference) {
        self.end(reference);
        self.last += 1;
        let number = self.last;
        let task = self.spawn(number, reference, Duration::ZERO);
        let request = Request { number, task, failures: 0, reported: HashSet::new() };
        self.under_way.insert(reference.clone(), request);
    }

    /// Nothing refers to it any more.
    pub(super) fn end(&mut self, reference: &Reference) {
        self.superseded.remove(reference);
        if let Some(request) = self.under_way.remove(reference) {
            request.task.abort();
        }
    }

    /// A listing of the kind begins, which has what is asked for: ends its requests, whose answers may be older; the references.
    pub(super) fn supersede(&mut self, kind: Kind) -> Vec<Reference> {
        let ended: Vec<_> = self.under_way.extract_if(|reference, _| reference.kind() == kind).collect();
        ended.iter().for_each(|(_, request)| request.task.abort());
        let references: Vec<Reference> = ended.into_iter().map(|(reference, _)| reference).collect();
        self.superseded.extend(references.iter().cloned());
        references
    }

    /// The listing reached its end.
    pub(super) fn listed(&mut self, kind: Kind) {
        self.superseded.retain(|reference| reference.kind() != kind);
    }

    /// The listing failed: asks again for what it should have had.
    pub(super) fn resume(&mut self, kind: Kind) {
        let missing: Vec<Reference> = self.superseded.extract_if(|reference| reference.kind() == kind).collect();
        missing.iter().for_each(|reference| self.begin(reference));
    }

    /// An object was reported: the answers to requests that are under way may have an older version of it.
    pub(super) fn reported(&mut self, kind: Kind, object: &Value) {
        let mut requests = self.under_way.iter_mut().filter(|(reference, _)| reference.kind() == kind).peekable();
        if requests.peek().is_none() {
            return;
        }
        let Some(object) = name(kind, object) else { return };
        for (_, request) in requests {
            request.reported.insert(object.clone());
        }
    }

    /// Whether there is a request that has neither been answered nor has its failure been returned.
    pub(super) fn are_open(&self) -> bool {
        self.under_way.values().any(|request| request.failures < 2)
    }

    /// Waits for the answer to a request that still counts; for good where there is none. Can be cancelled without loss.
    pub(super) async fn next(&mut self) -> Fetched {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(answer)) => {
                    if let Some(fetched) = self.take(answer) {
                        return fetched;
                    }
                }
                // It was aborted.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Option<Fetched> {
        let Answer { number, reference, objects } = answer;
        let request = self.under_way.get_mut(&reference).filter(|request| request.number == number)?;
        let objects = match objects {
            Ok(mut objects) => {
                let is_newest = |object: &Value| {
                    name(reference.kind(), object).is_some_and(|name| !request.reported.contains(&name))
                };
                objects.retain(is_newest);
                self.under_way.remove(&reference);
                Ok(objects)
            }
            Err(problem) => {
                let is_first = request.failures == 0;
                let wait = self.pace.after(request.failures);
                request.failures = request.failures.saturating_add(1);
                let task = self.spawn(number, &reference, wait);
                if let Some(request) = self.under_way.get_mut(&reference) {
                    request.task = task;
                }
                // The first failure may be that of a connection that was idle.
                Err(Some(problem).filter(|_| !is_first)?)
            }
        };
        Some(Fetched { reference, objects })
    }

    fn spawn(&mut self, number: u64, reference: &Reference, wait: Duration) -> AbortHandle {
        let (cluster, namespace, reference) = (self.cluster.clone(), Arc::clone(&self.namespace), reference.clone());
        self.tasks.spawn(async move {
            sleep(wait).await;
            let objects = fetch(&cluster, &reference, &namespace).await;
            Answer { number, reference, objects }
        })
    }
}

/// Asks by listing with a selector, so that no further right is needed than to list.
async fn fetch(cluster: &Cluster, reference: &Reference, namespace: &str) -> Result<Vec<Value>, Problem> {
    let by_name = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
    let (namespace, params) = match reference {
        Reference::Slices(key) => {
            (&*key.namespace, ListParams::default().labels(&format!("kubernetes.io/service-name={}", key.name)))
        }
        Reference::Secret(name) | Reference::ConfigMap(name) => (namespace, by_name(name)),
        Reference::Pod(key) => (&*key.namespace, by_name(&key.name)),
        // They are listed as a whole.
        Reference::AllSlices | Reference::Pods | Reference::Nodes => return Ok(Vec::new()),
    };
    let Some(resource) = ApiResource::of(reference.kind()) else { return Ok(Vec::new()) };
    select(cluster, resource, namespace, &params).await
}

#[cfg(test)]
mod tests;
