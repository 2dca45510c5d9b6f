//! What clients of a transparent proxy ask for, which do not know of it: the host is what the first octets of a redirected connection name, and
//! otherwise the address that the client has connected to.

use std::net::IpAddr;
use wire::destination::{Destination, DestinationHost};

/// The host that a client asks for by its SNI, or by the address alone; `None` if the SNI is not a name, or another address.
pub fn implied_host<'a>(server_name: Option<&'a str>, address: IpAddr) -> Option<DestinationHost<'a>> {
    let Some(name) = server_name else { return Some(DestinationHost::Address(address)) };
    match Destination::parse(name.as_bytes()).ok()? {
        Destination { host: host @ DestinationHost::Name(_), port: None } => Some(host),
        Destination { host: DestinationHost::Address(named), port: None } if named == address => {
            Some(DestinationHost::Address(address))
        }
        _ => None,
    }
}

/// The request for a tunnel that the client of a redirected connection would have sent.
pub fn implied_request(host: DestinationHost<'_>, port: u16) -> String {
    format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_strictly_before_they_become_a_request() {
        let address = IpAddr::from([198, 41, 0, 4]);
        let asked = |name: Option<&str>| implied_host(name, address).map(|host| implied_request(host, 443));
        let tunnel = |host: &str| Some(format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n"));
        assert_eq!(asked(Some("a.test")), tunnel("a.test"));
        assert_eq!(asked(None), tunnel("198.41.0.4"));
        assert_eq!(asked(Some("198.41.0.4")), tunnel("198.41.0.4"));
        assert_eq!(
            implied_host(None, "2606:4700::1".parse().unwrap()).map(|host| host.to_string()).as_deref(),
            Some("[2606:4700::1]")
        );
        for bad in ["198.41.0.5", "", "a.test:80", "a.test.", "a b", "a.test\r\nx: y", "2130706433", "é.test"] {
            assert_eq!(asked(Some(bad)), None, "{bad:?}");
        }
    }
}
