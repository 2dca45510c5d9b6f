//! Istio's kinds: Gateway and VirtualService.

pub(crate) mod auto_passthrough;
mod delegates;
pub(crate) mod gateway;
pub(crate) mod l4;
pub(crate) mod routes;
