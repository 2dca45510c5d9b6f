//! After a switch of protocols: relays octets in both directions (S-118, S-125).

use super::client::Disposition;
use super::received_request::ReceivedRequest;
use crate::codec::{Tunnel, TunnelClient, Upstream};
use crate::stream_info::StreamInfo;

/// Relays in both directions, starting with what each peer sent after its head.
pub(super) async fn run(request: &mut ReceivedRequest<'_>, up: Upstream, info: &mut StreamInfo) -> Disposition {
    let ReceivedRequest { worker, conn, buffers, head } = request;
    buffers.body_in.put(conn.input.filled().get(*head..).unwrap_or_default());
    conn.input.truncate(*head);
    // What is not needed any more is not held for as long as the tunnel lasts: of the head, no more memory than it has octets.
    conn.input.fit();
    (buffers.up_out, buffers.down_out) = (Vec::new(), Vec::new());
    let received = std::mem::replace(&mut buffers.up_in, worker.buffer());
    let client = TunnelClient {
        peer: &mut conn.downstream,
        received: &mut buffers.body_in,
        timer: &conn.timer,
        idle_timeout: conn.client.stream_idle_timeout(worker.limits.tunnel_timeout),
    };
    let relayed = Tunnel::open(up, received).run(worker, client, None).await;
    (info.received, info.sent) = (relayed.to_backend, relayed.to_client);
    if relayed.is_client_reset { Disposition::Abort } else { Disposition::Close }
}
