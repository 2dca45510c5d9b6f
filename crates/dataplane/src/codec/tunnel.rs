//! A tunnel: octets in both directions, until both have ended. Exchanges call it after a switch of protocols (S-118, S-125), and `tcp` for
//! connections.

use super::post_tunnel::PostTunnel;
use super::upstream::Upstream;
use crate::conn::{Buffer, Duplex, RelayBounds, RelayEnd, Relayed, Timer, Worker, relay};
use ::upstream::EndpointState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The backend's side of a tunnel, ready for octets.
pub(crate) struct Tunnel {
    end: TunnelEnd,
    /// Octets that were already received from the backend.
    received: Buffer,
}

/// How octets are sent to the backend.
enum TunnelEnd {
    /// As they are, after a switch of protocols or on a connection of their own; on a stream in frames.
    Open(Upstream),
    /// In the bodies of a request and its response in HTTP/1.
    Post(Box<PostTunnel>),
}

/// The client's side of a tunnel.
pub(crate) struct TunnelClient<'a, D> {
    pub(crate) peer: &'a mut D,
    /// Octets that were already received from the client.
    pub(crate) received: &'a mut Buffer,
    pub(crate) timer: &'a Timer,
    /// How long nothing may move.
    pub(crate) idle_timeout: Option<Duration>,
}

impl Tunnel {
    /// A tunnel over a connection or a stream.
    pub(crate) fn open(up: Upstream, received: Buffer) -> Self {
        Self { end: TunnelEnd::Open(up), received }
    }

    /// A tunnel in the bodies of a request and its response. `received` is an empty buffer.
    pub(crate) fn post(post: PostTunnel, received: Buffer) -> Self {
        Self { end: TunnelEnd::Post(Box::new(post)), received }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        match &self.end {
            TunnelEnd::Open(up) => up.endpoint(),
            TunnelEnd::Post(post) => &post.connection.endpoint,
        }
    }

    /// The local address, if there is one.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &self.end {
            TunnelEnd::Open(up) => up.local_address(),
            TunnelEnd::Post(post) => post.connection.stream.local_address(),
        }
    }

    /// When the maximum lifetime of the connection ends (DR-20).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.end {
            TunnelEnd::Open(up) => up.deadline(),
            TunnelEnd::Post(post) => post.connection.deadline(),
        }
    }

    /// Relays to the end, and at most until `deadline`.
    pub(crate) async fn run(
        &mut self,
        worker: &Worker,
        client: TunnelClient<'_, impl Duplex>,
        deadline: Option<Instant>,
    ) -> Relayed {
        let TunnelClient { peer, received, timer, idle_timeout } = client;
        let client = RelayEnd { peer, received };
        let bounds = RelayBounds { timer, idle_timeout, deadline };
        let received = &mut self.received;
        match &mut self.end {
            TunnelEnd::Open(peer) => relay(worker, client, RelayEnd { peer, received }, bounds).await,
            TunnelEnd::Post(peer) => relay(worker, client, RelayEnd { peer: &mut **peer, received }, bounds).await,
        }
    }
}
