//! After a switch of protocols: relays bytes in both directions (S-118, S-125).

use super::client::ClientConnection;
use crate::codec::{Downstream, Halves, UpstreamStream};
use crate::conn::{ExchangeBuffers, Worker, relay};

/// Relays in both directions, starting with what each peer sent after its head. Returns the octets sent to the backend and to the client.
pub(super) async fn run(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
    up: UpstreamStream,
) -> (u64, u64) {
    buffers.body_in.put(conn.input.filled().get(head..).unwrap_or_default());
    conn.input.truncate(head);
    let relayed = (&mut buffers.body_in, &mut buffers.up_in);
    let idle = conn.client.stream_idle_timeout(worker.limits.tunnel_timeout);
    match (&mut conn.downstream, up) {
        (Downstream::H1(down), UpstreamStream::H1(mut up)) => {
            relay(worker, (down, &mut up.stream), relayed, &conn.timer, (idle, None)).await
        }
        (Downstream::H1(down), UpstreamStream::H2(mut up)) => {
            let mut up = Halves(&mut up.receiver, &mut up.sender);
            relay(worker, (down, &mut up), relayed, &conn.timer, (idle, None)).await
        }
        (Downstream::H2(down), UpstreamStream::H1(mut up)) => {
            let mut down = Halves(&mut down.receiver, &mut down.sender);
            relay(worker, (&mut down, &mut up.stream), relayed, &conn.timer, (idle, None)).await
        }
        (Downstream::H2(down), UpstreamStream::H2(mut up)) => {
            let mut down = Halves(&mut down.receiver, &mut down.sender);
            let mut up = Halves(&mut up.receiver, &mut up.sender);
            relay(worker, (&mut down, &mut up), relayed, &conn.timer, (idle, None)).await
        }
    }
}
