//! HTTP: from a connection of a client to the answers on it. `entry` hands connections in.

mod affinity;
mod attempt;
mod backend;
mod decide;
mod downstream;
mod exchange;
mod facts;
mod fault;
mod flow;
mod local;
mod mirror;
mod multiplexed;
mod record;
mod reply;
mod retry;
mod server;
mod streams;
mod tunnel;
mod websocket;

pub(crate) use backend::H2Backend;
pub(crate) use downstream::Downstream;
pub(crate) use server::{ClientConnection, serve};
pub(crate) use streams::Halves;
