//! HTTP: from a connection of a client to the responses on it. `entry` calls it.

mod affinity;
mod attempt;
mod attempt_count;
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
mod upstream_stream;
mod websocket;

pub(crate) use downstream::Downstream;
pub(crate) use server::{ClientConnection, serve};
pub(crate) use streams::Halves;
pub(crate) use upstream_stream::H2Upstream;
