//! Which addresses are connected to on behalf of a name that others control. Dynamic destinations and fetched documents use it.

use ir::IpRange;
use std::net::IpAddr;
use wire::address::{AddressClass, Embedding, translated};

/// Whether an address may be connected to: one of the internet, or one that the configuration names. An address that stands for an IPv4 address
/// (NAT64) has to be named, and the IPv4 address has to be allowed by itself. The error is the class of the address.
pub fn is_reachable(address: IpAddr, named: &[IpRange]) -> Result<(), AddressClass> {
    let class = AddressClass::of(address);
    let is_allowed = |address: IpAddr| AddressClass::of(address).is_public() || is_named(address, named);
    let allowed = match (address, class) {
        (IpAddr::V6(six), AddressClass::Embedded(_)) => {
            // The local prefix of NAT64 has its IPv4 address at a place that only the network knows, so that it cannot be checked.
            let unchecked = class != AddressClass::Embedded(Embedding::Nat64);
            is_named(address, named) && translated(six).map_or(unchecked, |four| is_allowed(four.into()))
        }
        _ => is_allowed(address),
    };
    if allowed { Ok(()) } else { Err(class) }
}

/// Whether a range has the very address; a range of IPv4 does not name the IPv6 addresses that stand for its addresses.
pub(crate) fn is_named(address: IpAddr, named: &[IpRange]) -> bool {
    named.iter().any(|range| range.address().is_ipv4() == address.is_ipv4() && range.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_of_the_internet_have_to_be_named() {
        let named: Vec<IpRange> =
            ["10.1.0.0/16", "64:ff9b::/96", "64:ff9b:1::/48", "fd00::/8"].iter().map(|r| r.parse().unwrap()).collect();
        let reach = |address: &str| is_reachable(address.parse().unwrap(), &named).is_ok();
        let fine = ["8.8.8.8", "2606:4700::1", "10.1.2.3", "fd12::1", "64:ff9b::808:808", "64:ff9b::a01:203"];
        for address in fine {
            assert!(reach(address), "{address}");
        }
        let blocked = [
            "127.0.0.1",
            "0.0.0.0",
            "10.2.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:10.1.2.3",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "64:ff9b:1::808:808",
            "64:ff9b:1:808:8:800::",
            "2002:7f00:1::",
            "2002:808:808::",
            "2001::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
        ];
        for address in blocked {
            assert!(!reach(address), "{address}");
        }
    }
}
