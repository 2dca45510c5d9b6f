//! Clients that do not know of the gateway: the network sends their connections here, and the destination is the one that the client has connected
//! to. What the first octets name is the destination's host: the SNI, or `Host` of requests in clear text. A client without a name asks for the
//! address itself. From here on a connection is one of the forward proxy's: requests in clear text as they are, and all else as a tunnel, as if the
//! client had sent CONNECT. So the allow-list, the policies, and the checks of addresses are those of any other client.

use ir::OriginalDestination;
use socket2::SockRef;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use wire::destination::{Destination, DestinationHost};

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

/// The host that a client asks for by its SNI, or by the address alone; `None` if the SNI is not a name, or another address.
pub(super) fn host<'a>(server_name: Option<&'a str>, address: IpAddr) -> Option<DestinationHost<'a>> {
    let Some(name) = server_name else { return Some(DestinationHost::Address(address)) };
    match Destination::parse(name.as_bytes()).ok()? {
        Destination { host: host @ DestinationHost::Name(_), port: None } => Some(host),
        Destination { host: DestinationHost::Address(named), port: None } if named == address => {
            Some(DestinationHost::Address(address))
        }
        _ => None,
    }
}

/// The request for a tunnel that such a client would have sent.
pub(super) fn request(host: DestinationHost<'_>, port: u16) -> String {
    format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_strictly_before_they_become_a_request() {
        let address = IpAddr::from([198, 41, 0, 4]);
        let asked = |name: Option<&str>| host(name, address).map(|host| request(host, 443));
        let tunnel = |host: &str| Some(format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n"));
        assert_eq!(asked(Some("a.test")), tunnel("a.test"));
        assert_eq!(asked(None), tunnel("198.41.0.4"));
        assert_eq!(asked(Some("198.41.0.4")), tunnel("198.41.0.4"));
        assert_eq!(
            host(None, "2606:4700::1".parse().unwrap()).map(|host| host.to_string()).as_deref(),
            Some("[2606:4700::1]")
        );
        for bad in ["198.41.0.5", "", "a.test:80", "a.test.", "a b", "a.test\r\nx: y", "2130706433", "é.test"] {
            assert_eq!(asked(Some(bad)), None, "{bad:?}");
        }
    }

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
