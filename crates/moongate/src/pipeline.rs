//! The one loop: a set comes from the source, is compiled, is taken over by the data plane, and its report is told.

use crate::admin::Health;
use crate::certificates::Certificates;
use crate::mesh::Mesh;
use crate::positions::{PositionCache, Texts};
use crate::service_manager;
use crate::serving::Demand;
use crate::start_up::StartUp;
use crate::words::time;
use compiler::{Memo, Report, Settings};
use dataplane::{BindProblem, DataPlane};
use ir::Snapshot;
use resources::diagnostic::{Diagnostic, Position, Severity};
use resources::key::{Key, Kind, ObjectRef};
use resources::set::ResourceSet;
use sources::{Loaded, StreamTexts};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::Receiver;
use upstream::Unresolved;

/// How often listeners that could not be opened are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How often certificates are looked at again without a change of theirs.
const CLOCK: Duration = Duration::from_secs(15 * 60);

/// Findings of one change whose very lines are looked up to be logged; further ones are told with the line of their object.
const LOCATED: usize = 64;

/// How the last change went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stages {
    pub(crate) parse: Duration,
    pub(crate) collect: Duration,
    pub(crate) compile: Duration,
    pub(crate) apply: Duration,
}

/// What the process serves now, for the admin pages.
#[derive(Clone, Default)]
pub(crate) struct Current {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) set: Arc<ResourceSet>,
    pub(crate) report: Report,
    /// What was found while reading the files and the mesh settings.
    pub(crate) read: Arc<[Diagnostic]>,
    pub(crate) problems: Vec<BindProblem>,
    /// Paths that are configured and cannot be read at the moment; what they held before serves.
    pub(crate) unavailable: usize,
    /// What there is to say where nothing is served.
    pub(crate) unserved: Option<Diagnostic>,
    /// The certificates that are presented, and what the clock says of them.
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) ending: Arc<[Diagnostic]>,
    pub(crate) generation: u64,
    pub(crate) stages: Stages,
    /// Texts of input that cannot be read again.
    pub(crate) streams: StreamTexts,
    /// Where fields of findings stand, as far as somebody asked.
    pub(crate) positions: Arc<PositionCache>,
    /// Names of endpoints without an answer, where somebody looked.
    pub(crate) unresolved: Vec<Unresolved>,
}

impl Current {
    /// Everything that was found out, of all stages. What was found by compiling has the line of its object.
    pub(crate) fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self.read.iter().cloned().collect();
        all.extend(self.report.located(&self.set));
        all.extend(self.problems.iter().map(|problem| bind_diagnostic(problem, self)));
        all.extend(self.unresolved.iter().map(|unresolved| unresolved_diagnostic(unresolved, self)));
        all.extend(self.unserved.clone());
        all.extend(self.ending.iter().cloned());
        all
    }

    /// Gives findings the lines of their fields. Files are read, which may take a while.
    pub(crate) fn locate(&self, diagnostics: &mut [Diagnostic]) {
        self.positions.locate(diagnostics, &self.set, &self.streams);
    }

    /// Asks again what there is to say of certificates that end.
    fn update_expiring(&mut self, soon: Duration) {
        let found = self.certificates.findings(SystemTime::now(), soon);
        self.ending = found.into_iter().map(|one| placed(one, &self.set)).collect();
    }
}

/// What the process serves now, shared by the loop and the pages.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Current>>);

impl Shared {
    pub(crate) fn get(&self) -> Current {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, current: Current) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

/// Applies every set until the source ends. `first` is called once one of them serves; `start_up` logs what serves. Certificates that end
/// within `soon` are reported.
pub(crate) async fn run(
    mut changes: Receiver<Loaded>,
    (mut settings, soon): (Settings, Duration),
    data_plane: Arc<DataPlane>,
    shared: Shared,
    health: Health,
    (first, mut start_up): (impl FnOnce(), StartUp),
) {
    let (mut memo, mut mesh) = (Memo::default(), Mesh::default());
    let mut before = Current::default();
    let mut first = Some(first);
    let mut clock = tokio::time::interval(CLOCK);
    loop {
        tokio::select! {
            loaded = changes.recv() => {
                let Some(loaded) = loaded else { return };
                mesh.apply(&loaded, &mut settings);
                if !mesh.is_usable() {
                    let current = without_mesh(&loaded, &mesh.found);
                    shared.set(current.clone());
                    log_changes(&before, &current);
                    before = current;
                    continue;
                }
                let mut current = apply(&loaded, &settings, &mesh.found, &mut memo, (&data_plane, &before));
                current.update_expiring(soon);
                let serves = check_listeners(&mut current, &data_plane);
                shared.set(current.clone());
                health.set_serving(serves);
                // Readiness does not wait for the log.
                if serves && let Some(first) = first.take() {
                    first();
                }
                log_changes(&before, &current);
                start_up.log_serving(&current, &data_plane.listening());
                if loaded.requested {
                    tracing::info!("the configuration was read again");
                    service_manager::ready();
                }
                before = current;
            }
            _ = clock.tick() => {
                let mut current = before.clone();
                current.update_expiring(soon);
                if current.ending != before.ending {
                    shared.set(current.clone());
                    log_expiring(&before, &current);
                    before = current;
                }
            }
            () = tokio::time::sleep(RETRY) => {
                if !before.problems.is_empty() {
                    let mut current = Current { problems: data_plane.retry(), ..before.clone() };
                    let serves = check_listeners(&mut current, &data_plane);
                    shared.set(current.clone());
                    health.set_serving(serves);
                    if serves && let Some(first) = first.take() {
                        first();
                    }
                    log_problems(&before, &current);
                    start_up.log_serving(&current, &data_plane.listening());
                    before = current;
                }
            }
        }
    }
}

/// What is known of a configuration that cannot be applied, since its mesh settings have errors and there were none before.
fn without_mesh(loaded: &Loaded, mesh: &[Diagnostic]) -> Current {
    Current {
        set: Arc::clone(&loaded.set),
        read: mesh.iter().cloned().chain(loaded.diagnostics.iter().cloned()).collect(),
        unavailable: loaded.unavailable,
        streams: Arc::clone(&loaded.streams),
        ..Current::default()
    }
}

fn apply(
    loaded: &Loaded,
    settings: &Settings,
    mesh: &[Diagnostic],
    memo: &mut Memo,
    (data_plane, before): (&DataPlane, &Current),
) -> Current {
    let begun = Instant::now();
    let compiled = compiler::compile(&loaded.set, settings, memo);
    let compile = begun.elapsed();
    let begun = Instant::now();
    let outcome = data_plane.apply(&compiled.snapshot, &compiled.delta);
    let stages = Stages { parse: loaded.timing.parse, collect: loaded.timing.collect, compile, apply: begun.elapsed() };
    tracing::info!(
        generation = outcome.generation,
        objects = loaded.set.len(),
        changed = loaded.set.changed.len(),
        listeners = compiled.snapshot.listeners.size(),
        clusters = compiled.snapshot.clusters.size(),
        parse = time(stages.parse),
        compile = time(stages.compile),
        apply = time(stages.apply),
        "configuration applied"
    );
    let mut certificates = Arc::clone(&before.certificates);
    if compiled.delta.changes.as_ref().is_none_or(Certificates::may_change) {
        Arc::make_mut(&mut certificates).update(&compiled.snapshot, compiled.delta.changes.as_ref());
    }
    Current {
        certificates,
        ending: Arc::default(),
        snapshot: compiled.snapshot,
        set: Arc::clone(&loaded.set),
        report: compiled.report,
        read: mesh.iter().cloned().chain(loaded.diagnostics.iter().cloned()).collect(),
        problems: outcome.problems,
        unavailable: loaded.unavailable,
        unserved: None,
        unresolved: Vec::new(),
        generation: outcome.generation,
        stages,
        streams: Arc::clone(&loaded.streams),
        positions: Arc::default(),
    }
}

/// Whether the listeners that are open are what the configuration asks for; what there is to say becomes part of `current`.
fn check_listeners(current: &mut Current, data_plane: &DataPlane) -> bool {
    let (demand, listeners) = (Demand::of(&current.set, &current.read), data_plane.listening().len());
    current.unserved = demand.findings(listeners);
    demand.is_met(listeners)
}

/// Logs what was not said of the configuration before. What is only good to know is left to `check`. The cost follows what changed.
fn log_changes(before: &Current, current: &Current) {
    if before.read != current.read {
        let told: BTreeSet<String> = before.read.iter().map(resources::render::line).collect();
        current.read.iter().filter(|one| !told.contains(&resources::render::line(one))).for_each(log);
        if before.unavailable > 0 && current.unavailable == 0 {
            tracing::info!("all configured paths can be read again");
        }
    }
    let (mut said, mut texts, mut places) = (BTreeSet::new(), Texts::new(&current.streams), LOCATED);
    for object in current.report.changed() {
        if !said.insert(object) {
            continue;
        }
        // An object may have as many findings as it has rules.
        let reported: HashSet<&Diagnostic> = before.report.of(object).iter().collect();
        for one in current.report.of(object).iter().filter(|one| !reported.contains(one)) {
            let mut found = Diagnostic { position: place(&current.set, object), ..one.clone() };
            if found.severity > Severity::Info && places > 0 {
                (found, places) = (texts.locate(found, &current.set), places - 1);
            }
            log(&found);
        }
    }
    log_problems(before, current);
    log_expiring(before, current);
}

fn log_expiring(before: &Current, current: &Current) {
    current.ending.iter().filter(|one| !before.ending.contains(one)).for_each(log);
}

fn log_problems(before: &Current, current: &Current) {
    for problem in current.problems.iter().filter(|problem| !before.problems.contains(problem)) {
        log(&bind_diagnostic(problem, current));
    }
    if before.unserved != current.unserved {
        match &current.unserved {
            Some(unserved) => log(unserved),
            None if before.generation > 0 => tracing::info!("the configuration is served again"),
            None => {}
        }
    }
}

fn log(diagnostic: &Diagnostic) {
    let line = resources::render::line(diagnostic);
    match diagnostic.severity {
        Severity::Error => tracing::error!("{line}"),
        Severity::Warning => tracing::warn!("{line}"),
        Severity::Info => tracing::debug!("{line}"),
    }
}

/// The file and line where an object's document begins.
fn place(set: &ResourceSet, object: &ObjectRef) -> Option<Position> {
    let source = set.source(object)?;
    Some(Position { file: Arc::clone(&source.file), line: source.line, column: 0 })
}

/// A finding with the place of its object's document.
pub(crate) fn placed(diagnostic: Diagnostic, set: &ResourceSet) -> Diagnostic {
    let position = diagnostic.object.as_ref().and_then(|object| place(set, object));
    Diagnostic { position, ..diagnostic }
}

/// The code of a listener that cannot be opened; `docs/diagnostics.md` lists it.
pub(crate) const CANNOT_LISTEN: &str = "MG9001";

fn bind_diagnostic(problem: &BindProblem, current: &Current) -> Diagnostic {
    let address = problem.listener.address;
    let origin = current.snapshot.listeners.get(&problem.listener).and_then(|listener| listener.servers.first());
    let help = if address.port() < 1024 && problem.message.contains("denied") {
        format!("allow it, or bind another port: --port-map {}={}", address.port(), 8000 + address.port())
    } else {
        "free it, or bind another one with --port-map or --bind; it is tried again every few seconds".to_owned()
    };
    let object = origin.map(object_ref);
    Diagnostic {
        code: CANNOT_LISTEN,
        severity: Severity::Error,
        position: object.as_ref().and_then(|object| place(&current.set, object)),
        object,
        field: origin.map_or_else(String::new, |origin| format!("spec.{}.port", origin.rule)),
        message: format!("cannot listen on {address}: {}; the other listeners serve", problem.message),
        help: Some(help),
    }
}

/// The code of a name of an endpoint that DNS does not answer; `docs/diagnostics.md` lists it.
pub(crate) const UNRESOLVED: &str = "MG9030";

fn unresolved_diagnostic(unresolved: &Unresolved, current: &Current) -> Diagnostic {
    let cluster = current.snapshot.clusters.get(&unresolved.cluster);
    let object = cluster.map(|cluster| object_ref(&cluster.origin));
    let effect = if unresolved.in_use { "the addresses before stay in use" } else { "requests get 503" };
    Diagnostic {
        code: UNRESOLVED,
        severity: Severity::Warning,
        position: object.as_ref().and_then(|object| place(&current.set, object)),
        object,
        field: String::new(),
        message: format!(
            "`{}` of cluster {} is not resolved: {}; {effect}",
            unresolved.name, unresolved.cluster, unresolved.error
        ),
        help: Some("correct the name, or check the name servers of this machine".to_owned()),
    }
}

pub(crate) fn object_ref(origin: &ir::Origin) -> ObjectRef {
    let kind = match origin.kind {
        ir::ObjectKind::Gateway => Kind::Gateway,
        ir::ObjectKind::VirtualService => Kind::VirtualService,
        ir::ObjectKind::DestinationRule => Kind::DestinationRule,
        ir::ObjectKind::ServiceEntry => Kind::ServiceEntry,
        ir::ObjectKind::WorkloadEntry => Kind::WorkloadEntry,
        ir::ObjectKind::Service => Kind::Service,
    };
    ObjectRef { kind, key: Key { namespace: Arc::clone(&origin.namespace), name: Arc::clone(&origin.name) } }
}
