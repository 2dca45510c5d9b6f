//! HTTP/1.1: from a connection of a client to the answers on it. `accept` hands connections in.

mod attempt;
mod decide;
mod exchange;
mod flow;
mod local;
mod record;
mod reply;
pub(crate) mod server;
mod tunnel;
