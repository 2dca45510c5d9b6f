//! What is kept between two compilations, and the steps from one to the next.

mod bindings;
mod cluster_notes;
mod clusters;
mod dirty;
mod findings;
mod invalidate;
mod listeners;
mod policies;
mod proxies;
mod servers;
mod state;
mod step;
mod tables;

use crate::compiled::Compiled;
use crate::frontends::Implied;
use crate::localities;
use crate::settings::Settings;
use ir::Delta;
use resources::set::ResourceSet;
use state::State;
use std::sync::Arc;
use step::Step;

/// What a compilation leaves for the next. The default knows nothing.
#[derive(Debug, Default)]
pub struct Memo {
    state: Option<Box<State>>,
    implied: Implied,
}

impl Memo {
    /// One compilation.
    pub(crate) fn advance(&mut self, set: &ResourceSet, settings: &Settings) -> Compiled {
        let settings = &*localities::located(set, settings);
        let (mut state, fresh) = match self.state.take().filter(|state| state.precedes(set, settings)) {
            Some(mut state) => {
                state.relocate(settings);
                (state, false)
            }
            None => (Box::new(State::new(settings.clone())), true),
        };
        let Step { changes, work } = state.step(&self.implied.lower(set, settings, fresh), fresh);
        let compiled = Compiled {
            snapshot: Arc::new(state.snapshot()),
            report: state.report().clone(),
            delta: Delta { changes: (!fresh).then_some(changes) },
            work,
        };
        self.state = Some(state);
        compiled
    }
}
