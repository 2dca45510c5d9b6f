//! Everything that compiling one object or one join may look at: the set, the settings, the reverse indexes, and the
//! certificates that were read.

use crate::index::Index;
use crate::pairs::Pairs;
use crate::settings::{Settings, Workload};
use resources::set::ResourceSet;

/// What is looked at; never changed while something is compiled.
#[derive(Clone, Copy)]
pub(crate) struct CompileContext<'a> {
    pub(crate) set: &'a ResourceSet,
    pub(crate) settings: &'a Settings,
    pub(crate) index: &'a Index,
    pub(crate) pairs: &'a Pairs,
}

impl<'a> CompileContext<'a> {
    /// The cluster's domain.
    pub(crate) fn domain(&self) -> &'a str {
        &self.settings.domain
    }

    /// The workloads in their order.
    pub(crate) fn workloads(&self) -> &'a [Workload] {
        &self.settings.workloads
    }
}
