//! The data plane over real sockets, with backends and clients that misbehave. Every wait is for a condition and has a bound; no
//! port is fixed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, and what they share, fail by panics"
)]

mod affinity;
mod arrivals;
mod backend;
mod bodies;
mod budgets;
mod certificates;
mod client;
mod control;
mod edge;
mod encodings;
mod evasions;
mod ext_authz;
mod ext_authz_bodies;
mod ext_authz_connections;
mod ext_authz_routes;
mod failures;
mod faults;
mod floods;
mod forwarding;
mod frames;
mod framing;
mod gateway;
mod grpc;
mod headers;
mod hostile;
mod http10;
mod malformed;
mod mirrors;
mod multiplexed;
mod observe;
mod outliers;
mod overflow;
mod policies;
mod proxied;
mod raw;
mod replay;
mod retries;
mod secured;
mod sessions;
mod settings;
mod slow_backends;
mod streams;
mod stricter;
mod switching;
mod tokens;
mod translations;
mod trickle;
mod tunnels;
mod uploads;
