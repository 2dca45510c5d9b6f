//! What the last compilation found, and the step to the next: each part brings itself up to date by one method, in the order of what
//! depends on what, and says what that makes different for those behind it.

use super::bindings::{Bindings, Source};
use super::clusters::{self, Clusters};
use super::dirty::Dirty;
use super::findings::{self, Different};
use super::invalidate::{self, Dependencies};
use super::listeners::Listeners;
use super::policies::WorkloadPolicies;
use super::proxies::Proxies;
use super::servers::{Difference, Replanned, Servers};
use super::step::Step;
use super::tables::{Parts, Tables, Touched};
use crate::compiled::Work;
use crate::context::CompileContext;
use crate::frontends;
use crate::index::Index;
use crate::mesh_settings;
use crate::pairs::Pairs;
use crate::plan::bindings::Binding;
use crate::report::Report;
use crate::settings::Settings;
use ir::{ClusterId, ListenerId, Snapshot, WorkloadName};
use resources::key::{Kind, ObjectRef};
use resources::set::ResourceSet;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything that the last compilation found. Each part belongs to its own step.
#[derive(Debug, Default)]
pub(super) struct State {
    set: ResourceSet,
    settings: Settings,
    index: Index,
    pairs: Pairs,
    servers: Servers,
    bindings: Bindings,
    policies: WorkloadPolicies,
    proxies: Proxies,
    listeners: Listeners,
    tables: Tables,
    clusters: Clusters,
    /// The workloads that have servers whose bytes are passed on.
    tcp: BTreeSet<WorkloadName>,
    report: Report,
    /// Whether workloads are elsewhere than in the last compilation.
    is_relocated: bool,
}

/// What the binding of objects makes different.
#[derive(Default)]
struct Rebinding {
    hosts: Touched,
    listeners: BTreeSet<Arc<ListenerId>>,
    clusters: Vec<ClusterId>,
}

impl State {
    /// Of nothing yet.
    pub(super) fn new(settings: Settings) -> Self {
        let listeners = Listeners::new(mesh_settings::compile(&settings));
        Self { settings, listeners, ..Self::default() }
    }

    /// Whether `set` is the one right after that of this state, under settings that differ in where the workloads are at most.
    pub(super) fn precedes(&self, set: &ResourceSet, settings: &Settings) -> bool {
        self.set.generation.checked_add(1) == Some(set.generation) && self.settings.are_alike_elsewhere(settings)
    }

    /// The workloads are where `settings` have them: nothing but clusters, and what is reported of DestinationRules, depends on it.
    pub(super) fn relocate(&mut self, settings: &Settings) {
        if self.settings != *settings {
            (self.settings, self.is_relocated) = (settings.clone(), true);
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            listeners: self.listeners.map().clone(),
            tables: self.tables.map().clone(),
            clusters: self.clusters.map().clone(),
        }
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// From the set before to `set`. A first compilation takes the same steps with everything changed, so that there is one way to compile,
    /// not two.
    pub(super) fn step(&mut self, set: &ResourceSet, fresh: bool) -> Step {
        let mut step = Step::default();
        self.report.begin();
        let mut dirty = self.invalidate(set, fresh);
        let is_relocated = std::mem::take(&mut self.is_relocated);
        if is_relocated {
            dirty.clusters.extend(self.clusters.map().keys().cloned());
        }
        let context =
            CompileContext { set: &self.set, settings: &self.settings, index: &self.index, pairs: &self.pairs };
        let replanned = self.servers.replan(context, &dirty, &mut step.work);
        let mut sources = std::mem::take(&mut dirty.sources);
        if fresh {
            self.bindings.reserve(sources.len());
        } else {
            self.add_concerned(&mut sources, &replanned);
        }
        let demanding = self.policies.compile(context, &dirty, &mut step);
        let mut rebinding = self.rebind(&sources, &mut step.work);
        clusters::count_uses(&mut self.index, &demanding.clusters, &mut rebinding.clusters);
        let context =
            CompileContext { set: &self.set, settings: &self.settings, index: &self.index, pairs: &self.pairs };
        let proxied = self.proxies.compile(context, self.servers.plans(), &dirty, &replanned.listeners);
        clusters::count_uses(&mut self.index, &proxied.clusters, &mut rebinding.clusters);
        rebinding.listeners.extend(proxied.listeners);
        for (table, host) in replanned.redirects {
            rebinding.hosts.entry(table).or_default().push(host);
        }
        rebinding.listeners.extend(replanned.listeners);
        let parts = Parts {
            settings: &self.settings,
            plans: self.servers.plans(),
            bindings: &self.bindings,
            policies: &self.policies,
            proxies: &self.proxies,
        };
        let mut gateways = self.listeners.assemble(parts, rebinding.listeners, &mut self.tables, &mut step);
        self.listeners.demand(&demanding.workloads, &self.policies, &mut step);
        self.tables.fill(parts, rebinding.hosts, &mut step);
        gateways.extend(replanned.findings);
        self.report_gateways(gateways);
        let clusters = self.dirty_clusters(&mut dirty, rebinding.clusters);
        let context =
            CompileContext { set: &self.set, settings: &self.settings, index: &self.index, pairs: &self.pairs };
        let mut rules = self.clusters.build(context, &clusters, &mut step);
        if is_relocated {
            rules.extend(self.set.destination_rules.keys().cloned());
        }
        let tcp_differs = !step.changes.listeners.is_empty() && {
            let tcp = self.listeners.with_tcp_servers();
            let before = std::mem::replace(&mut self.tcp, tcp);
            before != self.tcp
        };
        let (tcp, dirty) = (&self.tcp, &dirty);
        let (policies, noted) = (&self.policies, &demanding.noted);
        let different = Different { dirty, clusters: &clusters, rules: &rules, tcp, tcp_differs, policies, noted };
        findings::report(context, &self.clusters, different, &mut self.report);
        step.sorted()
    }

    /// Takes over `set`, brings the indexes up to date, and returns what has to be looked at again.
    fn invalidate(&mut self, set: &ResourceSet, fresh: bool) -> Dirty {
        let before = std::mem::replace(&mut self.set, set.clone());
        let secrets = set.changed.iter().filter(|object| object.kind == Kind::Secret);
        secrets.for_each(|secret| self.pairs.forget(&secret.key));
        if fresh {
            return invalidate::everything(set, &self.settings, &mut self.index);
        }
        let mut dependencies = Dependencies {
            before: &before,
            set,
            settings: &self.settings,
            index: &mut self.index,
            servers: &self.servers,
            clusters: &self.clusters,
        };
        dependencies.changed()
    }

    /// Adds the objects with routes that Gateways are different for, and those that put rules of these or of `sources` in.
    fn add_concerned(&self, sources: &mut BTreeSet<Arc<ObjectRef>>, replanned: &Replanned) {
        for name in &replanned.names {
            sources.extend(self.index.naming_namesakes(name).cloned());
        }
        for (gateway, difference) in &replanned.gateways {
            sources.extend(self.concerned(gateway, difference).cloned());
        }
        self.add_first_hops(sources, replanned);
        invalidate::add_roots(&self.index, sources);
    }

    /// Adds the objects by which sidecars alone send to a workload, where its servers began or ceased to have one of their hosts.
    fn add_first_hops(&self, sources: &mut BTreeSet<Arc<ObjectRef>>, replanned: &Replanned) {
        if replanned.gateways.is_empty() {
            return;
        }
        let context =
            CompileContext { set: &self.set, settings: &self.settings, index: &self.index, pairs: &self.pairs };
        let hosts: Option<Vec<_>> = replanned.gateways.values().map(Difference::hosts).collect();
        let services = context.workloads().iter().filter_map(|one| frontends::service_host(one, context.domain()));
        for service in services.collect::<BTreeSet<_>>() {
            let senders = self.index.host(&service).map_or(&[][..], |entry| entry.users.as_slice());
            let is_concerned = |source: &&Arc<ObjectRef>| {
                frontends::is_for_sidecars(context, source)
                    && hosts.as_ref().is_none_or(|hosts| {
                        let own = frontends::hosts(context, source);
                        hosts.iter().any(|hosts| hosts.overlaps(&own))
                    })
            };
            sources.extend(senders.iter().filter(is_concerned).cloned());
        }
    }

    /// The objects with routes for which it makes a difference how a Gateway is different. Of hosts that came or went, only those that
    /// overlap: whatever an object binds to otherwise is the same, and of one that binds with all its hosts no finding names the Gateway's.
    fn concerned<'a>(
        &'a self,
        gateway: &ObjectRef,
        difference: &Difference,
    ) -> impl Iterator<Item = &'a Arc<ObjectRef>> {
        let hosts = difference.hosts();
        let context =
            CompileContext { set: &self.set, settings: &self.settings, index: &self.index, pairs: &self.pairs };
        self.index.naming(gateway).filter(move |source| {
            let Some(hosts) = &hosts else { return true };
            self.bindings.has_l4(source)
                || !self.report.of(source).is_empty()
                || hosts.overlaps(&frontends::hosts(context, source))
        })
    }

    /// Binds objects with routes anew.
    fn rebind(&mut self, sources: &BTreeSet<Arc<ObjectRef>>, work: &mut Work) -> Rebinding {
        let mut rebinding = Rebinding::default();
        sources.iter().for_each(|source| self.bind(source, &mut rebinding, work));
        rebinding
    }

    /// Binds one. Its clusters are counted at once, so that the next one shares their names.
    fn bind(&mut self, source: &Arc<ObjectRef>, rebinding: &mut Rebinding, work: &mut Work) {
        work.sources += 1;
        let context =
            CompileContext { set: &self.set, settings: &self.settings, index: &self.index, pairs: &self.pairs };
        let Binding { created, bound, l4, notes } = frontends::bind(context, self.servers.plans(), source);
        self.report.set(source.kind, &source.key, notes);
        let rebound = self.bindings.put(source, Source::new(created, bound), Source::new(created, l4));
        clusters::count(&mut self.index, self.bindings.targets(source, &rebound), &mut rebinding.clusters);
        for (table, host) in rebound.hosts {
            rebinding.hosts.entry(table).or_default().push(host);
        }
        rebinding.listeners.extend(rebound.listeners);
    }

    /// The clusters that may be different: those of dirty hosts, those whose certificates are dirty, and `different`.
    fn dirty_clusters(&self, dirty: &mut Dirty, different: Vec<ClusterId>) -> Vec<ClusterId> {
        let mut ids = different;
        ids.append(&mut dirty.clusters);
        for entry in dirty.hosts.iter().chain(&dirty.endpoints).filter_map(|host| self.index.host(host)) {
            ids.extend(entry.clusters().cloned());
        }
        // In order: neighbours in the map are neighbours in memory.
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn report_gateways(&mut self, gateways: BTreeSet<ObjectRef>) {
        for gateway in gateways {
            let found = self.servers.findings(&gateway, |id| self.listeners.findings(id, &gateway));
            self.report.set(gateway.kind, &gateway.key, found);
        }
    }
}
