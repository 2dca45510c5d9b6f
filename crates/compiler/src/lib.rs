//! Resources to a snapshot and a report: pure, total, deterministic. Bad configuration is never an error here; it is an
//! explicit failing route or a reported loser, and degrades only itself.
//!
//! [`compile`] is called by the program's pipeline with each new [`ResourceSet`](resources::set::ResourceSet). The [`Memo`]
//! between two calls makes the cost of a change follow the change; without it everything is compiled, with the same result.
//!
//! Modules, lowest first: names, order, settings and reports (`code`, `settings`, `mesh_settings`, `fast`, `report`, `visibility`, `order`,
//! `names`, `texts`, `hosts`), the indexes (`index`, `context`), what TLS needs (`credentials`, `tls_parameters`), what is behind destinations
//! (`services`, `destination_rules`, `localities`, `endpoints`, `destinations`, `balance`, `clusters`), findings about single objects (`lints`,
//! `policies`), plans that know no dialect (`plan`), the front ends that make them, one for each dialect (`frontends`), and the steps from one
//! compilation to the next with what is kept between them (`incremental`).

mod balance;
mod clusters;
pub mod code;
mod compiled;
mod context;
mod credentials;
mod destination_rules;
mod destinations;
mod endpoints;
mod fast;
mod frontends;
mod hosts;
mod incremental;
mod index;
mod lints;
mod localities;
mod mesh_settings;
mod names;
mod order;
mod pairs;
mod plan;
mod policies;
mod report;
mod services;
mod settings;
mod spoken;
mod texts;
mod tls_parameters;
mod visibility;

pub use compiled::{Compiled, Work};
pub use incremental::Memo;
pub use names::gateway as named_gateway;
pub use report::Report;
pub use settings::{Settings, Workload};

/// Compiles a set. `memo` is what the call before left, and is used when `set` is the one right after that call's set and the
/// settings are the same; otherwise everything is compiled anew, and the delta says so.
pub fn compile(set: &resources::set::ResourceSet, settings: &Settings, memo: &mut Memo) -> Compiled {
    memo.advance(set, settings)
}

#[cfg(test)]
mod tests;
