//! The filters of an exchange. `pipeline` has their order; each has a module of its own that waits and sends, and its decisions are in `routing`.

pub(super) mod authentication;
pub(super) mod ext_authz;
mod fault;
mod pipeline;
mod verdict;

pub(super) use pipeline::run_route_filters;
