//! The parts of connections and the state that a worker shares among them: buffers, pipes, timers, budgets, and the listener as connections see
//! it. Nothing here depends on HTTP; `http`, `accept` and the control side build on it.

mod addresses;
mod admission;
mod budget;
mod buffer;
mod catch;
mod choose;
mod client;
mod client_hello;
mod drain;
mod eviction;
mod exchange_buffers;
mod external_gate;
mod held_body;
mod listener;
mod notices;
mod pipe;
mod policies;
mod relay;
mod service;
mod timers;
mod tracker;
mod worker;

pub(crate) use addresses::Addresses;
pub use addresses::TrustedProxies;
pub(crate) use admission::Admission;
pub(crate) use budget::{Account, Budget, BudgetExceeded, Charge, HeldOctets, MIN_PER_STREAM, StreamShare};
pub(crate) use buffer::Buffer;
pub(crate) use catch::catch;
pub(crate) use choose::choose;
pub(crate) use client::{Client, ClientEnds, ClientTls};
pub(crate) use client_hello::{NoHello, poll_client_hello};
pub(crate) use drain::{AcceptCount, Accepting, Drain};
pub(crate) use exchange_buffers::{EarlyPick, ExchangeBuffers, MAX_KEPT_OUTPUT};
pub(crate) use external_gate::ExternalGate;
pub(crate) use held_body::{HeldBody, HeldBodyBuffer, HeldPiece, ReceivedBody, take_held};
pub(crate) use listener::{ListenerPermit, ListenerState, Services};
pub(crate) use notices::Notice;
pub(crate) use pipe::{Pipe, PipeError, PipeStep};
pub(crate) use policies::Policies;
pub(crate) use relay::{Duplex, RelayBounds, RelayEnd, Relayed, relay};
pub(crate) use service::{Service, TableState, TableVersion, TlsService, by_origin, retire};
pub(crate) use timers::Timer;
pub(crate) use tracker::{Stage, Tracked};
pub(crate) use worker::{Process, Worker};
