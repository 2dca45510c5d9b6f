//! The annotations that extend Istio's objects. They have a prefix of this project's own, so that Istio passes them over.

/// Of a Gateway: the Secret with the users of its forward proxies.
pub const PROXY_USERS: &str = "moongate.dev/proxy-users";
/// Of a Gateway: how the network sends the connections of clients that do not know of its forward proxies.
pub const ORIGINAL_DESTINATION: &str = "moongate.dev/original-destination";
/// Of a ServiceEntry: further addresses that its hosts may have.
pub const ALLOWED_ADDRESSES: &str = "moongate.dev/allowed-addresses";
/// Of a DestinationRule: the Secret with the header that requests get on the way out.
pub const CREDENTIAL: &str = "moongate.dev/credential";
/// Of a DestinationRule: the public keys that endpoints may have.
pub const CERTIFICATE_SPKI: &str = "moongate.dev/verify-certificate-spki";
