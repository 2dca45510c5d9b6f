//! The upstream of a TCP connection: a connection, or a tunnel.

use super::connection::TcpConnection;
use super::post_tunnel::PostTunnel;
use crate::codec::{H2Upstream, Halves};
use crate::conn::{Buffer, Worker, relay};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use upstream::{Connection, Counted, EndpointState};

/// An open path to an endpoint.
pub(super) struct UpstreamPath {
    pub(super) up: TcpUpstream,
    /// Octets that were already received from it.
    pub(super) back: Buffer,
    /// Its count among the cluster's requests, for a tunnel.
    pub(super) _counted: Option<Counted>,
}

/// The connection or stream to the endpoint.
pub(super) enum TcpUpstream {
    /// Raw octets; in a tunnel, after the heads of CONNECT.
    Bare(Connection),
    /// The bodies of a request and its answer.
    PostTunnel(Box<PostTunnel>),
    /// A stream of HTTP/2.
    Stream(Box<H2Upstream>),
}

impl TcpUpstream {
    fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Bare(connection) => Some(connection),
            Self::PostTunnel(post) => Some(&post.connection),
            Self::Stream(_) => None,
        }
    }

    /// The endpoint.
    pub(super) fn endpoint(&self) -> Option<&Arc<EndpointState>> {
        match self {
            Self::Stream(stream) => Some(stream.endpoint()),
            Self::Bare(_) | Self::PostTunnel(_) => self.connection().map(|connection| &connection.endpoint),
        }
    }

    /// The local address, if there is one.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Stream(stream) => stream.local,
            Self::Bare(_) | Self::PostTunnel(_) => self.connection()?.stream.local_address(),
        }
    }

    /// When its maximum lifetime ends (DR-20). The connection of a stream accepts no further streams then, and closes after the last.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.connection()?.deadline()
    }
}

impl UpstreamPath {
    /// Relays to the end; returns the octets sent to the backend and to the client.
    pub(super) async fn relay(&mut self, worker: &Worker, conn: &mut TcpConnection) -> (u64, u64) {
        let bounds = (conn.entry.config.idle_timeout, self.up.ends());
        let TcpConnection { stream, input, timer, .. } = conn;
        let buffers = (input, &mut self.back);
        match &mut self.up {
            TcpUpstream::Bare(connection) => {
                relay(worker, (stream, &mut connection.stream), buffers, timer, bounds).await
            }
            TcpUpstream::PostTunnel(post) => relay(worker, (stream, &mut **post), buffers, timer, bounds).await,
            TcpUpstream::Stream(up) => {
                let mut halves = Halves(&mut up.receiver, &mut up.sender);
                relay(worker, (stream, &mut halves), buffers, timer, bounds).await
            }
        }
    }
}
