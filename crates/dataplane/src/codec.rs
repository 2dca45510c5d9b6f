//! The two sides of an exchange: [`Downstream`], the client, and [`UpstreamStream`], the backend. `http` and `tcp` call it.

pub(crate) mod chunks;
mod downstream;
mod read;
pub(crate) mod splice;
mod stream_trailers;
mod streams;
mod upstream;

pub(crate) use downstream::{ClientReset, Downstream, H2Downstream};
pub(crate) use read::{read, read_some};
pub(crate) use stream_trailers::Trailers;
pub(crate) use streams::{Halves, Piece, Receiver, Sender};
pub(crate) use upstream::{H2Upstream, UpstreamStream};
