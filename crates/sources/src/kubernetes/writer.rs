//! Writes what differs, while this process leads: one patch for an object, a bounded number in a second. A failure concerns the status
//! alone: it is tried again, and nothing else waits for it.

use super::access::{Cluster, with_causes};
use super::follow::Pace;
use super::lease::{FIELD_MANAGER, Lease};
use super::page::path;
use super::published;
use super::status::{self, Stamp, merge};
use super::statuses::{Right, Statuses, Task, Write};
use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use resources::api::ApiResource;
use resources::key::{Key, Kind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The shortest time between two writes.
const INTERVAL: Duration = Duration::from_millis(20);
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

/// Why something was not written.
enum Failure {
    /// Another process has written it meanwhile.
    Conflict,
    /// There is no such object.
    Gone,
    Denied(String),
    /// The server does not take what was written.
    Refused(String),
    Unavailable(String),
}

/// The right that a task needs.
fn right(task: &Task) -> Right {
    match task {
        Task::Status(write) => Right::Status(write.object.kind),
        Task::Service(_) => Right::Addresses,
    }
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
            () = lease.hold(|denied| of_lease.deny(Right::Lease, denied)) => {}
            () = Pen { cluster, statuses: statuses.clone(), leading, pace, failed: Vec::new(), denied: BTreeMap::new() }.write_all() => {}
            () = statuses.stopped() => {}
        }
        lease.release().await;
    }
}

/// What writes while this process leads.
struct Pen {
    cluster: Cluster,
    statuses: Statuses,
    leading: Receiver<Option<Instant>>,
    pace: Pace,
    /// What could not be written, and waits until everything else is.
    failed: Vec<Task>,
    /// Rights that the API server denies, until when nothing that needs them is tried.
    denied: BTreeMap<Right, Instant>,
}

impl Pen {
    async fn write_all(mut self) {
        let mut wait = self.pace.first;
        let mut was_leading = false;
        loop {
            if !self.leads() {
                if std::mem::take(&mut was_leading) {
                    self.statuses.rest();
                }
                // The sender lives as long as this.
                let _ = self.leading.changed().await;
                continue;
            }
            if !std::mem::replace(&mut was_leading, true) {
                self.denied.clear();
                self.failed.clear();
                self.statuses.look_at_all();
            }
            let Some(task) = self.statuses.take() else {
                self.rest(wait).await;
                continue;
            };
            let right = right(&task);
            if self.denied.get(&right).is_some_and(|until| *until > Instant::now()) {
                self.failed.push(task);
                continue;
            }
            let next = Instant::now() + INTERVAL;
            match self.write(&task).await {
                Ok(()) => {
                    wait = self.pace.first;
                    self.denied.remove(&right);
                }
                Err(Failure::Gone) => {}
                Err(Failure::Conflict) => self.failed.push(task),
                Err(Failure::Denied(message)) => {
                    self.statuses.deny(right, Some(&message));
                    self.denied.insert(right, Instant::now() + self.pace.install);
                    self.failed.push(task);
                }
                Err(Failure::Refused(error)) => tracing::warn!(error, "the API server refuses a status"),
                Err(Failure::Unavailable(error)) => {
                    tracing::debug!(error, "a status cannot be written; it is tried again");
                    self.failed.push(task);
                    sleep(wait).await;
                    wait = wait.saturating_mul(2).min(self.pace.longest);
                }
            }
            sleep_until(next).await;
        }
    }

    /// Waits for something to write, for the end of leading, and for the time to try again what failed.
    async fn rest(&mut self, wait: Duration) {
        let again = self.failed.iter().map(|task| self.denied.get(&right(task)).copied()).min();
        let again = again.map(|until| until.unwrap_or_else(|| Instant::now() + wait));
        let statuses = self.statuses.clone();
        tokio::select! {
            () = statuses.work() => sleep(SETTLE).await,
            () = self.ends() => {}
            () = until(again) => self.failed.drain(..).for_each(|task| statuses.put_back(task)),
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

    async fn write(&self, task: &Task) -> Result<(), Failure> {
        match task {
            Task::Status(write) => {
                for _ in 0..CONFLICTS {
                    match self.write_status(write).await {
                        Err(Failure::Conflict) => {}
                        outcome => return outcome,
                    }
                }
                Err(Failure::Conflict)
            }
            Task::Service(key) => self.publish(key).await,
        }
    }

    /// Reads the status, and replaces what is this gateway's in it, unless it has changed since.
    async fn write_status(&self, write: &Write) -> Result<(), Failure> {
        let Some(resource) = ApiResource::of(write.object.kind) else { return Err(Failure::Gone) };
        let Key { namespace, name } = &write.object.key;
        let mut outcome = Err(Failure::Gone);
        for version in resource.versions {
            let request = Request::new(path(resource, version, Some(namespace)));
            outcome = self.write_status_at(write, &request, name).await;
            if !matches!(outcome, Err(Failure::Gone)) {
                break;
            }
        }
        outcome
    }

    async fn write_status_at(&self, write: &Write, request: &Request, name: &str) -> Result<(), Failure> {
        let object = self.send(request.get_subresource("status", name)).await?;
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
        if number("/metadata/generation") != Some(write.generation) {
            // The source will see the new one.
            return Ok(());
        }
        let (status, owner) = (object.get("status"), self.statuses.owner());
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let is_foreign = status::seen(status, owner).is_foreign;
        let stamp = Stamp { owner, generation: write.generation, now: &now };
        let patch = merge(status, write.wanted.as_deref(), stamp).filter(|_| !is_foreign);
        let written = match patch {
            // The watch is behind.
            None => object,
            Some(patch) => {
                let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                let patch = json!({"metadata": {"resourceVersion": version}, "status": patch});
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                self.send(request.patch_subresource("status", name, &params, &Patch::Merge(patch))).await?
            }
        };
        self.statuses.deny(Right::Status(write.object.kind), None);
        self.statuses.observe(&write.object, write.generation, written.get("status"));
        Ok(())
    }

    async fn publish(&self, key: &Key) -> Result<(), Failure> {
        let Some(resource) = ApiResource::of(Kind::Service) else { return Err(Failure::Gone) };
        let request = Request::new(path(resource, "v1", Some(&key.namespace)));
        let patch = Patch::Apply(published::patch(key, self.statuses.published()));
        let params = PatchParams::apply(FIELD_MANAGER);
        match self.send(request.patch_subresource("status", &key.name, &params, &patch)).await {
            Ok(service) => {
                self.statuses.deny(Right::Addresses, None);
                self.statuses.observe_service(key, &service);
                Ok(())
            }
            Err(Failure::Conflict) => {
                tracing::info!(service = %key, "another controller has set the address of the Service; it stays");
                self.statuses.refuse(key);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn send(
        &self,
        request: Result<super::access::Request, kube::core::request::Error>,
    ) -> Result<Value, Failure> {
        match timeout(REQUEST, self.cluster.send(request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(match status.code {
                401 | 403 => Failure::Denied(status.message.clone()),
                404 => Failure::Gone,
                409 => Failure::Conflict,
                400 | 405 | 415 | 422 => Failure::Refused(status.message.clone()),
                code => Failure::Unavailable(format!("{code} {}", status.message)),
            }),
            Ok(Err(error)) => Err(Failure::Unavailable(with_causes(&error))),
            Err(_) => Err(Failure::Unavailable("the API server does not answer".to_owned())),
        }
    }
}
