//! What the statuses of Istio's objects should say, from each report: objects that this gateway serves are `Reconciled` or not, and warnings
//! and errors are validation messages. Objects of other gateways and of the mesh are left alone. The cost follows what changed.

use crate::cli::ClusterArgs;
use crate::current::{Current, bind_diagnostic};
use crate::gateway_services::{is_for, service_name};
use crate::sink::{ReportSink, Update};
use compiler::Workload;
use resources::Map;
use resources::api::ApiResource;
use resources::diagnostic::{Diagnostic, Severity};
use resources::key::{Key, Kind, ObjectRef};
use resources::set::Absence;
use resources::spec::text_match::{Labels, selects};
use rustix::system::uname;
use sources::{Claim, ObjectVersion, Status, StatusMessage, Statuses, WriteSettings};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Findings that the message of a condition names, and its longest text.
const NAMED: usize = 4;
const LONGEST: usize = 1024;

/// Where the codes are explained, seen from the repository.
const DOCUMENTATION: &str = "docs/diagnostics.md";

/// How statuses are written by these flags, if at all.
pub(crate) fn settings(args: &ClusterArgs, workloads: &[Workload]) -> Option<WriteSettings> {
    if !args.write_status && args.publish_address.is_empty() {
        return None;
    }
    Some(WriteSettings {
        name: workloads.first().map(service_name)?,
        identity: identity().into(),
        statuses: args.write_status,
        publish: args.publish_address.clone(),
    })
}

/// The name of the Pod, or of the machine, and some chance: a process that starts anew is another one.
fn identity() -> String {
    let pod = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    let name = pod.unwrap_or_else(|| uname().nodename().to_string_lossy().into_owned());
    format!("{name}_{:08x}", RandomState::new().hash_one(std::process::id()) & 0xffff_ffff)
}

/// Hands the statuses that should be to the writer.
pub(crate) struct StatusSink {
    statuses: Statuses,
    workloads: Arc<[Workload]>,
    domain: Arc<str>,
    /// What nearly all objects should say, which is kept once.
    usual: Arc<Status>,
    /// The versions that every part of the process has applied.
    applied: Map<ObjectRef, ObjectVersion>,
    /// Whether everything has been said once.
    begun: bool,
}

impl StatusSink {
    pub(crate) fn new(statuses: Statuses, workloads: Arc<[Workload]>, domain: Arc<str>) -> Self {
        Self { statuses, workloads, domain, usual: Arc::new(status(&[], true)), applied: Map::default(), begun: false }
    }
}

impl ReportSink for StatusSink {
    fn receive(&mut self, update: &Update<'_>) {
        let Update { before, current, .. } = update;
        // Nothing is served yet.
        if current.generation == 0 {
            return;
        }
        let found = Found::of(current);
        let is_first = !std::mem::replace(&mut self.begun, true);
        let objects = if is_first { all(current) } else { self.changed(before, current, &found) };
        // While a part of the process is behind, it serves what was before.
        if current.behind.is_empty() {
            self.applied = current.versions.clone();
        }
        let wanted = |object: ObjectRef| {
            let status = self.wanted(&object, current, &found);
            let share = |status| if status == *self.usual { Arc::clone(&self.usual) } else { Arc::new(status) };
            (object, status.map(share))
        };
        self.statuses.want(&self.applied, objects.into_iter().filter(is_istio).map(wanted));
        if is_first || current.set.changed.iter().any(|object| object.kind == Kind::Service) {
            let services = current.set.services.iter();
            let own = services.filter(|(_, service)| self.workloads.iter().any(|workload| is_for(service, workload)));
            self.statuses.want_services(own.map(|(key, _)| key.clone()).collect());
        }
    }
}

fn is_istio(object: &ObjectRef) -> bool {
    ApiResource::of(object.kind).is_some_and(ApiResource::is_istio)
}

fn all(current: &Current) -> BTreeSet<ObjectRef> {
    current.versions.keys().cloned().collect()
}

/// Findings besides those of the compiler, by object.
struct Found<'a> {
    read: HashMap<&'a ObjectRef, Vec<&'a Diagnostic>>,
    listeners: HashMap<ObjectRef, Vec<Diagnostic>>,
}

impl<'a> Found<'a> {
    fn of(current: &'a Current) -> Self {
        let mut read: HashMap<&ObjectRef, Vec<&Diagnostic>> = HashMap::new();
        for one in current.read.iter().chain(current.ending.iter()) {
            if let Some(object) = &one.object {
                read.entry(object).or_default().push(one);
            }
        }
        let mut listeners: HashMap<ObjectRef, Vec<Diagnostic>> = HashMap::new();
        for one in current.problems.iter().map(|problem| bind_diagnostic(problem, current)) {
            if let Some(object) = one.object.clone() {
                listeners.entry(object).or_default().push(one);
            }
        }
        Self { read, listeners }
    }

    /// Warnings and errors about an object.
    fn about<'b>(&'b self, object: &ObjectRef, current: &'b Current) -> Vec<&'b Diagnostic> {
        let read = self.read.get(object).into_iter().flatten().copied();
        let listeners = self.listeners.get(object).into_iter().flatten();
        let all = read.chain(current.report.of(object)).chain(listeners);
        let mut seen = HashSet::new();
        let mut all: Vec<&Diagnostic> = all
            .filter(|one| one.severity > Severity::Info)
            .filter(|one| seen.insert((one.code, &one.field, &one.message)))
            .collect();
        // Errors first; otherwise as they were found.
        all.sort_by_key(|one| std::cmp::Reverse(one.severity));
        all
    }
}

impl StatusSink {
    /// Objects whose status may be another.
    fn changed(&self, before: &Current, current: &Current, found: &Found<'_>) -> BTreeSet<ObjectRef> {
        let is_new = before.set.generation != current.set.generation;
        let mut objects: BTreeSet<ObjectRef> = BTreeSet::new();
        if is_new {
            objects.extend(current.set.changed.iter().cloned());
            objects.extend(current.report.changed().iter().cloned());
        }
        if before.read != current.read || before.ending != current.ending || before.problems != current.problems {
            let earlier = Found::of(before);
            for (one, other) in [(&earlier, found), (found, &earlier)] {
                let read = one.read.iter().filter(|(object, all)| other.read.get(*object) != Some(all));
                objects.extend(read.map(|(object, _)| (*object).clone()));
                let listeners = one.listeners.iter().filter(|(object, all)| other.listeners.get(*object) != Some(all));
                objects.extend(listeners.map(|(object, _)| object.clone()));
            }
        }
        // Objects without a valid version are in no set, and whose they are may be another with each version.
        let rejected: Vec<&ObjectRef> = found.read.keys().copied().filter(|one| !current.set.contains(one)).collect();
        let version = |of: &Current, object: &ObjectRef| of.versions.get(object).copied();
        let turned_rejected = rejected.iter().filter(|one| version(before, one) != version(current, one));
        let turned_rejected: Vec<&ObjectRef> = turned_rejected.copied().collect();
        objects.extend(turned_rejected.iter().copied().cloned());
        // What VirtualServices a Gateway makes this gateway's.
        let is_own = |of: &Current, key: &Key| self.selects(of, key);
        let gateways = current.set.changed.iter().filter(|object| is_new && object.kind == Kind::Gateway);
        let gateways = gateways.filter(|object| is_own(before, &object.key) != is_own(current, &object.key));
        let gateways = gateways.chain(turned_rejected.into_iter().filter(|object| object.kind == Kind::Gateway));
        let turned: HashSet<&Key> = gateways.map(|object| &object.key).collect();
        if !turned.is_empty() {
            objects.extend(rejected.into_iter().filter(|object| object.kind == Kind::VirtualService).cloned());
            let concerned = current.set.virtual_services.values().filter(|service| {
                self.gateways(&service.spec.gateways, &service.key).any(|gateway| turned.contains(&gateway))
            });
            objects.extend(concerned.map(|one| ObjectRef { kind: Kind::VirtualService, key: one.key.clone() }));
        }
        objects
    }

    /// Whether a Gateway is of a workload of this process; `None`: there is no such Gateway. One that says nothing readable is of none.
    fn selects(&self, current: &Current, gateway: &Key) -> Option<bool> {
        let is_own = |selector: &Labels| self.workloads.iter().any(|workload| selects(selector, &workload.labels));
        if let Some(gateway) = current.set.gateways.get(gateway) {
            return Some(is_own(&gateway.spec.selector));
        }
        match current.set.absent.get(&ObjectRef { kind: Kind::Gateway, key: gateway.clone() })? {
            Absence::Invalid { selector, .. } => Some(selector.as_ref().is_some_and(is_own)),
            Absence::OtherGroup(_) => None,
        }
    }

    fn gateways<'a>(&'a self, names: &'a [impl AsRef<str>], service: &'a Key) -> impl Iterator<Item = Key> + 'a {
        names.iter().filter_map(|name| compiler::named_gateway(name.as_ref(), &service.namespace, &self.domain))
    }

    /// Whether a VirtualService that names these Gateways is this process's: one of them is, or is not there.
    fn is_for_own(&self, names: &[impl AsRef<str>], service: &Key, current: &Current) -> bool {
        self.gateways(names, service).any(|gateway| self.selects(current, &gateway) != Some(false))
    }

    /// What the status of an object should say; `None`: nothing.
    fn wanted(&self, object: &ObjectRef, current: &Current, found: &Found<'_>) -> Option<Status> {
        if !current.versions.contains_key(object) {
            return None;
        }
        let about = found.about(object, current);
        let always = match object.kind {
            Kind::Gateway => self.selects(current, &object.key)?.then_some(true)?,
            Kind::VirtualService => match current.set.virtual_services.get(&object.key) {
                // A delegate is served as a part of others.
                Some(service) if service.spec.hosts.is_empty() => !about.is_empty(),
                Some(service) => self.is_for_own(&service.spec.gateways, &object.key, current).then_some(true)?,
                None => match self.statuses.claim_of(object)? {
                    Claim::Delegate => !about.is_empty(),
                    Claim::Gateways(names) => self.is_for_own(&names, &object.key, current).then_some(true)?,
                },
            },
            // Whether they act depends on what refers to them.
            _ => !about.is_empty(),
        };
        Some(status(&about, always))
    }
}

/// The status that reports these findings.
fn status(found: &[&Diagnostic], always: bool) -> Status {
    let errors = found.iter().filter(|one| one.severity == Severity::Error).count();
    let warnings = found.len() - errors;
    let count = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        number => Some(format!("{number} {what}s")),
    };
    let counts: Vec<String> = [count(errors, "error"), count(warnings, "warning")].into_iter().flatten().collect();
    let mut message = if errors == 0 { "applied".to_owned() } else { String::new() };
    if !found.is_empty() {
        let separator = if message.is_empty() { "" } else { "; " };
        let _ = write!(message, "{separator}{}: ", counts.join(", "));
        let texts: Vec<String> = found.iter().take(NAMED).map(|one| text(one)).collect();
        message.push_str(&texts.join("; "));
        if found.len() > NAMED {
            let _ = write!(message, "; and {} more", found.len() - NAMED);
        }
        if let Some((at, _)) = message.char_indices().nth(LONGEST) {
            message.truncate(at);
            message.push('…');
        }
    }
    let message_of = |one: &&Diagnostic| StatusMessage {
        code: one.code,
        name: name(one.code),
        severity: one.severity,
        url: documentation(env!("CARGO_PKG_REPOSITORY")),
    };
    let messages: BTreeSet<StatusMessage> = found.iter().map(message_of).collect();
    Status {
        reconciled: errors == 0,
        reason: if errors == 0 { "Applied" } else { "Invalid" },
        message,
        messages: messages.into_iter().collect(),
        always,
    }
}

fn text(one: &Diagnostic) -> String {
    let field = if one.field.is_empty() { String::new() } else { format!("{}: ", one.field) };
    format!("{} {field}{}", one.code, one.message)
}

/// The page of the codes; `None` where the program does not know where its repository is published.
fn documentation(repository: &str) -> Option<String> {
    (!repository.is_empty()).then(|| format!("{repository}/blob/main/{DOCUMENTATION}"))
}

/// The name of a code in Istio's manner: `WRONG_VALUE` is `WrongValue`.
fn name(code: &str) -> String {
    let constant = resources::code::name(code).or_else(|| compiler::code::name(code)).or_else(|| own_name(code));
    let mut name = String::new();
    for word in constant.unwrap_or(code).split('_') {
        let mut chars = word.chars();
        name.extend(chars.next());
        name.extend(chars.map(|c| c.to_ascii_lowercase()));
    }
    name
}

/// Names of the codes of this crate.
fn own_name(code: &str) -> Option<&'static str> {
    Some(match code {
        "MG9001" => "CANNOT_LISTEN",
        "MG9002" => "NO_LISTENER",
        "MG9003" => "NO_GATEWAY",
        "MG9004" => "NOT_APPLIED",
        "MG9005" => "NO_OWN_GATEWAY",
        "MG9030" => "NAME_UNRESOLVED",
        "MG9031" => "KEYS_UNAVAILABLE",
        "MG9040" => "CERTIFICATE_EXPIRED",
        "MG9041" => "CERTIFICATE_NOT_YET_VALID",
        "MG9042" => "CERTIFICATE_ENDS_SOON",
        "MG9043" => "REVOCATION_LIST_OUT_OF_DATE",
        "MG9044" => "REVOCATION_LIST_ENDS_SOON",
        "MG9045" => "STAPLE_OUT_OF_DATE",
        "MG9046" => "STAPLE_ENDS_SOON",
        "MG9047" => "NO_AUTHORITIES",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
