//! The one loop: a set comes from the source, is compiled, is published to the appliers, and its report is handed to the sinks.

use crate::applier::Applier;
use crate::certificates::Certificates;
use crate::current::{Current, Stages};
use crate::mesh::Mesh;
use crate::publisher::Publisher;
use crate::serving::Demand;
use crate::sink::{ReportSink, Update};
use crate::words::time;
use compiler::{Compiled, Memo, Settings};
use ir::Changes;
use resources::diagnostic::Diagnostic;
use resources::spec::mesh_config::MeshConfig;
use sources::{Loaded, Watch};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often listeners that could not be opened are tried again, and appliers that failed.
const RETRY: Duration = Duration::from_secs(5);

/// How often certificates are compared with the clock without a change of theirs.
const CLOCK: Duration = Duration::from_secs(15 * 60);

/// How long a publication waits for the appliers.
const PUBLISH: Duration = Duration::from_secs(10);

/// What the loop carries from one change to the next.
pub(crate) struct Pipeline {
    settings: Settings,
    /// How long before its end a certificate is reported.
    certificate_warning: Duration,
    publisher: Publisher,
    sinks: Vec<Box<dyn ReportSink>>,
    memo: Memo,
    mesh: Mesh,
    /// Applies what the mesh settings say besides the objects, before every publication.
    apply_mesh: Box<dyn Fn(&MeshConfig) + Send>,
    current: Current,
}

impl Pipeline {
    /// Compiles with these settings, publishes to the appliers, and hands reports to the sinks, each in the order of its list.
    pub(crate) fn new(
        settings: Settings,
        certificate_warning: Duration,
        appliers: Vec<Arc<dyn Applier>>,
        sinks: Vec<Box<dyn ReportSink>>,
    ) -> Self {
        let (memo, mesh, current) = Default::default();
        let publisher = Publisher::new(appliers, PUBLISH);
        let apply_mesh = Box::new(|_: &MeshConfig| {});
        Self { settings, certificate_warning, publisher, sinks, memo, mesh, apply_mesh, current }
    }

    /// Calls `apply` with the mesh settings before every publication.
    pub(crate) fn with_mesh(self, apply: impl Fn(&MeshConfig) + Send + 'static) -> Self {
        Self { apply_mesh: Box::new(apply), ..self }
    }

    /// Applies everything that comes from the source. Once that has ended, what is there is still looked after.
    pub(crate) async fn run(mut self, mut source: Watch) {
        let mut clock = tokio::time::interval(CLOCK);
        let mut is_open = true;
        loop {
            tokio::select! {
                loaded = source.next(), if is_open => match loaded {
                    Some(loaded) => self.change(&loaded).await,
                    None => is_open = false,
                },
                () = self.publisher.finish_one(), if self.publisher.is_working() => self.report_applied(),
                _ = clock.tick() => self.check_certificates(),
                () = tokio::time::sleep(RETRY) => {
                    if self.publisher.has_problems() {
                        self.publisher.retry().await;
                        self.report_applied();
                    }
                }
            }
        }
    }

    async fn change(&mut self, loaded: &Loaded) {
        if !loaded.complete {
            return self.report(not_applied(loaded, &[]), loaded.requested);
        }
        self.mesh.apply(loaded, &mut self.settings);
        if !self.mesh.is_usable() {
            return self.report(not_applied(loaded, &self.mesh.found), loaded.requested);
        }
        (self.apply_mesh)(&self.settings.mesh);
        let begun = Instant::now();
        let compiled = compiler::compile(&loaded.set, &self.settings, &mut self.memo);
        if loaded.only_shown && compiled.delta.changes.as_ref().is_some_and(Changes::is_empty) {
            // What is served stays as it is, and so does all that is known of it. The report says of no object that it has changed.
            let (set, versions) = (Arc::clone(&loaded.set), loaded.versions.clone());
            return self.report(Current { set, versions, report: compiled.report, ..self.current.clone() }, false);
        }
        let mut current = self.publish(loaded, compiled, begun.elapsed()).await;
        current.update_expiring(self.certificate_warning);
        self.take_over_applied(&mut current);
        self.report(current, loaded.requested);
    }

    /// Publishes what was compiled in so much time.
    async fn publish(&mut self, loaded: &Loaded, compiled: Compiled, compile: Duration) -> Current {
        let mut certificates = Arc::clone(&self.current.certificates);
        if compiled.delta.changes.as_ref().is_none_or(Certificates::may_change) {
            Arc::make_mut(&mut certificates).update(&compiled.snapshot, compiled.delta.changes.as_ref());
        }
        let is_whole = compiled.delta.changes.is_none();
        let begun = Instant::now();
        self.publisher.publish(&compiled.snapshot, compiled.delta).await;
        let stages =
            Stages { parse: loaded.timing.parse, collect: loaded.timing.collect, compile, apply: begun.elapsed() };
        let outcome =
            if self.publisher.behind().is_empty() { "configuration applied" } else { "configuration published" };
        tracing::info!(
            generation = self.publisher.generation(),
            objects = loaded.set.len(),
            changed = if is_whole { loaded.set.len() } else { loaded.set.changed.len() },
            listeners = compiled.snapshot.listeners.size(),
            clusters = compiled.snapshot.clusters.size(),
            parse = time(stages.parse),
            compile = time(stages.compile),
            apply = time(stages.apply),
            "{outcome}"
        );
        Current {
            certificates,
            snapshot: compiled.snapshot,
            set: Arc::clone(&loaded.set),
            versions: loaded.versions.clone(),
            report: compiled.report,
            read: read(loaded, &self.mesh.found),
            unavailable: loaded.unavailable,
            stages,
            streams: Arc::clone(&loaded.streams),
            ..Current::default()
        }
    }

    /// What the appliers have made of the snapshot.
    fn take_over_applied(&self, current: &mut Current) {
        current.generation = self.publisher.generation();
        current.problems = self.publisher.problems();
        current.behind = self.publisher.behind();
        current.listening = self.publisher.listening();
        let demand = Demand::of(&current.set, &self.settings.workloads, current.listening.len());
        current.unserved = demand.findings();
        current.serves = demand.is_met();
    }

    /// An applier was slow, or something was tried again.
    fn report_applied(&mut self) {
        let mut current = self.current.clone();
        self.take_over_applied(&mut current);
        self.report(current, false);
    }

    fn check_certificates(&mut self) {
        let mut current = self.current.clone();
        current.update_expiring(self.certificate_warning);
        if current.ending != self.current.ending {
            self.report(current, false);
        }
    }

    /// Hands a report to every sink.
    fn report(&mut self, current: Current, requested: bool) {
        let update = Update { before: &self.current, current: &current, requested };
        self.sinks.iter_mut().for_each(|sink| sink.receive(&update));
        self.current = current;
    }
}

/// What is known of a configuration that cannot be applied: it is not complete yet, or its mesh settings have errors and there were none
/// before.
fn not_applied(loaded: &Loaded, mesh: &[Diagnostic]) -> Current {
    Current {
        set: Arc::clone(&loaded.set),
        read: read(loaded, mesh),
        unavailable: loaded.unavailable,
        streams: Arc::clone(&loaded.streams),
        ..Current::default()
    }
}

/// Findings of reading, those of the mesh settings first.
fn read(loaded: &Loaded, mesh: &[Diagnostic]) -> Arc<[Diagnostic]> {
    mesh.iter().chain(loaded.diagnostics.iter()).cloned().collect()
}

#[cfg(test)]
mod tests;
