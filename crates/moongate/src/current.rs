//! What the process serves now, and everything that is known about it: plain values, made by the pipeline and read by its sinks.

use crate::certificates::Certificates;
use crate::objects::{object_ref, place, placed};
use crate::positions::PositionCache;
use compiler::Report;
use dataplane::{BindProblem, KeysUnavailable};
use ir::policy::{KeySource, Provider};
use ir::{ListenerId, Snapshot};
use resources::Map;
use resources::diagnostic::{Diagnostic, Severity};
use resources::key::ObjectRef;
use resources::set::ResourceSet;
use sources::{ObjectVersion, StreamTexts};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use upstream::Unresolved;

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
    /// The versions of objects of an API server.
    pub(crate) versions: Map<ObjectRef, ObjectVersion>,
    pub(crate) report: Report,
    /// What was found while reading the files and the mesh settings.
    pub(crate) read: Arc<[Diagnostic]>,
    /// Listeners that are not open.
    pub(crate) problems: Vec<BindProblem>,
    /// Listeners that are open, with the addresses that they are bound to.
    pub(crate) listening: Vec<(ListenerId, SocketAddr)>,
    /// Whether what is open is what the configuration asks for, so that traffic may be sent here.
    pub(crate) serves: bool,
    /// Parts of the process that have not applied the snapshot.
    pub(crate) behind: Vec<Diagnostic>,
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
    /// Keys of issuers that cannot be fetched, where somebody looked.
    pub(crate) keys_unavailable: Vec<KeysUnavailable>,
}

impl Current {
    /// Everything that was found out, of all stages. What was found by compiling has the line of its object.
    pub(crate) fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self.read.iter().cloned().collect();
        all.extend(self.report.located(&self.set));
        all.extend(self.problems.iter().map(|problem| bind_diagnostic(problem, self)));
        all.extend(self.unresolved.iter().map(|unresolved| unresolved_diagnostic(unresolved, self)));
        all.extend(self.keys_unavailable.iter().flat_map(|keys| keys_diagnostics(keys, self)));
        all.extend(self.behind.iter().cloned());
        all.extend(self.unserved.clone());
        all.extend(self.ending.iter().cloned());
        all
    }

    /// Gives findings the lines of their fields. Files are read, which may take a while.
    pub(crate) fn locate(&self, diagnostics: &mut [Diagnostic]) {
        self.positions.locate(diagnostics, &self.set, &self.streams);
    }

    /// Compares the certificates with the clock, where those that expire within `soon` are reported, and with the authorities that there are.
    pub(crate) fn update_expiring(&mut self, soon: Duration) {
        let mut found = self.certificates.findings(SystemTime::now(), soon);
        found.extend(self.certificates.without_authorities(upstream::has_system_authorities));
        self.ending = found.into_iter().map(|one| placed(one, &self.set)).collect();
    }
}

/// What the process serves now, shared by the pipeline and the pages.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Current>>);

impl Shared {
    pub(crate) fn get(&self) -> Current {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, current: Current) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

/// The code of a listener that cannot be opened; `docs/diagnostics.md` lists it.
pub(crate) const CANNOT_LISTEN: &str = "MG9001";

pub(crate) fn bind_diagnostic(problem: &BindProblem, current: &Current) -> Diagnostic {
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

/// The code of an issuer whose keys cannot be fetched; `docs/diagnostics.md` lists it.
pub(crate) const KEYS_UNAVAILABLE: &str = "MG9031";

/// A finding for each rule of a RequestAuthentication that has these keys.
fn keys_diagnostics(unavailable: &KeysUnavailable, current: &Current) -> Vec<Diagnostic> {
    let listeners = current.snapshot.listeners.values();
    let providers = listeners.filter_map(|listener| listener.policies.authentication.as_ref());
    let uses = |provider: &&Arc<Provider>| matches!(&provider.keys, KeySource::Remote(source) if *source == unavailable.source);
    // By rule: listeners of a workload have the same ones.
    let rules: BTreeMap<String, &Arc<Provider>> = providers
        .flat_map(|authentication| authentication.providers.iter().filter(uses))
        .map(|provider| (provider.origin.to_string(), provider))
        .collect();
    let effect = if unavailable.in_use { "the last keys stay in use" } else { "every token of the issuer is refused" };
    let finding = |provider: &Arc<Provider>| {
        let object = object_ref(&provider.origin);
        Diagnostic {
            code: KEYS_UNAVAILABLE,
            severity: Severity::Warning,
            position: place(&current.set, &object),
            object: Some(object),
            field: format!("spec.{}", provider.origin.rule),
            message: format!("the keys of `{}` cannot be fetched: {}; {effect}", provider.issuer, unavailable.error),
            help: Some(
                "correct the URL, or check the service and the way to it; it is tried again within a minute".to_owned(),
            ),
        }
    };
    rules.into_values().map(finding).collect()
}
