//! Istio's kinds: Gateway and VirtualService.

pub(crate) mod auto_passthrough;
mod delegates;
pub(crate) mod first_hop;
mod forward_proxy;
pub(crate) mod gateway;
mod l4;
pub(crate) mod references;
mod refusal;
mod routes;
pub(crate) mod virtual_service;

pub(crate) use routes::has_claims;
