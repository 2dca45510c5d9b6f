//! What a forward proxy allows: destinations by name and by address, compiled from ServiceEntries, and what becomes of others.

use crate::{ClusterId, HostPattern, IpRange, Origin, Retries};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The destinations that clients of a forward proxy may ask for. What is not allowed is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardProxy {
    /// The server of the Gateway.
    pub origin: Origin,
    /// By host; no two have the same host. The most specific pattern decides, and nothing falls through.
    pub hosts: Box<[ForwardHost]>,
    /// Destinations that clients ask for by address, first match first.
    pub addresses: Box<[ForwardAddress]>,
    /// The cluster of all other destinations (`outboundTrafficPolicy: ALLOW_ANY`); `None` denies them.
    pub others: Option<ClusterId>,
    /// Who may use it, where clients have to say who they are.
    pub users: Option<Arc<ProxyUsers>>,
    /// The retry policy of requests.
    pub retries: Option<Arc<Retries>>,
}

/// A host that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardHost {
    /// The name, or a wildcard.
    pub host: HostPattern,
    /// Its ports; no two have the same number.
    pub ports: Arc<[ForwardPort]>,
}

/// Addresses that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardAddress {
    /// The addresses.
    pub range: IpRange,
    /// Their ports.
    pub ports: Arc<[ForwardPort]>,
}

/// A port that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardPort {
    /// Its number.
    pub number: u16,
    /// What is spoken on it, which decides how clients may ask for it.
    pub protocol: ForwardProtocol,
    /// Where requests and tunnels go.
    pub cluster: ClusterId,
    /// The ServiceEntry that allows it.
    pub origin: Origin,
}

/// How the network sends the connections of clients that do not know of a forward proxy, and where the proxy learns what they have connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OriginalDestination {
    /// By a translation of addresses (`REDIRECT` of iptables and nftables): `SO_ORIGINAL_DST`.
    Redirect,
    /// As they are (`TPROXY`): the local address of the connection.
    Tproxy,
    /// Through a proxy in front: the destination in the PROXY header.
    ProxyProtocol,
}

/// What is spoken on a port of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ForwardProtocol {
    /// HTTP in clear text: requests, and no tunnels.
    Http,
    /// TLS: tunnels, in which the client has to send the destination's name as SNI.
    Tls,
    /// Anything: tunnels.
    Tcp,
}

/// The users of a forward proxy and their passwords. They are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyUsers(BTreeMap<String, Vec<u8>>);

impl ProxyUsers {
    /// Users with their passwords; one without a password cannot log in.
    pub fn new(users: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(users.into_iter().filter(|(user, password)| !user.is_empty() && !password.is_empty()).collect())
    }

    /// Whether a user has this password. The time does not depend on where a password differs.
    pub fn has(&self, user: &str, password: &[u8]) -> bool {
        let Some(own) = self.0.get(user) else { return false };
        let differing = own.iter().zip(password).fold(0, |differing, (one, other)| differing | (one ^ other));
        own.len() == password.len() && differing == 0
    }
}

impl fmt::Debug for ProxyUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for ProxyUsers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}
