//! HTTP: from a connection of a client to the responses on it. `entry` calls it.

mod affinity;
mod attempt;
mod attempt_count;
mod body_queue;
mod client;
mod decide;
mod direct;
mod downstream;
mod exchange;
mod facts;
mod fault;
mod flow;
mod local;
mod mirror;
mod multiplexed;
mod pieces;
mod record;
mod reply;
mod retry;
mod server;
mod stream_trailers;
mod streams;
mod tunnel;
mod upstream_stream;
mod websocket;

pub(crate) use client::ClientConnection;
pub(crate) use downstream::Downstream;
pub(crate) use server::serve;
pub(crate) use streams::Halves;
pub(crate) use upstream_stream::H2Upstream;
