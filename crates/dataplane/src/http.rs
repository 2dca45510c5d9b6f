//! HTTP: from a connection of a client to the responses on it. `entry` calls it.

mod affinity;
mod attempt;
mod attempts;
mod authorization;
mod body_queue;
mod client;
mod connect;
mod decide;
mod destination;
mod exchange;
mod facts;
mod filters;
mod forward;
mod local;
mod mirror;
mod multiplexed;
mod plan;
mod prepared;
mod received_request;
mod record;
mod reply;
mod request_head;
mod retry;
mod server;
mod tunnel;
mod websocket;

pub(crate) use client::ClientConnection;
pub(crate) use server::serve;
