//! Clients that do not know of the gateway: the network sends their connections here, and the destination is the one that the client has connected
//! to. What the first octets name is the destination's host: the SNI, or `Host` of requests in clear text. A client without a name asks for the
//! address itself. From here on a connection is one of the forward proxy's: requests in clear text as they are, and all else as a tunnel, as if the
//! client had sent CONNECT. So the allow-list, the policies, and the checks of addresses are those of any other client.

use ir::OriginalDestination;
use socket2::SockRef;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The address that the client has connected to. `None` if the connection was not redirected: its destination is the gateway, which would connect to
/// itself. `named` is what a PROXY header says, and `port` the port that the gateway listens on.
pub(super) fn original_destination(
    stream: &TcpStream,
    source: OriginalDestination,
    named: Option<SocketAddr>,
    port: u16,
) -> Option<SocketAddr> {
    let own = canonical(stream.local_addr().ok()?);
    match source {
        OriginalDestination::Redirect => {
            let socket = SockRef::from(stream);
            let found = if own.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
            found.ok()?.as_socket().map(canonical).filter(|original| *original != own)
        }
        OriginalDestination::Tproxy => Some(own).filter(|original| original.port() != port),
        OriginalDestination::ProxyProtocol => named.map(canonical).filter(|original| *original != own),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_not_redirected_has_no_destination() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let _client = TcpStream::connect(own).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let named = Some(SocketAddr::from(([198, 41, 0, 4], 443)));
        let found = |source, named| original_destination(&stream, source, named, own.port());
        assert_eq!(found(OriginalDestination::Redirect, named), None);
        assert_eq!(found(OriginalDestination::Tproxy, named), None);
        assert_eq!(found(OriginalDestination::ProxyProtocol, None), None);
        assert_eq!(found(OriginalDestination::ProxyProtocol, Some(own)), None);
        assert_eq!(found(OriginalDestination::ProxyProtocol, named), named);
        assert_eq!(original_destination(&stream, OriginalDestination::Tproxy, None, 1), Some(own));
    }
}
