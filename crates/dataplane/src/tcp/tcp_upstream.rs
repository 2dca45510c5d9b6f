//! What the bytes of a client go to: a connection, or a tunnel over one.

use super::TcpConnection;
use super::post_tunnel::PostTunnel;
use crate::conn::{Buffer, Worker, relay};
use crate::http::{H2Upstream, Halves};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use upstream::{Connection, Counted, EndpointState};

/// The way to an endpoint.
pub(super) struct UpstreamPath {
    pub(super) up: TcpUpstream,
    /// What came from there already.
    pub(super) back: Buffer,
    /// Its place among the requests to the cluster, where it is one.
    pub(super) _counted: Option<Counted>,
}

/// The endpoint's side.
pub(super) enum TcpUpstream {
    /// The bytes as they are; in a tunnel, behind the heads of CONNECT.
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

    /// The address of this side, where it has one.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Stream(stream) => stream.local,
            Self::Bare(_) | Self::PostTunnel(_) => self.connection()?.stream.local_address(),
        }
    }

    /// Until when it may be used (DR-20). The connection of a stream takes no more of them by then, and ends with the last.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.connection()?.deadline()
    }
}

impl UpstreamPath {
    /// Relays to the end; returns how much went each way.
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
