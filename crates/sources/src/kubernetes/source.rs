//! The source: what followers observe, single requests answer and files hold becomes batches of events, in the order in which it came.

use super::access::{Access, AccessError, Cluster};
use super::fetch::{Fetched, Fetches};
use super::findings::Problems;
use super::follow::{Observed, Pace, Report};
use super::followers::Followers;
use super::keeper::Keeper;
use super::local_files::LocalFiles;
use super::object::name;
use super::page::Problem;
use super::references::{Reference, References};
use super::state::{State, Text};
use super::statuses::Statuses;
use super::unused::Unused;
use super::watched::{Stage, WATCHED, Watched};
use super::writer::{WriteSettings, Writer};
use crate::event::{Batch, Scope, SourceEvent};
use crate::reload::{Reload, Requests};
use crate::source::Source;
use resources::key::Kind;
use resources::set::ResourceSet;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::Instant;

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
    /// The file of the mesh settings, in place of the ConfigMap.
    pub mesh: Option<PathBuf>,
    /// The folder of the certificates that objects of the gateway's namespace may name by path; `None`: no object may name a file.
    pub certificates: Option<PathBuf>,
    /// Whether the gateway knows where it is, or may learn it from its Node: without that Nodes are not read.
    pub with_nodes: bool,
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
    pace: Pace,
    /// Objects that were kept from before, until they are reported.
    from_state: Vec<Text>,
    observed: Receiver<Report>,
    followers: Followers,
    keeper: Keeper,
    fetches: Fetches,
    problems: Problems,
    requests: Requests,
    reload: Reload,
    writer: Option<Writer>,
    begun: bool,
    is_complete: bool,
    /// Whether a whole configuration is known, from before or from the server.
    is_known: bool,
    /// Until when single requests and further listings hold up the first configuration, once every kind has been listed and the mesh settings
    /// have been read.
    held_up_until: Option<Instant>,
    unused: Unused,
    /// Why the folder does not have everything, as it changes.
    state_trouble: Option<watch::Receiver<Option<String>>>,
}

impl KubernetesSource {
    /// Reads the credentials, and what the folder has of before.
    pub async fn new(settings: KubernetesSettings) -> Result<Self, AccessError> {
        let KubernetesSettings { access, namespace, mesh, certificates, with_nodes, state, pace, write } = settings;
        let cluster = access.connect().await?;
        let mut problems = Problems::new(&cluster.url, pace.first);
        let (state, from_state) = match state.as_deref().map(|folder| State::open(folder, pace)) {
            None => (None, Vec::new()),
            Some(Ok((state, objects))) => (Some(state), objects),
            Some(Err(error)) => {
                problems.state(&error);
                (None, Vec::new())
            }
        };
        let state_trouble = state.as_ref().map(State::trouble);
        let (reload, requests) = Reload::new();
        let (statuses, writer) = write.map(|write| writer(&cluster, pace, &namespace, write)).unzip();
        let (followers, observed) = Followers::new(cluster.clone(), Arc::clone(&namespace), pace);
        let files = LocalFiles::new(mesh, certificates, Arc::clone(&namespace));
        let fetches = Fetches::new(cluster.clone(), Arc::clone(&namespace), pace);
        let keeper = Keeper::new(namespace, References::new(with_nodes), state, statuses, files);
        let (begun, is_complete, is_known) = (false, false, false);
        Ok(Self {
            cluster,
            pace,
            from_state,
            observed,
            followers,
            keeper,
            fetches,
            problems,
            requests,
            reload,
            writer,
            begun,
            is_complete,
            is_known,
            held_up_until: None,
            unused: Unused::new(pace.unused),
            state_trouble,
        })
    }

    /// Asks for everything to be listed and read again.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// The task that writes statuses, and what tells it which; `None` where nothing is written. It is given once.
    pub fn writer(&mut self) -> Option<(Writer, Statuses)> {
        self.writer.take().zip(self.keeper.statuses.clone())
    }

    /// The URL of the API server.
    pub fn url(&self) -> &str {
        &self.cluster.url
    }

    /// What is known from before, and the followers of the first kinds.
    fn begin(&mut self, events: &mut Vec<SourceEvent>) {
        let objects = std::mem::take(&mut self.from_state);
        let is_known = !objects.is_empty();
        self.keeper.restore(&objects, events);
        self.keeper.references.changes();
        self.follow(Stage::Configuration);
        self.is_known = is_known;
    }

    /// Waits for something new, and makes events of it.
    async fn receive(&mut self, events: &mut Vec<SourceEvent>) -> Option<()> {
        let statuses = self.keeper.statuses.clone();
        tokio::select! {
            report = self.observed.recv() => self.take_report(report?, events),
            fetched = self.fetches.next() => self.take_fetched(fetched, events),
            () = self.keeper.files.changed() => {}
            () = until(self.problems.due()) => {}
            () = until(self.held_up_until) => {}
            () = until(self.unused.due()) => {}
            error = change_of(self.state_trouble.as_mut()) => self.problems.set_state(error),
            () = denials(statuses.as_ref()) => {
                if let Some(statuses) = &statuses {
                    self.problems.set_denied(statuses.denied(), statuses.lease_failure());
                }
            }
            () = self.requests.next() => {
                self.followers.relist_all();
                self.keeper.files.request();
                events.push(SourceEvent::Reloaded);
            }
        }
        Some(())
    }

    fn take_report(&mut self, report: Report, events: &mut Vec<SourceEvent>) {
        if self.followers.has_sent(&report) {
            self.observe(report.kind, report.observed, events);
        }
    }

    fn observe(&mut self, kind: Kind, observed: Observed, events: &mut Vec<SourceEvent>) {
        match observed {
            Observed::Begun => {
                self.keeper.begin_listing(kind);
                self.followers.begin(kind);
                for superseded in self.fetches.supersede(kind) {
                    self.problems.solve_request(&superseded);
                }
                events.push(SourceEvent::Restart(Scope::Kind(kind)));
            }
            Observed::Page(page) => {
                if let Err(error) = page.for_each(|object| self.keeper.put(object, events, true)) {
                    // A page is checked when it arrives. What is missing is not gone: the listing proves nothing.
                    self.keeper.spoil_listing(kind);
                    self.followers.excuse(kind);
                    self.fetches.resume(kind);
                    self.problems.add(kind, Problem::Unavailable(format!("a page cannot be read: {error}")));
                }
            }
            // The kind counts as read once it has been listed again.
            Observed::Done(_) if self.keeper.is_spoiled(kind) => {}
            Observed::Done(relist_count) => {
                self.keeper.end_listing(kind);
                self.fetches.listed(kind);
                self.followers.settle(kind, relist_count);
                self.problems.solve(kind);
                events.push(SourceEvent::Complete(Scope::Kind(kind)));
            }
            Observed::Put(object) => {
                self.fetches.reported(kind, &object);
                self.keeper.put(object, events, true);
            }
            Observed::Gone(object) => {
                self.fetches.reported(kind, &object);
                if let Some(object) = name(kind, &object) {
                    self.keeper.delete(object, events);
                }
            }
            Observed::NotInstalled(relist_count) => {
                self.drop_all(kind, events);
                self.fetches.listed(kind);
                self.followers.settle(kind, relist_count);
                self.problems.not_installed(kind);
            }
            Observed::Problem(problem) => {
                let is_dispensable = WATCHED.iter().any(|watched| watched.kind == kind && watched.is_dispensable());
                if is_dispensable && matches!(problem, Problem::Forbidden(_)) {
                    self.followers.dispense_with(kind);
                }
                self.followers.excuse(kind);
                self.fetches.resume(kind);
                self.problems.add(kind, problem);
            }
            Observed::Unwatched(problem) => self.problems.add_unwatched(kind, problem),
            Observed::Recovered => self.problems.solve(kind),
            Observed::Watched => self.problems.solve_unwatched(kind),
        }
    }

    fn take_fetched(&mut self, fetched: Fetched, events: &mut Vec<SourceEvent>) {
        match fetched.objects {
            Ok(objects) => {
                self.problems.solve_request(&fetched.reference);
                objects.into_iter().for_each(|object| self.keeper.put(object, events, true));
            }
            Err(problem) => self.problems.add_request(fetched.reference, problem),
        }
    }

    /// No object of a kind is kept any more.
    fn drop_all(&mut self, kind: Kind, events: &mut Vec<SourceEvent>) {
        self.keeper.begin_listing(kind);
        self.keeper.end_listing(kind);
        events.extend([SourceEvent::Restart(Scope::Kind(kind)), SourceEvent::Complete(Scope::Kind(kind))]);
    }

    /// Ends what follows a kind that nothing refers to any more.
    fn unfollow(&mut self, kind: Kind, events: &mut Vec<SourceEvent>) {
        // Objects that are known from before may be there although the kind was never followed.
        if !self.followers.unfollow(kind) && !self.keeper.has_any(kind) {
            return;
        }
        for superseded in self.fetches.supersede(kind) {
            self.problems.solve_request(&superseded);
        }
        self.fetches.listed(kind);
        self.problems.unfollowed(kind);
        self.drop_all(kind, events);
    }

    /// Asks for what is newly referred to, and lets go of what nothing refers to any more.
    fn follow_references(&mut self, events: &mut Vec<SourceEvent>) {
        let (new, gone) = self.keeper.references.changes();
        for reference in gone {
            if let Reference::Pods | Reference::Nodes = reference {
                self.unfollow(reference.kind(), events);
            }
            self.fetches.end(&reference);
            self.problems.solve_request(&reference);
            self.keeper.release(&reference, events);
        }
        let mut by_kind: BTreeMap<Kind, Vec<Reference>> = BTreeMap::new();
        for reference in new {
            let kind = reference.kind();
            match reference {
                Reference::AllSlices => self.followers.relist(kind),
                // They are followed from now on, and listed with that.
                Reference::Pods | Reference::Nodes => {}
                reference => by_kind.entry(kind).or_default().push(reference),
            }
        }
        for (kind, references) in by_kind {
            // A listing that is under way, or to come, has them; it may have passed them by where it has begun.
            let is_idle =
                !self.followers.follows(kind) || kind == Kind::Pod && !self.keeper.references.wants(&Reference::Pods);
            if is_idle {
                continue;
            }
            if references.len() > SINGLE_REQUESTS {
                self.followers.relist(kind);
                continue;
            }
            references.iter().for_each(|reference| self.fetches.begin(reference));
        }
    }

    /// Reads the files that are new, that changed, or that objects have begun to name.
    async fn read_files(&mut self, set: &Arc<ResourceSet>, events: &mut Vec<SourceEvent>) {
        let read = self.keeper.files.read(set, &mut self.problems).await;
        for event in &read {
            if let SourceEvent::Mesh(mesh) = event {
                self.keeper.references.set_mesh(mesh.as_ref().map(|mesh| &*mesh.text));
            }
        }
        events.extend(read);
    }

    /// Follows the kinds of a stage, as far as something needs them.
    fn follow(&mut self, stage: Stage) {
        for watched in WATCHED.iter().filter(|watched| watched.stage == stage) {
            if self.needs(watched) {
                self.followers.follow(watched, self.keeper.has_any(watched.kind));
            }
        }
    }

    fn needs(&self, watched: &Watched) -> bool {
        watched.condition().is_none_or(|reference| self.keeper.references.wants(&reference))
    }

    /// Goes on to the next stage once the kinds before are settled; says once when everything has been read.
    fn advance(&mut self, events: &mut Vec<SourceEvent>) {
        let is_settled = |stage: Stage| {
            let mut kinds = WATCHED.iter().filter(|watched| watched.stage == stage && self.needs(watched));
            kinds.all(|watched| self.followers.is_settled(watched.kind))
        };
        let [configuration, referred, optional] =
            [Stage::Configuration, Stage::Referred, Stage::Optional].map(is_settled);
        if configuration || self.is_complete {
            self.follow(Stage::Referred);
        }
        if configuration && referred || self.is_complete {
            self.follow(Stage::Optional);
        }
        // The mesh settings of a file count alone: nothing is served before the file was read, and what it refers to belongs to the first
        // configuration.
        let awaits_mesh = self.keeper.files.awaits_mesh();
        let are_read = configuration && referred && optional && !awaits_mesh;
        if !are_read {
            self.held_up_until = None;
        } else if !self.is_held_up() {
            if let Some(state) = self.keeper.state.as_ref().filter(|_| !self.problems.has_kept_state()) {
                state.complete();
                self.problems.keep_state();
            }
            self.is_known = true;
        }
        if self.is_known && !self.is_complete && !awaits_mesh {
            self.complete(events);
        }
    }

    /// Whether the first configuration lacks what was found to be referred to while it was read. A failure that is reported holds
    /// nothing up, and nothing does for long.
    fn is_held_up(&mut self) -> bool {
        if self.is_known {
            return false;
        }
        let until = *self.held_up_until.get_or_insert_with(|| Instant::now() + self.pace.further);
        let is_held_up = (self.fetches.are_open() || self.followers.are_listing()) && Instant::now() < until;
        if !is_held_up {
            self.held_up_until = None;
        }
        is_held_up
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
    async fn next(&mut self, set: Arc<ResourceSet>) -> Option<Batch> {
        loop {
            let mut events = Vec::new();
            if !std::mem::replace(&mut self.begun, true) {
                // First, because the mesh settings say which of the objects that are known from before are wanted.
                self.read_files(&set, &mut events).await;
                self.begin(&mut events);
            } else {
                self.receive(&mut events).await?;
            }
            let begun = Instant::now();
            // What has been observed meanwhile is part of the same change.
            for _ in 0..BATCH {
                let Ok(report) = self.observed.try_recv() else { break };
                self.take_report(report, &mut events);
            }
            self.read_files(&set, &mut events).await;
            self.unused.update(&mut self.keeper.references, Instant::now());
            self.follow_references(&mut events);
            self.advance(&mut events);
            events.extend(self.problems.events(Instant::now()));
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
    let writer = Writer::new(cluster.clone(), pace, Arc::clone(namespace), &settings, statuses.clone());
    (statuses, writer)
}

/// Waits until something else is denied of what is written.
async fn denials(statuses: Option<&Statuses>) {
    match statuses {
        Some(statuses) => statuses.problems().await,
        None => std::future::pending().await,
    }
}

/// Waits for another value, or for good.
async fn change_of<T: Clone>(receiver: Option<&mut watch::Receiver<T>>) -> T {
    if let Some(receiver) = receiver
        && receiver.changed().await.is_ok()
    {
        return receiver.borrow_and_update().clone();
    }
    std::future::pending().await
}

/// Waits for a time, or for good.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
