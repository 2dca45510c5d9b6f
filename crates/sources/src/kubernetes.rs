//! An API server as a source: what it lists and watches becomes the same events as files are, without waiting for quiet. Only what something
//! refers to is kept. While the server cannot be asked, what it said before keeps serving.

mod access;
mod fetch;
mod findings;
mod follow;
mod held;
mod lease;
mod published;
mod references;
mod state;
mod status;
mod wanted;
mod watched;
mod writer;

use crate::event::{Batch, ObjectVersion, Rejection, Scope, SourceEvent, Upsert};
use crate::reload::{Reload, Requests};
use crate::source::Source;
use access::Cluster;
use fetch::{Fetched, fetch};
use findings::Problems;
use follow::{Follower, Observed};
use held::Held;
use references::{References, Wanted};
use resources::api::ApiResource;
use resources::key::{Key, Kind, ObjectRef};
use resources::read;
use resources::set::ResourceSet;
use serde_json::Value;
use state::State;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use watched::Stage;

pub use access::{Access, AccessError};
pub use follow::Pace;
pub use published::Published;
pub use status::{Status, StatusMessage};
pub use wanted::Statuses;
pub use watched::{Extent, Rule, WATCHED, Watched, Written, rules};
pub use writer::{WriteSettings, Writer};

/// Observations that wait; followers pause beyond.
const WAITING: usize = 16;
/// Observations that become one batch at most.
const BATCH: usize = 4096;
/// New references of a kind for which single requests are made; for more of them the kind is listed again.
const SINGLE_REQUESTS: usize = 16;

/// What to read, and where to keep it.
#[derive(Debug, Clone)]
pub struct KubernetesSettings {
    /// The API server.
    pub access: Access,
    /// The namespace of the gateway, from which Secrets and ConfigMaps are taken.
    pub namespace: Arc<str>,
    /// A folder that keeps the configuration for a start without an API server.
    pub state: Option<PathBuf>,
    /// How fast failures are answered.
    pub pace: Pace,
    /// Who writes statuses; `None`: nothing is written.
    pub write: Option<WriteSettings>,
}

/// An API server that is watched.
pub struct KubernetesSource {
    cluster: Cluster,
    namespace: Arc<str>,
    pace: Pace,
    state: Option<State>,
    /// Objects that were kept from before, until they are reported.
    from_state: Vec<Value>,
    out: Sender<(Kind, Observed)>,
    observed: Receiver<(Kind, Observed)>,
    requests: Requests,
    reload: Reload,
    /// Owns the followers.
    followers: JoinSet<()>,
    /// Followed kinds, each with the way to ask for a listing.
    relists: BTreeMap<Kind, Arc<Notify>>,
    /// Kinds that have been listed, or are known not to be installed.
    settled: HashSet<Kind>,
    /// Objects that the source has reported, by kind.
    kept: BTreeMap<Kind, HashSet<Key>>,
    /// What listings under way have reported.
    seen: BTreeMap<Kind, HashSet<Key>>,
    references: References,
    /// Objects that are kept because something refers to them.
    held: Held,
    fetches: JoinSet<Fetched>,
    /// Single requests under way, each with the objects that were reported meanwhile.
    fetching: HashMap<Wanted, HashSet<ObjectRef>>,
    problems: Problems,
    /// Learns what statuses say.
    statuses: Option<Statuses>,
    writer: Option<Writer>,
    begun: bool,
    is_complete: bool,
}

impl KubernetesSource {
    /// Reads the credentials, and what the folder has of before.
    pub async fn new(settings: KubernetesSettings) -> Result<Self, AccessError> {
        let cluster = settings.access.connect().await?;
        let mut problems = Problems::new(&cluster.url, settings.pace.first);
        let (state, from_state) = match settings.state.as_deref().map(State::open) {
            None => (None, Vec::new()),
            Some(Ok((state, objects))) => (Some(state), objects),
            Some(Err(error)) => {
                problems.state(&error);
                (None, Vec::new())
            }
        };
        let (out, observed) = channel(WAITING);
        let (reload, requests) = Reload::new();
        let (namespace, pace) = (settings.namespace, settings.pace);
        let (statuses, writer) = settings.write.map(|write| writer(&cluster, pace, &namespace, write)).unzip();
        let (relists, settled, kept, seen, references) = Default::default();
        let (followers, held, fetches, fetching) = Default::default();
        let (begun, is_complete) = (false, false);
        Ok(Self {
            cluster,
            namespace,
            pace,
            state,
            from_state,
            out,
            observed,
            requests,
            reload,
            followers,
            relists,
            settled,
            kept,
            seen,
            references,
            held,
            fetches,
            fetching,
            problems,
            statuses,
            writer,
            begun,
            is_complete,
        })
    }

    /// Asks for everything to be listed again.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// The task that writes statuses, and what tells it which; `None` where nothing is written. It is given once.
    pub fn writer(&mut self) -> Option<(Writer, Statuses)> {
        self.writer.take().zip(self.statuses.clone())
    }

    /// The URL of the API server.
    pub fn url(&self) -> &str {
        &self.cluster.url
    }

    /// What is known from before, and the followers of the first kinds.
    fn begin(&mut self, events: &mut Vec<SourceEvent>) {
        let objects = std::mem::take(&mut self.from_state);
        let is_known = !objects.is_empty();
        // Twice: what refers to an object may stand behind it.
        for value in &objects {
            if let Some(object) = read::read_value(value.clone()).objects.first() {
                self.references.update(object, &self.namespace);
            }
        }
        for value in objects {
            self.put(value, events, false);
        }
        self.references.changes();
        self.follow(Stage::Configuration);
        if is_known {
            self.complete(events);
        }
    }

    fn follow(&mut self, stage: Stage) {
        for watched in WATCHED.iter().filter(|watched| watched.stage == stage) {
            let Some(resource) = watched.resource() else { continue };
            if self.relists.contains_key(&watched.kind) {
                continue;
            }
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
                was_there: self.kept.get(&watched.kind).is_some_and(|kept| !kept.is_empty()),
            };
            self.followers.spawn(follower.run());
        }
    }

    fn observe(&mut self, kind: Kind, observed: Observed, events: &mut Vec<SourceEvent>) {
        match observed {
            Observed::Begun => {
                self.seen.insert(kind, HashSet::new());
                // The listing has what single requests ask for.
                self.fetching.retain(|wanted, _| kind_of(wanted) != Some(kind));
                events.push(SourceEvent::Restart(Scope::Kind(kind)));
            }
            Observed::Page(objects) => objects.into_iter().for_each(|object| self.put(object, events, true)),
            Observed::Done => {
                let seen = self.seen.remove(&kind).unwrap_or_default();
                self.forget_all_but(kind, &seen);
                self.settled.insert(kind);
                self.problems.solve(kind);
                events.push(SourceEvent::Complete(Scope::Kind(kind)));
            }
            Observed::Put(object) => {
                self.reported_meanwhile(kind, &object);
                self.put(object, events, true);
            }
            Observed::Gone(object) => {
                self.reported_meanwhile(kind, &object);
                if let Some(object) = name(kind, &object) {
                    self.delete(object, events);
                }
            }
            Observed::NotInstalled => {
                self.forget_all_but(kind, &HashSet::new());
                self.settled.insert(kind);
                self.problems.not_installed(kind);
                events.extend([SourceEvent::Restart(Scope::Kind(kind)), SourceEvent::Complete(Scope::Kind(kind))]);
            }
            Observed::Problem(problem) => self.problems.add(kind, problem),
            Observed::Recovered => self.problems.solve(kind),
        }
    }

    /// A kind has been listed: what it does not have any more refers to nothing.
    fn forget_all_but(&mut self, kind: Kind, seen: &HashSet<Key>) {
        let kept = self.kept.remove(&kind).unwrap_or_default();
        let (stay, gone): (HashSet<Key>, HashSet<Key>) = kept.into_iter().partition(|key| seen.contains(key));
        self.kept.insert(kind, stay);
        for key in gone {
            self.forget(&ObjectRef { kind, key });
        }
    }

    fn forget(&mut self, object: &ObjectRef) {
        self.references.remove(object);
        if let Some(kept) = self.kept.get_mut(&object.kind) {
            kept.remove(&object.key);
        }
        self.held.remove(object);
        if let Some(statuses) = self.statuses.as_ref().filter(|_| is_written(object.kind)) {
            statuses.forget(object);
        }
        if let Some(state) = &self.state {
            state.delete(object.clone());
        }
    }

    fn delete(&mut self, object: ObjectRef, events: &mut Vec<SourceEvent>) {
        self.forget(&object);
        events.push(SourceEvent::Delete(object));
    }

    /// An answer to a single request may be older than an event about the same object.
    fn reported_meanwhile(&mut self, kind: Kind, object: &Value) {
        if self.fetching.is_empty() {
            return;
        }
        let Some(object) = name(kind, object) else { return };
        for (wanted, objects) in &mut self.fetching {
            if kind_of(wanted) == Some(kind) {
                objects.insert(object.clone());
            }
        }
    }

    /// An object as it is now, if it is kept at all. `is_new`: it came from the API server.
    fn put(&mut self, mut value: Value, events: &mut Vec<SourceEvent>, is_new: bool) {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let group = text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
        let Some(resource) = ApiResource::named(group, text("/kind")) else { return };
        let Some(object) = name(resource.kind, &value) else { return };
        let Some(reasons) = self.reasons(&object, &value) else {
            if self.kept.get(&object.kind).is_some_and(|kept| kept.contains(&object.key)) {
                self.delete(object, events);
            }
            return;
        };
        let version = version(&value);
        if is_new {
            self.observe_status(&object, version.as_deref(), &value);
        }
        if object.kind != Kind::Pod
            && let Value::Object(fields) = &mut value
        {
            // Nothing is served by it.
            fields.remove("status");
        }
        let to_keep = (is_new && self.state.is_some()).then(|| value.to_string());
        let reading = read::read_value(value);
        let findings: Arc<[_]> = reading.diagnostics.into();
        if let Some(seen) = self.seen.get_mut(&object.kind) {
            seen.insert(object.key.clone());
        }
        self.kept.entry(object.kind).or_default().insert(object.key.clone());
        self.held.set(&object, reasons);
        if let Some(rejected) = reading.rejected.into_iter().next() {
            let rejection = Rejection { object, version, code: rejected.code, guard: rejected.guard, findings };
            events.push(SourceEvent::Reject(Box::new(rejection)));
            return;
        }
        let Some(read) = reading.objects.into_iter().next() else { return };
        self.references.update(&read, &self.namespace);
        if let (Some(state), Some(value)) = (&self.state, to_keep) {
            state.put(object, value.as_bytes());
        }
        events.push(SourceEvent::Upsert(Upsert { object: read, version, findings }));
    }

    fn observe_status(&self, object: &ObjectRef, version: Option<&ObjectVersion>, value: &Value) {
        let Some(statuses) = self.statuses.as_ref().filter(|_| is_written(object.kind)) else { return };
        if object.kind == Kind::Service {
            if object.key.namespace == self.namespace {
                statuses.observe_service(&object.key, value);
            }
        } else if let Some(generation) = version.and_then(|version| version.generation) {
            statuses.observe(object, generation, value.get("status"));
        }
    }

    /// What an object is kept for: nothing where all of its kind are, `None` where it is not kept.
    fn reasons(&self, object: &ObjectRef, value: &Value) -> Option<HashSet<Wanted>> {
        let Key { namespace, name } = &object.key;
        let wanted = match object.kind {
            Kind::EndpointSlice => {
                let service = value.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str);
                let key = Key { namespace: Arc::clone(namespace), name: service.unwrap_or_default().into() };
                vec![Wanted::Slices(key), Wanted::AllSlices]
            }
            Kind::Secret => vec![Wanted::Secret(Arc::clone(name))],
            Kind::Pod if self.references.wants(&Wanted::Pods) => vec![Wanted::Pod(object.key.clone())],
            Kind::Pod => Vec::new(),
            _ => return Some(HashSet::new()),
        };
        let reasons: HashSet<Wanted> = wanted.into_iter().filter(|wanted| self.references.wants(wanted)).collect();
        (!reasons.is_empty()).then_some(reasons)
    }

    /// Asks for what is newly referred to, and lets go of what nothing refers to any more.
    fn follow_references(&mut self, events: &mut Vec<SourceEvent>) {
        let (new, gone) = self.references.changes();
        for wanted in gone {
            if matches!(wanted, Wanted::Pods) {
                self.relist(Kind::Pod);
            }
            self.fetching.remove(&wanted);
            for object in self.held.release(&wanted) {
                self.delete(object, events);
            }
        }
        let mut by_kind: BTreeMap<Kind, Vec<Wanted>> = BTreeMap::new();
        for wanted in new {
            match wanted {
                Wanted::AllSlices => self.relist(Kind::EndpointSlice),
                Wanted::Pods => self.relist(Kind::Pod),
                wanted => {
                    if let Some(kind) = kind_of(&wanted) {
                        by_kind.entry(kind).or_default().push(wanted);
                    }
                }
            }
        }
        for (kind, wanted) in by_kind {
            // A listing that is under way, or to come, has them; it may have passed them by where it has begun.
            let is_idle =
                !self.relists.contains_key(&kind) || kind == Kind::Pod && !self.references.wants(&Wanted::Pods);
            if is_idle {
                continue;
            }
            if wanted.len() > SINGLE_REQUESTS {
                self.relist(kind);
                continue;
            }
            for wanted in wanted {
                self.fetching.insert(wanted.clone(), HashSet::new());
                self.fetches.spawn(fetch(self.cluster.clone(), wanted, Arc::clone(&self.namespace), self.pace));
            }
        }
    }

    fn relist(&self, kind: Kind) {
        if let Some(relist) = self.relists.get(&kind) {
            relist.notify_one();
        }
    }

    fn take_fetched(&mut self, fetched: Fetched, events: &mut Vec<SourceEvent>) {
        let Some(reported) = self.fetching.remove(&fetched.wanted) else { return };
        for value in fetched.objects {
            let is_newer =
                kind_of(&fetched.wanted).and_then(|kind| name(kind, &value)).is_some_and(|one| reported.contains(&one));
            if !is_newer {
                self.put(value, events, true);
            }
        }
    }

    /// Goes on to the next stage once the kinds before are settled; says once when everything has been read.
    fn advance(&mut self, events: &mut Vec<SourceEvent>) {
        let is_settled = |stage: Stage| {
            WATCHED.iter().filter(|watched| watched.stage == stage).all(|watched| self.settled.contains(&watched.kind))
        };
        let [configuration, referred, labels] = [Stage::Configuration, Stage::Referred, Stage::Labels].map(is_settled);
        let with_pods = self.references.wants(&Wanted::Pods);
        if configuration || self.is_complete {
            self.follow(Stage::Referred);
        }
        if with_pods && (configuration && referred || self.is_complete) {
            self.follow(Stage::Labels);
        }
        if configuration && referred && (!with_pods || labels) {
            if let Some(state) = self.state.as_ref().filter(|_| !self.problems.has_kept_state()) {
                state.complete();
                self.problems.keep_state();
            }
            if !self.is_complete {
                self.complete(events);
            }
        }
    }

    /// The configuration can be served.
    fn complete(&mut self, events: &mut Vec<SourceEvent>) {
        self.is_complete = true;
        events.push(SourceEvent::Complete(Scope::All));
        // That also says that nothing is unavailable.
        self.problems.repeat();
    }
}

impl Source for KubernetesSource {
    async fn next(&mut self, _set: Arc<ResourceSet>) -> Option<Batch> {
        loop {
            let mut events = Vec::new();
            if !std::mem::replace(&mut self.begun, true) {
                self.begin(&mut events);
            } else {
                tokio::select! {
                    observed = self.observed.recv() => {
                        let (kind, observed) = observed?;
                        self.observe(kind, observed, &mut events);
                    }
                    Some(Ok(fetched)) = self.fetches.join_next() => self.take_fetched(fetched, &mut events),
                    () = until(self.problems.due()) => {}
                    () = denials(self.statuses.as_ref()) => {
                        self.problems.set_denied(self.statuses.as_ref().map(Statuses::denied).unwrap_or_default());
                    }
                    () = self.requests.next() => {
                        self.relists.values().for_each(|relist| relist.notify_one());
                        events.push(SourceEvent::Reloaded);
                    }
                }
            }
            let begun = Instant::now();
            // What has been observed meanwhile is part of the same change.
            for _ in 0..BATCH {
                let Ok((kind, observed)) = self.observed.try_recv() else { break };
                self.observe(kind, observed, &mut events);
            }
            self.follow_references(&mut events);
            self.advance(&mut events);
            events.extend(self.problems.events(tokio::time::Instant::now()));
            if !events.is_empty() {
                let mut batch = Batch::from(events);
                batch.timing.parse = begun.elapsed();
                return Some(batch);
            }
        }
    }
}

fn writer(cluster: &Cluster, pace: Pace, namespace: &Arc<str>, settings: WriteSettings) -> (Statuses, Writer) {
    let owner = format!("{namespace}/{}", settings.name).into();
    let statuses = Statuses::new(owner, settings.statuses, settings.publish.clone());
    let writer = Writer::new((cluster.clone(), pace), Arc::clone(namespace), &settings, statuses.clone());
    (statuses, writer)
}

/// Whether statuses of a kind are written.
fn is_written(kind: Kind) -> bool {
    kind == Kind::Service || ApiResource::of(kind).is_some_and(ApiResource::is_istio)
}

/// Waits until something else is denied of what is written.
async fn denials(statuses: Option<&Statuses>) {
    match statuses {
        Some(statuses) => statuses.problems().await,
        None => std::future::pending().await,
    }
}

/// Waits for a time, or for good.
async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The kind of what is referred to.
fn kind_of(wanted: &Wanted) -> Option<Kind> {
    match wanted {
        Wanted::Slices(_) | Wanted::AllSlices => Some(Kind::EndpointSlice),
        Wanted::Secret(_) => Some(Kind::Secret),
        Wanted::Pod(_) | Wanted::Pods => Some(Kind::Pod),
    }
}

/// The name of an object of the API server.
fn name(kind: Kind, value: &Value) -> Option<ObjectRef> {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    (!name.is_empty()).then(|| ObjectRef { kind, key: Key { namespace: namespace.into(), name: name.into() } })
}

fn version(value: &Value) -> Option<Box<ObjectVersion>> {
    let metadata = value.get("metadata")?;
    let resource_version = metadata.get("resourceVersion")?.as_str()?.into();
    let generation = metadata.get("generation").and_then(Value::as_i64);
    Some(Box::new(ObjectVersion { resource_version, generation }))
}
