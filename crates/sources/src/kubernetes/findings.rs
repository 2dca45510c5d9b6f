//! What there is to say about the API server: one finding for each cause, whichever number of kinds it concerns.

use super::page::Problem;
use super::references::Reference;
use super::statuses::Right;
use crate::event::{Scope, SourceEvent};
use crate::findings;
use resources::api::ApiResource;
use resources::code;
use resources::diagnostic::{Diagnostic, Severity};
use resources::key::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What is wrong at present, and what of it was reported.
#[derive(Debug)]
pub(super) struct Problems {
    url: String,
    problems: BTreeMap<Kind, Problem>,
    /// Kinds that can be listed, but not watched.
    unwatched: BTreeMap<Kind, Problem>,
    /// What single requests fail with.
    requests: BTreeMap<Reference, Problem>,
    not_installed: BTreeSet<Kind>,
    /// What may not be written.
    denied: Vec<(Right, String)>,
    /// Why the Lease cannot be held although it is not denied.
    lease: Option<String>,
    /// What is wrong with the folder of the last configuration, and what to do.
    state: Option<(String, &'static str)>,
    /// What is found about files beside the cluster.
    files: Arc<[Diagnostic]>,
    /// Reading them was not finished.
    unfinished: Option<Diagnostic>,
    has_kept_state: bool,
    reported: (Arc<[Diagnostic]>, Arc<[Diagnostic]>),
    /// How long further kinds are waited for until problems are reported: one cause concerns all of them, one after the other.
    settle: Duration,
    /// When they are reported.
    due: Option<Instant>,
}

impl Problems {
    pub(super) fn new(url: &str, settle: Duration) -> Self {
        let (problems, unwatched, requests, not_installed, denied) = Default::default();
        let (lease, state, files, unfinished, has_kept_state, reported) = Default::default();
        Self {
            url: url.to_owned(),
            problems,
            unwatched,
            requests,
            not_installed,
            denied,
            lease,
            state,
            files,
            unfinished,
            has_kept_state,
            reported,
            settle,
            due: None,
        }
    }

    /// The folder of the last configuration cannot be used by this process at all.
    pub(super) fn state(&mut self, error: &io::Error) {
        let help =
            "make it a folder that this process may write; a restart without the API server has no configuration";
        self.state = Some((error.to_string(), help));
    }

    /// Something cannot be written into the folder of the last configuration, or everything is there.
    pub(super) fn set_state(&mut self, error: Option<String>) {
        let help = "make room in it, and let this process write it: it is tried again; until then a restart without the API server has \
                    no configuration";
        self.state = error.map(|error| (error, help));
    }

    /// What is found about files, in place of what was found before.
    pub(super) fn set_files(&mut self, found: Arc<[Diagnostic]>) {
        self.files = found;
    }

    /// Reading files was not finished, for this reason, or it was.
    pub(super) fn set_unfinished(&mut self, error: Option<&str>) {
        self.unfinished = error.map(findings::unfinished);
    }

    pub(super) fn add(&mut self, kind: Kind, problem: Problem) {
        self.problems.insert(kind, problem);
    }

    /// A single request fails.
    pub(super) fn add_request(&mut self, reference: Reference, problem: Problem) {
        self.requests.insert(reference, problem);
    }

    /// A single request is answered, or is not needed any more.
    pub(super) fn solve_request(&mut self, reference: &Reference) {
        self.requests.remove(reference);
    }

    pub(super) fn solve(&mut self, kind: Kind) {
        self.problems.remove(&kind);
        self.not_installed.remove(&kind);
    }

    /// A kind is listed, but its watch is refused: listings solve nothing of that.
    pub(super) fn add_unwatched(&mut self, kind: Kind, problem: Problem) {
        self.unwatched.insert(kind, problem);
    }

    /// A kind is watched.
    pub(super) fn solve_unwatched(&mut self, kind: Kind) {
        self.unwatched.remove(&kind);
    }

    /// A kind is not followed any more, and nothing about it matters.
    pub(super) fn unfollowed(&mut self, kind: Kind) {
        self.problems.remove(&kind);
        self.unwatched.remove(&kind);
        self.not_installed.remove(&kind);
    }

    pub(super) fn not_installed(&mut self, kind: Kind) {
        self.problems.remove(&kind);
        self.unwatched.remove(&kind);
        self.not_installed.insert(kind);
    }

    pub(super) fn set_denied(&mut self, denied: Vec<(Right, String)>, lease: Option<String>) {
        (self.denied, self.lease) = (denied, lease);
    }

    /// Whether the folder has been told that it is complete.
    pub(super) fn has_kept_state(&self) -> bool {
        self.has_kept_state
    }

    pub(super) fn keep_state(&mut self) {
        self.has_kept_state = true;
    }

    /// Reports again that something is unavailable.
    pub(super) fn repeat(&mut self) {
        self.reported.0 = Arc::default();
    }

    /// When there is something to report.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What differs from what was reported last, once it is time.
    pub(super) fn events(&mut self, now: Instant) -> Vec<SourceEvent> {
        let (unavailable, general) = (self.unavailable(), self.general());
        if (&unavailable, &general) == (&self.reported.0, &self.reported.1) {
            self.due = None;
            return Vec::new();
        }
        // That nothing is wrong any more is said at once.
        let is_solved = unavailable.is_empty() && general.is_empty();
        if now < *self.due.get_or_insert(now + self.settle) && !is_solved {
            return Vec::new();
        }
        self.due = None;
        let mut events = Vec::new();
        if *general != *self.reported.1 {
            events.push(SourceEvent::Findings(Arc::clone(&general)));
        }
        if *unavailable != *self.reported.0 {
            events.push(match unavailable.is_empty() {
                true => SourceEvent::Available(Scope::All),
                false => SourceEvent::Unavailable(Scope::All, Arc::clone(&unavailable)),
            });
        }
        self.reported = (unavailable, general);
        events
    }

    fn unavailable(&self) -> Arc<[Diagnostic]> {
        let (mut forbidden, mut silent) = (BTreeMap::new(), None);
        let of_kinds = self.problems.iter().chain(&self.unwatched).map(|(kind, problem)| (*kind, problem));
        let of_requests = self.requests.iter().map(|(reference, problem)| (reference.kind(), problem));
        for (kind, problem) in of_kinds.chain(of_requests) {
            match problem {
                Problem::Forbidden(message) => drop(forbidden.entry(kind).or_insert(message)),
                Problem::Unavailable(message) => silent = silent.or(Some(message)),
            }
        }
        let mut found = Vec::new();
        if let Some(message) = forbidden.values().next() {
            let message = format!("the API server denies reading {}: {message}", names(forbidden.keys().copied()));
            let help = "apply the roles that `moongate manifests` prints; what was read before keeps serving";
            found.push(finding(code::API_FORBIDDEN, Severity::Error, message, help));
        }
        if let Some(message) = silent {
            let message = format!("the API server at {} cannot be asked: {message}", self.url);
            let help = "it is tried again; what was read before keeps serving";
            found.push(finding(code::API_SERVER, Severity::Error, message, help));
        }
        found.into()
    }

    fn general(&self) -> Arc<[Diagnostic]> {
        let mut found = self.files.to_vec();
        found.extend(self.unfinished.clone());
        if !self.not_installed.is_empty() {
            let message = format!("not installed in the cluster: {}", names(self.not_installed.iter().copied()));
            let help = "`moongate crds` prints them, and so does Istio's chart; they are read once they are there";
            found.push(finding(code::NOT_INSTALLED, Severity::Info, message, help));
        }
        if let Some((_, message)) = self.denied.first() {
            let rights: Vec<String> = self.denied.iter().map(|(right, _)| named(*right)).collect();
            let message = format!("the API server denies writing {}: {message}", rights.join(", "));
            let help = "apply the roles that `moongate manifests` prints, or leave out `--write-status` and `--publish-address`; \
                        what is served does not depend on it";
            found.push(finding(code::WRITE_FORBIDDEN, Severity::Warning, message, help));
        }
        // An API server that answers nothing but errors is one cause, which is reported where it is read.
        let is_silent = self.problems.values().any(|problem| matches!(problem, Problem::Unavailable(_)));
        if let Some(message) = self.lease.as_ref().filter(|_| !is_silent) {
            let message =
                format!("the Lease of the leader cannot be held: {message}; no replica writes statuses or addresses");
            let help =
                "create the namespace that `--namespace` names, or correct it; what is served does not depend on it";
            found.push(finding(code::LEASE_FAILS, Severity::Warning, message, help));
        }
        if let Some((error, help)) = &self.state {
            let message = format!("the folder of --state cannot be used: {error}");
            found.push(finding(code::STATE_FOLDER, Severity::Error, message, help));
        }
        found.into()
    }
}

fn named(right: Right) -> String {
    match right {
        Right::Lease => "the Lease of the leader".to_owned(),
        Right::Status(kind) => format!("statuses of {}", names(std::iter::once(kind))),
        Right::Addresses => "the address of Services".to_owned(),
    }
}

fn names(kinds: impl Iterator<Item = Kind>) -> String {
    kinds.filter_map(ApiResource::of).map(ApiResource::full_name).collect::<Vec<_>>().join(", ")
}

fn finding(code: &'static str, severity: Severity, message: String, help: &str) -> Diagnostic {
    let (object, field, position) = (None, String::new(), None);
    Diagnostic { code, severity, object, field, position, message, help: Some(help.to_owned()) }
}
