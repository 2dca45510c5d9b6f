//! What is kept between two compilations, and the steps from one to the next. A first compilation takes the same steps with
//! everything changed, so that there is one way to compile, not two.

mod cluster_notes;
mod clusters;
mod dirty;
mod findings;
mod invalidate;
mod listeners;
mod state;
mod tables;

use crate::binding::{self, Binding, Bound};
use crate::compiled::Compiled;
use crate::context::CompileContext;
use crate::frontends::istio::auto_passthrough::{self, Implied};
use crate::frontends::istio::gateway;
use crate::mesh_settings;
use crate::report::Notes;
use crate::settings::Settings;
use dirty::Dirty;
use ir::{Changes, Delta};
use resources::key::{Key, Kind};
use resources::set::{Object, ResourceSet};
use resources::spec::virtual_service::VirtualService;
use state::State;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a compilation leaves for the next. The default knows nothing.
#[derive(Debug, Default)]
pub struct Memo {
    state: Option<Box<State>>,
    implied: Implied,
}

impl Memo {
    /// One compilation.
    pub(crate) fn advance(&mut self, set: &ResourceSet, settings: &Settings) -> Compiled {
        let (mut state, fresh) = match self.state.take().filter(|state| state.precedes(set, settings)) {
            Some(state) => (state, false),
            None => {
                let mesh_settings = Arc::new(mesh_settings::compile(settings));
                (Box::new(State { settings: settings.clone(), mesh_settings, ..State::default() }), true)
            }
        };
        let changes = state.step(&self.implied.lower(set, settings, fresh), fresh);
        let compiled = Compiled {
            snapshot: Arc::new(state.snapshot.clone()),
            report: state.report.clone(),
            delta: Delta { changes: (!fresh).then_some(changes) },
        };
        self.state = Some(state);
        compiled
    }
}

impl State {
    fn precedes(&self, set: &ResourceSet, settings: &Settings) -> bool {
        self.set.generation.checked_add(1) == Some(set.generation) && self.settings == *settings
    }

    /// From the set before to `set`, in the order of what depends on what.
    fn step(&mut self, set: &ResourceSet, fresh: bool) -> Changes {
        let mut changes = Changes::default();
        let mut dirty = Dirty::default();
        self.report.begin();
        let before = std::mem::replace(&mut self.set, set.clone());
        if fresh {
            invalidate::apply_all(self, &mut dirty);
        } else {
            set.changed.iter().for_each(|object| invalidate::apply(self, &before, object, &mut dirty));
            set.changed_files.iter().for_each(|path| invalidate::apply_file(self, path, &mut dirty));
        }
        if dirty.gateways {
            self.plan_listeners(&mut dirty);
        }
        self.users_of_dirty_hosts(&mut dirty);
        self.roots_of_dirty_delegates(&mut dirty);
        if fresh {
            self.bound.reserve(set.virtual_services.size());
            set.virtual_services.iter().for_each(|(key, object)| self.bind(key, Some(object), &mut dirty));
        } else {
            for key in std::mem::take(&mut dirty.virtual_services) {
                self.bind(&key, set.virtual_services.get(&key), &mut dirty);
            }
        }
        self.open_listeners(&mut dirty, &mut changes);
        self.fill_tables(&mut dirty, &mut changes);
        self.build_clusters(&mut dirty, &mut changes);
        self.remark(&dirty);
        sort(&mut changes);
        changes
    }

    fn context(&self) -> CompileContext<'_> {
        CompileContext { set: &self.set, settings: &self.settings, index: &self.index }
    }

    /// Plans the listeners, and marks every VirtualService that names a Gateway for which something is different.
    fn plan_listeners(&mut self, dirty: &mut Dirty) {
        let plans = gateway::plan(self.context());
        let mut names: BTreeSet<Arc<str>> = tables::differing_gateways(&self.plans, &plans);
        names.append(&mut dirty.gateway_names);
        for name in &names {
            dirty.virtual_services.extend(self.index.naming_gateway(name).cloned());
        }
        for gone in self.plans.notes.keys().filter(|key| !plans.notes.contains_key(*key)) {
            self.report.set(Kind::Gateway, gone, Default::default());
        }
        self.touch_redirects(dirty);
        let before = std::mem::replace(&mut self.plans, plans);
        self.touch_redirects(dirty);
        dirty.listeners.extend(before.listeners.into_keys().chain(self.plans.listeners.keys().cloned()));
        dirty.gateway_notes.extend(self.plans.notes.keys().cloned());
    }

    fn users_of_dirty_hosts(&self, dirty: &mut Dirty) {
        for host in &dirty.hosts {
            if let Some(entry) = self.index.host(host) {
                dirty.virtual_services.extend(entry.users.as_slice().iter().cloned());
            }
        }
    }

    /// What a delegate says, its roots say.
    fn roots_of_dirty_delegates(&self, dirty: &mut Dirty) {
        let roots = dirty.virtual_services.iter().flat_map(|key| self.index.delegating_to(key));
        let roots: Vec<Key> = roots.cloned().collect();
        dirty.virtual_services.extend(roots);
    }

    /// Binds one VirtualService anew. What comes out as before is left as it is, down to the pointers.
    fn bind(&mut self, key: &Key, object: Option<&Arc<Object<VirtualService>>>, dirty: &mut Dirty) {
        let Binding { bound, l4, notes } = match object {
            Some(object) => binding::bind(self.context(), &self.plans, object),
            None => Binding::default(),
        };
        // What is implied was written by nobody.
        let notes = if auto_passthrough::is_implied(key) { Notes::default() } else { notes };
        self.report.set(Kind::VirtualService, key, notes);
        let before = self.bound.remove(key).unwrap_or_default();
        let bound: Box<[Bound]> = bound.into_iter().map(|bound| reuse(bound, &before)).collect();
        self.touch_hosts(key, &before, &bound, dirty);
        let l4_before = self.l4.remove(key).unwrap_or_default();
        if *l4_before != *l4 {
            let both = l4_before.iter().chain(&l4);
            dirty.listeners.extend(both.map(|l4| Arc::clone(&l4.listener)));
        }
        self.count_clusters((&before, &l4_before), (&bound, &l4), dirty);
        if !bound.is_empty() {
            self.bound.insert(key.clone(), bound);
        }
        if !l4.is_empty() {
            self.l4.insert(key.clone(), l4.into());
        }
    }
}

/// With the routes of before where they are equal.
fn reuse(mut bound: Bound, before: &[Bound]) -> Bound {
    if let Some(same) = before.iter().find(|old| old.routes == bound.routes) {
        bound.routes = Arc::clone(&same.routes);
    }
    bound
}

fn sort(changes: &mut Changes) {
    changes.listeners.sort_unstable();
    changes.listeners.dedup();
    changes.tables.sort_unstable();
    changes.tables.dedup();
    changes.hosts.sort_unstable();
    changes.hosts.dedup();
    changes.clusters.sort_unstable();
    changes.clusters.dedup();
}
