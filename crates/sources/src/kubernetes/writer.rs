//! Writes what differs, while this process leads: one patch for an object, a bounded number in a second. A failure concerns the status
//! alone: it is tried again, and nothing else waits for it.

use super::access::{Cluster, with_causes};
use super::follow::Pace;
use super::lease::{FIELD_MANAGER, Lease};
use super::page::path;
use super::published;
use super::queue::{INTERVAL, Outcome, Queue};
use super::status::{self, Stamp, merge};
use super::statuses::{Statuses, Task, Write};
use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use resources::api::ApiResource;
use resources::key::{Key, Kind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long changes gather before the first of them is written.
const SETTLE: Duration = Duration::from_millis(100);
/// Conflicts in a row after which an object waits for its turn again.
const CONFLICTS: usize = 3;
/// The longest time for a request.
const REQUEST: Duration = Duration::from_secs(5);

/// Who writes statuses, and what for.
#[derive(Debug, Clone)]
pub struct WriteSettings {
    /// The gateway's name, which its Lease has, too.
    pub name: Arc<str>,
    /// The name of this process among those of the gateway.
    pub identity: Arc<str>,
    /// Whether statuses of Istio's objects are written.
    pub statuses: bool,
    /// Addresses for the Services of the gateway.
    pub publish: Vec<published::Published>,
}

/// The task that writes.
pub struct Writer {
    cluster: Cluster,
    statuses: Statuses,
    lease: Lease,
    leading: Receiver<Option<Instant>>,
    pace: Pace,
}

/// Waits for a time, or for good.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Writer {
    pub(super) fn new(
        cluster: Cluster,
        pace: Pace,
        namespace: Arc<str>,
        settings: &WriteSettings,
        statuses: Statuses,
    ) -> Self {
        let (name, identity) = (Arc::clone(&settings.name), Arc::clone(&settings.identity));
        let (lease, leading) = Lease::new(cluster.clone(), namespace, name, identity);
        Self { cluster, statuses, lease, leading, pace }
    }

    /// Takes part in the election and writes while this process leads, until [`Statuses::stop`].
    pub async fn run(self) {
        let Self { cluster, statuses, mut lease, leading, pace } = self;
        let of_lease = statuses.clone();
        tokio::select! {
            () = lease.hold(|problem| of_lease.set_lease(problem)) => {}
            () = Pen { cluster, queue: Queue::new(statuses.clone(), pace), leading }.write_all() => {}
            () = statuses.stopped() => {}
        }
        lease.release().await;
    }
}

/// What writes while this process leads.
struct Pen {
    cluster: Cluster,
    queue: Queue,
    leading: Receiver<Option<Instant>>,
}

impl Pen {
    async fn write_all(mut self) {
        let mut was_leading = false;
        loop {
            if !self.leads() {
                if std::mem::take(&mut was_leading) {
                    self.queue.statuses.rest();
                }
                // The sender lives as long as this.
                let _ = self.leading.changed().await;
                continue;
            }
            if !std::mem::replace(&mut was_leading, true) {
                self.queue.begin();
            }
            let begun = Instant::now();
            let Some(task) = self.queue.next(begun) else {
                self.rest().await;
                continue;
            };
            let outcome = self.write(&task).await;
            let now = Instant::now();
            let pause = self.queue.settle(&task.object(), outcome, now);
            sleep_until(if pause > INTERVAL { now } else { begun } + pause).await;
        }
    }

    /// Waits for something to write, for the end of leading, and for the time to try again what failed.
    async fn rest(&mut self) {
        let (statuses, due) = (self.queue.statuses.clone(), self.queue.due());
        tokio::select! {
            () = statuses.work() => sleep(SETTLE).await,
            () = self.ends() => {}
            () = until(due) => {}
        }
    }

    fn leads(&self) -> bool {
        self.leading.borrow().is_some_and(|until| until > Instant::now())
    }

    /// Waits until this process may not lead any more.
    async fn ends(&mut self) {
        while self.leads() {
            let _ = self.leading.changed().await;
        }
    }

    async fn write(&self, task: &Task) -> Outcome {
        match task {
            Task::Status(write) => {
                for _ in 0..CONFLICTS {
                    match self.write_status(write).await {
                        Outcome::Conflict => {}
                        outcome => return outcome,
                    }
                }
                Outcome::Conflict
            }
            Task::Service(key) => self.publish(key).await,
        }
    }

    /// Reads the status, and replaces what is this gateway's in it, unless it has changed since.
    async fn write_status(&self, write: &Write) -> Outcome {
        let Some(resource) = ApiResource::of(write.object.kind) else { return Outcome::Gone };
        let (namespace, name) = (&write.object.key.namespace, &write.object.key.name);
        let mut outcome = Outcome::Gone;
        for version in resource.versions {
            let request = Request::new(path(resource, version, Some(namespace)));
            outcome = self.write_status_at(write, &request, name).await.unwrap_or_else(|failure| failure);
            if outcome != Outcome::Gone {
                break;
            }
        }
        outcome
    }

    async fn write_status_at(&self, write: &Write, request: &Request, name: &str) -> Result<Outcome, Outcome> {
        let statuses = &self.queue.statuses;
        let object = self.send(request.get_subresource("status", name)).await?;
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
        if number("/metadata/generation") != Some(write.generation) {
            // The source will see the new one.
            return Ok(Outcome::Current);
        }
        let (status, owner) = (object.get("status"), statuses.owner());
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let is_foreign = status::seen(status, owner).is_foreign;
        let stamp = Stamp { owner, generation: write.generation, now: &now };
        let patch = merge(status, write.wanted.as_deref(), stamp).filter(|_| !is_foreign);
        let (written, outcome) = match patch {
            // The watch is behind.
            None => (object, Outcome::Current),
            Some(patch) => {
                let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                let patch = json!({"metadata": {"resourceVersion": version}, "status": patch});
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                let written =
                    self.send(request.patch_subresource("status", name, &params, &Patch::Merge(patch))).await?;
                (written, if statuses.wrote(write) { Outcome::Repaired } else { Outcome::Done })
            }
        };
        statuses.observe(&write.object, write.generation, statuses.seen(&written));
        Ok(outcome)
    }

    async fn publish(&self, key: &Key) -> Outcome {
        let statuses = &self.queue.statuses;
        let Some(resource) = ApiResource::of(Kind::Service) else { return Outcome::Gone };
        let request = Request::new(path(resource, "v1", Some(&key.namespace)));
        let patch = Patch::Apply(published::patch(key, statuses.published()));
        let params = PatchParams::apply(FIELD_MANAGER);
        match self.send(request.patch_subresource("status", &key.name, &params, &patch)).await {
            Ok(service) => {
                statuses.observe_service(key, &service);
                Outcome::Done
            }
            Err(Outcome::Conflict) => {
                tracing::info!(service = %key, "another controller has set the address of the Service; it stays");
                statuses.refuse(key);
                Outcome::Done
            }
            Err(failure) => failure,
        }
    }

    async fn send(
        &self,
        request: Result<super::access::Request, kube::core::request::Error>,
    ) -> Result<Value, Outcome> {
        match timeout(REQUEST, self.cluster.send(request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(match status.code {
                401 | 403 => Outcome::Denied(status.message.clone()),
                404 => Outcome::Gone,
                409 => Outcome::Conflict,
                400 | 405 | 415 | 422 => Outcome::Refused(status.message.clone()),
                code => Outcome::Unavailable(format!("{code} {}", status.message)),
            }),
            Ok(Err(error)) => Err(Outcome::Unavailable(with_causes(&error))),
            Err(_) => Err(Outcome::Unavailable("the API server does not answer".to_owned())),
        }
    }
}
