//! Which of several processes leads, by a Lease (`coordination.k8s.io/v1`) that its holder renews, as client-go does it. Clocks of other
//! machines are not trusted: a Lease is free once it has not changed for its duration, measured by the clock of this process. A holder that
//! could not renew stops leading before others may begin. Every write is guarded by the version that was read.

use super::access::Cluster;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Who writes, as the API server notes it beside each field.
pub(super) const FIELD_MANAGER: &str = "moongate";

/// How long a Lease lasts without being renewed.
const LASTS: Duration = Duration::from_secs(15);
/// How long a holder leads without having renewed.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a holder renews, and others look.
const PERIOD: Duration = Duration::from_secs(2);
/// The longest time for a request.
const REQUEST: Duration = Duration::from_secs(5);

/// The Lease that a process wants to hold.
pub(super) struct Lease {
    cluster: Cluster,
    path: String,
    name: Arc<str>,
    namespace: Arc<str>,
    identity: Arc<str>,
    /// The record that was read last.
    record: Option<Record>,
    /// Until when this process leads.
    leads: watch::Sender<Option<Instant>>,
}

/// A Lease as it was read.
#[derive(Debug, Clone)]
struct Record {
    version: String,
    /// Since when it has been seen in this version.
    since: Instant,
}

/// What to do with a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is free.
    Acquire,
    /// This process holds it.
    Renew,
    /// Another process holds it.
    Wait,
}

/// Why a Lease is not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseError {
    /// The API server denies it.
    Forbidden(String),
    /// The API server answers with another error.
    Refused(String),
    /// The API server cannot be asked, or another process was faster.
    Failed,
}

/// What is to be reported about a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseProblem {
    /// The API server denies it.
    Denied(String),
    /// It answers with another error, time after time.
    Failing(String),
}

/// Since when the API server refuses a Lease.
#[derive(Debug, Default)]
struct Refusals(Option<Instant>);

impl Refusals {
    /// What there is to report from now on; `None`: the same as before.
    fn report(&mut self, outcome: &Result<bool, LeaseError>, now: Instant) -> Option<Option<LeaseProblem>> {
        match outcome {
            Ok(_) => {
                self.0 = None;
                Some(None)
            }
            Err(LeaseError::Forbidden(message)) => Some(Some(LeaseProblem::Denied(message.clone()))),
            Err(LeaseError::Refused(message)) => {
                let since = *self.0.get_or_insert(now);
                // A server that starts, or an object that another process deletes, may give such an answer for a while.
                (now - since >= LASTS).then(|| Some(LeaseProblem::Failing(message.clone())))
            }
            // That it cannot be asked is reported by whoever reads.
            Err(LeaseError::Failed) => None,
        }
    }
}

fn step(identity: &str, spec: &Value, unchanged: Duration) -> Step {
    let holder = spec.get("holderIdentity").and_then(Value::as_str).unwrap_or_default();
    let lasts = spec.get("leaseDurationSeconds").and_then(Value::as_u64).map_or(LASTS, Duration::from_secs);
    match holder {
        holder if holder == identity => Step::Renew,
        "" => Step::Acquire,
        _ if unchanged >= lasts => Step::Acquire,
        _ => Step::Wait,
    }
}

/// What the holder writes.
fn spec(identity: &str, before: &Value, step: Step, now: &str) -> Value {
    let transitions = before.get("leaseTransitions").and_then(Value::as_u64).unwrap_or_default();
    let acquired = before.get("acquireTime").filter(|_| step == Step::Renew).cloned();
    json!({
        "holderIdentity": identity,
        "leaseDurationSeconds": LASTS.as_secs(),
        "acquireTime": acquired.unwrap_or_else(|| now.into()),
        "renewTime": now,
        "leaseTransitions": if step == Step::Renew { transitions } else { transitions + 1 },
    })
}

impl Lease {
    /// The Lease `name`; the receiver has the time until which this process leads.
    pub(super) fn new(
        cluster: Cluster,
        namespace: Arc<str>,
        name: Arc<str>,
        identity: Arc<str>,
    ) -> (Self, watch::Receiver<Option<Instant>>) {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let (leads, leading) = watch::channel(None);
        (Self { cluster, path, name, namespace, identity, record: None, leads }, leading)
    }

    /// Takes the Lease where it is free, and renews it, for good. `report` receives what stands in the way, or that nothing does.
    pub(super) async fn hold(&mut self, mut report: impl FnMut(Option<LeaseProblem>)) {
        let mut refusals = Refusals::default();
        loop {
            let begun = Instant::now();
            let outcome = timeout(REQUEST, self.attempt()).await.unwrap_or(Err(LeaseError::Failed));
            if let Some(problem) = refusals.report(&outcome, Instant::now()) {
                report(problem);
            }
            match outcome {
                Ok(true) => self.lead(Some(begun + DEADLINE)),
                // Another process holds it.
                Ok(false) => self.lead(None),
                Err(_) if self.leads.borrow().is_some_and(|until| until <= Instant::now()) => self.lead(None),
                Err(_) => {}
            }
            sleep(PERIOD).await;
        }
    }

    fn lead(&self, until: Option<Instant>) {
        let before = self.leads.send_replace(until);
        match (before, until) {
            (None, Some(_)) => tracing::info!(
                lease = &*self.name,
                identity = &*self.identity,
                "this process leads: it writes statuses"
            ),
            (Some(_), None) => tracing::info!(lease = &*self.name, "this process does not lead any more"),
            _ => {}
        }
    }

    /// Gives the Lease up, so that another process need not wait for its end.
    pub(super) async fn release(&mut self) {
        if self.leads.send_replace(None).is_none() {
            return;
        }
        // One that cannot be given up ends by itself.
        let _ = timeout(REQUEST, self.give_up()).await;
    }

    async fn give_up(&self) -> Result<(), LeaseError> {
        let Some((before, version)) = self.read().await? else { return Ok(()) };
        if step(&self.identity, &before, Duration::ZERO) != Step::Renew {
            return Ok(());
        }
        let mut spec = spec(&self.identity, &before, Step::Renew, &now());
        if let Value::Object(fields) = &mut spec {
            fields.insert("holderIdentity".to_owned(), "".into());
            fields.insert("leaseDurationSeconds".to_owned(), 1.into());
        }
        self.replace(&version, spec).await.map(|_| ())
    }

    /// Whether this process holds the Lease now.
    async fn attempt(&mut self) -> Result<bool, LeaseError> {
        let Some((before, version)) = self.read().await? else {
            let written = self.create(spec(&self.identity, &Value::Null, Step::Acquire, &now())).await?;
            self.note(written);
            return Ok(true);
        };
        let since = match &self.record {
            Some(record) if record.version == version => record.since,
            _ => Instant::now(),
        };
        let step = step(&self.identity, &before, since.elapsed());
        self.record = Some(Record { version: version.clone(), since });
        if step == Step::Wait {
            return Ok(false);
        }
        let written = self.replace(&version, spec(&self.identity, &before, step, &now())).await?;
        self.note(written);
        Ok(true)
    }

    fn note(&mut self, lease: Value) {
        self.record = record(lease).map(|(_, version)| Record { version, since: Instant::now() });
    }

    async fn read(&self) -> Result<Option<(Value, String)>, LeaseError> {
        let request = Request::new(&*self.path).get(&self.name, &GetParams::default());
        match self.cluster.send(request).await {
            Ok(lease) => Ok(record(lease)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(of_error(&error)),
        }
    }

    async fn create(&self, spec: Value) -> Result<Value, LeaseError> {
        let body = self.body(json!({}), spec);
        self.cluster.send(Request::new(&*self.path).create(&params(), body)).await.map_err(|error| of_error(&error))
    }

    async fn replace(&self, version: &str, spec: Value) -> Result<Value, LeaseError> {
        let body = self.body(json!({"resourceVersion": version}), spec);
        self.cluster
            .send(Request::new(&*self.path).replace(&self.name, &params(), body))
            .await
            .map_err(|error| of_error(&error))
    }

    fn body(&self, mut metadata: Value, spec: Value) -> Vec<u8> {
        if let Value::Object(fields) = &mut metadata {
            fields.insert("name".to_owned(), (&*self.name).into());
            fields.insert("namespace".to_owned(), (&*self.namespace).into());
        }
        let lease =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
        lease.to_string().into_bytes()
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn record(mut lease: Value) -> Option<(Value, String)> {
    let version = lease.pointer("/metadata/resourceVersion")?.as_str()?.to_owned();
    Some((lease.get_mut("spec").map(Value::take).unwrap_or_default(), version))
}

fn of_error(error: &kube::Error) -> LeaseError {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => LeaseError::Forbidden(status.message.clone()),
            409 => LeaseError::Failed,
            _ => LeaseError::Refused(status.message.clone()),
        },
        error => {
            tracing::debug!(error = super::access::with_causes(error), "the Lease cannot be held");
            LeaseError::Failed
        }
    }
}

/// The time as Leases have it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_once_it_is_free_and_kept_by_its_holder() {
        let held = |holder: &str| json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3, "acquireTime": "then"});
        let seconds = Duration::from_secs;
        let cases = [
            (held("other"), 0, Step::Wait),
            (held("other"), 14, Step::Wait),
            (held("other"), 15, Step::Acquire),
            (held(""), 0, Step::Acquire),
            (held("me"), 100, Step::Renew),
            (Value::Null, 0, Step::Acquire),
            (json!({"holderIdentity": "other"}), 14, Step::Wait),
            (json!({"holderIdentity": "other", "leaseDurationSeconds": 60}), 30, Step::Wait),
        ];
        for (spec, unchanged, expected) in cases {
            assert_eq!(step("me", &spec, seconds(unchanged)), expected, "{spec} {unchanged}");
        }
        let renewed = spec("me", &held("me"), Step::Renew, "now");
        assert_eq!((&renewed["acquireTime"], &renewed["leaseTransitions"]), (&json!("then"), &json!(3)));
        let acquired = spec("me", &held("other"), Step::Acquire, "now");
        assert_eq!((&acquired["acquireTime"], &acquired["leaseTransitions"]), (&json!("now"), &json!(4)));
    }

    #[test]
    fn answers_with_errors_are_reported_once_they_last() {
        let begun = Instant::now();
        let mut refusals = Refusals::default();
        let mut report = |outcome: Result<bool, LeaseError>, second: u64| {
            refusals.report(&outcome, begun + Duration::from_secs(second))
        };
        let refused = || Err(LeaseError::Refused("namespaces \"a\" not found".to_owned()));
        let failing = Some(Some(LeaseProblem::Failing("namespaces \"a\" not found".to_owned())));
        assert_eq!((report(refused(), 0), report(refused(), 14)), (None, None));
        assert_eq!((report(Err(LeaseError::Failed), 15), report(refused(), 15)), (None, failing));
        assert_eq!((report(Ok(false), 16), report(refused(), 17)), (Some(None), None), "it was held in between");
        let denied = Some(Some(LeaseProblem::Denied("no".to_owned())));
        assert_eq!(report(Err(LeaseError::Forbidden("no".to_owned())), 18), denied, "at once");
    }

    #[test]
    fn a_holder_stops_before_others_begin() {
        assert!(PERIOD + REQUEST < DEADLINE && DEADLINE < LASTS);
    }
}
