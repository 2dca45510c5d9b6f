//! The filters of an exchange. `pipeline` has their order; each that waits or sends has a module of its own, and the decisions are in `routing`.

mod amended;
mod authentication;
mod body;
mod ext_authz;
mod fault;
mod pipeline;
mod proxy_user;
mod result;

pub(super) use pipeline::{GateOutcome, ask_and_decide, decide_at_gate, run_route_filters};
