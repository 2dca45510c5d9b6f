//! Classes of IP addresses: whether an address belongs to a host of the internet, or to what a request of a client must not reach by a name that
//! others control. The forward proxy and the fetcher of documents share it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The class of an address, by the registries of special-purpose addresses (RFC 6890) and the addresses where clouds have their metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// A host of the internet.
    Public,
    /// This host (`127.0.0.0/8`, `::1`).
    Loopback,
    /// A private network (RFC 1918).
    Private,
    /// Shared address space of providers (RFC 6598).
    CarrierNat,
    /// A link (`169.254.0.0/16`, `fe80::/10`).
    LinkLocal,
    /// The metadata service of a cloud.
    Metadata,
    /// A unique local address (RFC 4193), or a site-local one (RFC 3879).
    UniqueLocal,
    /// No host (`0.0.0.0/8`, `::`).
    Unspecified,
    /// A group.
    Multicast,
    /// All hosts of a network.
    Broadcast,
    /// Addresses for documents (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// An IPv6 address that stands for an IPv4 address: IPv4-mapped and IPv4-compatible (RFC 4291), NAT64 (RFC 6052), 6to4 and Teredo.
    Embedded(Embedding),
    /// Any other address that is not of the internet.
    Reserved,
}

/// How an IPv4 address is contained in an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedding {
    /// `::ffff:a.b.c.d`, or `::a.b.c.d`.
    FourInSix,
    /// `64:ff9b::a.b.c.d`, or the local prefix `64:ff9b:1::/48` (RFC 8215).
    Nat64,
    /// `2002::/16`
    SixToFour,
    /// `2001::/32`
    Teredo,
}

impl AddressClass {
    /// The class of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether the address is one of the internet.
    pub fn is_public(self) -> bool {
        self == Self::Public
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::UniqueLocal => "unique local",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Embedded(Embedding::FourInSix) => "IPv4 in IPv6",
            Self::Embedded(Embedding::Nat64) => "NAT64",
            Self::Embedded(Embedding::SixToFour) => "6to4",
            Self::Embedded(Embedding::Teredo) => "Teredo",
            Self::Reserved => "reserved",
        })
    }
}

/// The IPv4 address that an IPv6 address stands for, where the form has one that a gateway of the network translates to (NAT64) or that the
/// system connects to (IPv4-mapped).
pub fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let last = (u32::from(segments[6]) << 16) | u32::from(segments[7]);
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(Ipv4Addr::from_bits(last)),
        _ => None,
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (169, 254, 169, 254)
        | (169, 254, 170, 2 | 23)
        | (100, 100, 100, 200)
        | (192, 0, 0, 192)
        | (168, 63, 129, 16) => AddressClass::Metadata,
        (0, ..) => AddressClass::Unspecified,
        (127, ..) => AddressClass::Loopback,
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => AddressClass::Private,
        (100, 64..=127, ..) => AddressClass::CarrierNat,
        (169, 254, ..) => AddressClass::LinkLocal,
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => AddressClass::Documentation,
        // IETF protocol assignments, relays of 6to4, AS112, benchmarks.
        (192, 0, 0, _)
        | (192, 88, 99, _)
        | (192, 31, 196, _)
        | (192, 52, 193, _)
        | (192, 175, 48, _)
        | (198, 18..=19, ..) => AddressClass::Reserved,
        (224..=239, ..) => AddressClass::Multicast,
        (255, 255, 255, 255) => AddressClass::Broadcast,
        (240.., ..) => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    // The metadata service of Amazon.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.segments() {
        _ if address == METADATA => AddressClass::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => AddressClass::Embedded(Embedding::FourInSix),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => AddressClass::Embedded(Embedding::Nat64),
        [0x2002, ..] => AddressClass::Embedded(Embedding::SixToFour),
        [0x2001, 0, ..] => AddressClass::Embedded(Embedding::Teredo),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        // IETF protocol assignments.
        [0x2001, 0..=0x1ff, ..] => AddressClass::Reserved,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::UniqueLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        // Only 2000::/3 is assigned to hosts of the internet (RFC 4291 §2.4).
        _ => AddressClass::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        AddressClass::of(text.parse().unwrap())
    }

    #[test]
    fn each_range_has_its_class_at_both_ends() {
        use AddressClass::*;
        let all = [
            ("0.0.0.0", Unspecified),
            ("0.255.255.255", Unspecified),
            ("1.0.0.0", Public),
            ("9.255.255.255", Public),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.64.0.0", CarrierNat),
            ("100.100.100.200", Metadata),
            ("100.127.255.255", CarrierNat),
            ("100.128.0.0", Public),
            ("126.255.255.255", Public),
            ("127.0.0.0", Loopback),
            ("127.255.255.255", Loopback),
            ("128.0.0.0", Public),
            ("168.63.129.16", Metadata),
            ("169.253.255.255", Public),
            ("169.254.0.0", LinkLocal),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", Metadata),
            ("169.254.255.255", LinkLocal),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.0.0.1", Reserved),
            ("192.0.0.192", Metadata),
            ("192.0.1.0", Public),
            ("192.0.2.1", Documentation),
            ("192.88.99.1", Reserved),
            ("192.168.0.0", Private),
            ("192.168.255.255", Private),
            ("192.169.0.0", Public),
            ("198.17.255.255", Public),
            ("198.18.0.0", Reserved),
            ("198.19.255.255", Reserved),
            ("198.20.0.0", Public),
            ("198.51.100.7", Documentation),
            ("203.0.113.255", Documentation),
            ("223.255.255.255", Public),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.254", Reserved),
            ("255.255.255.255", Broadcast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Embedded(Embedding::FourInSix)),
            ("::ffff:127.0.0.1", Embedded(Embedding::FourInSix)),
            ("::ffff:8.8.8.8", Embedded(Embedding::FourInSix)),
            ("::ffff:0:127.0.0.1", Embedded(Embedding::FourInSix)),
            ("64:ff9b::7f00:1", Embedded(Embedding::Nat64)),
            ("64:ff9b:1::1", Embedded(Embedding::Nat64)),
            ("64:ff9b:2::1", Reserved),
            ("100::1", Reserved),
            ("2001::1", Embedded(Embedding::Teredo)),
            ("2001:20::1", Reserved),
            ("2001:db8::1", Documentation),
            ("2001:4860:4860::8888", Public),
            ("2002:7f00:1::", Embedded(Embedding::SixToFour)),
            ("2606:4700::1111", Public),
            ("3fff::1", Documentation),
            ("3fff:1000::1", Public),
            ("4000::1", Reserved),
            ("5f00::1", Reserved),
            ("fc00::1", UniqueLocal),
            ("fd00:ec2::254", Metadata),
            ("fdff::1", UniqueLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", UniqueLocal),
            ("ff02::1", Multicast),
        ];
        for (text, expected) in all {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn forms_that_are_translated_name_their_ipv4_address() {
        let of = |text: &str| translated(text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("64:ff9b::a00:1").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("::ffff:10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("2002:a00:1::"), None);
    }
}
