//! Both sides of an exchange: [`Downstream`], the client, and [`Upstream`], the backend. `http` and `tcp` call it, and only `codec` knows which
//! version of HTTP either side speaks.
//!
//! A head is received by [`Upstream::poll_head`], a body by `poll_data` as [`Piece`]s. What is sent waits in a [`SendBuffer`], which `poll_send`
//! writes. [`Splice`] moves large bodies in the kernel, and [`Tunnel`] relays octets in both directions.

mod chunks;
mod downstream;
mod grpc_web;
mod head;
mod own_request;
mod pace;
mod post_tunnel;
mod read;
mod receive;
mod reset;
mod send;
mod splice;
mod stream_trailers;
mod streams;
mod tunnel;
mod upstream;

pub(crate) use downstream::{ClientAccounts, Downstream, ImpliedTunnel};
pub(crate) use grpc_web::GrpcWebResponse;
pub(crate) use own_request::{Destination, OpenError, OwnHead, OwnResponse};
pub(crate) use pace::Pace;
pub(crate) use post_tunnel::PostTunnel;
pub(crate) use read::read;
pub(crate) use receive::{Piece, ReceiveError, Received, Trailers};
pub(crate) use reset::{ClientReset, ResetCode, until_reset};
pub(crate) use send::{BodyFraming, SendBuffer};
pub(crate) use splice::{Splice, TransferError};
pub(crate) use stream_trailers::UnreadTrailers;
pub(crate) use streams::Receiver;
pub(crate) use tunnel::{Tunnel, TunnelClient};
pub(crate) use upstream::{HeadInput, Upstream};
