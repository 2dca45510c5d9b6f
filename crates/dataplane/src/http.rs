//! HTTP/1.1: from a connection of a client to the answers on it. `accept` hands connections in.

pub(crate) mod exchange;
mod flow;
mod record;
pub(crate) mod reply;
pub(crate) mod server;
mod tunnel;
