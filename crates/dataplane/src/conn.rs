//! What connections are made of and what those of one worker share: buffers, pipes, deadlines, the time, and the listener as they
//! see it. Nothing here speaks HTTP; `http`, `accept` and the control side stand on it.

mod budget;
mod buffer;
mod catch;
mod choose;
mod client;
mod drain;
mod listener;
mod pipe;
mod relay;
mod service;
mod space;
mod timers;
mod worker;

pub(crate) use budget::{Account, Budget, Charge, InHand, OF_EACH_STREAM, Over, Share};
pub(crate) use buffer::Buffer;
pub(crate) use catch::catch;
pub(crate) use choose::choose;
pub(crate) use client::{Client, Secured};
pub(crate) use drain::{AcceptCount, Accepting, Drain};
pub(crate) use listener::{ListenerState, Services};
pub(crate) use pipe::Pipe;
pub(crate) use relay::{Duplex, relay};
pub(crate) use service::{Service, TableState, TlsService, retire};
pub(crate) use space::{KEPT_OUT, Space};
pub(crate) use timers::Timer;
pub(crate) use worker::Worker;
