//! Facts whose operators have no argument.

/// A fact about the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFact {
    /// URIs among its names.
    UriSan,
    /// DNS names among its names.
    DnsSan,
    /// Its subject, as in RFC 2253.
    Subject,
    /// Its issuer.
    Issuer,
    /// Its serial number, in hexadecimal.
    Serial,
    /// The SHA-256 of it, in hexadecimal.
    Fingerprint,
    /// It itself as PEM, URL-encoded.
    Certificate,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $variant:ident $name:literal)*) => {
        /// A fact whose operator has no argument.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fact {
            $($(#[$doc])* $variant,)*
        }

        /// The operators of facts.
        pub(super) const FACTS: &[(&str, Fact)] = &[$(($name, Fact::$variant),)*];
    };
}

facts! {
    /// `HTTP/1.1`, `HTTP/2`.
    Protocol "PROTOCOL"
    /// The protocol that the endpoint speaks.
    UpstreamProtocol "UPSTREAM_PROTOCOL"
    /// The name that the client's TLS asked for.
    RequestedServerName "REQUESTED_SERVER_NAME"
    /// The name of the route.
    RouteName "ROUTE_NAME"
    /// The name of this machine.
    HostName "HOSTNAME"
    /// The status of the response; 0 without a response.
    ResponseCode "RESPONSE_CODE"
    /// The detail of the status.
    ResponseCodeDetails "RESPONSE_CODE_DETAILS"
    /// The response flags.
    ResponseFlags "RESPONSE_FLAGS"
    /// The response flags by their long names.
    ResponseFlagsLong "RESPONSE_FLAGS_LONG"
    /// Why the gateway ended a connection of TCP: the policy that denied it.
    ConnectionTerminationDetails "CONNECTION_TERMINATION_DETAILS"
    /// The name of the cluster in statistics: Istio's name of it with a `;`.
    UpstreamCluster "UPSTREAM_CLUSTER"
    /// The name of the cluster.
    UpstreamClusterRaw "UPSTREAM_CLUSTER_RAW"
    /// Why no connection could be made to the endpoint.
    UpstreamTransportFailure "UPSTREAM_TRANSPORT_FAILURE_REASON"
    /// How often the request was sent.
    UpstreamAttempts "UPSTREAM_REQUEST_ATTEMPT_COUNT"
    /// The version of TLS that the client speaks.
    TlsVersion "DOWNSTREAM_TLS_VERSION"
    /// The cipher suite of the client's TLS.
    TlsCipher "DOWNSTREAM_TLS_CIPHER"
    /// The octets of the request's body, or all that a client of TCP sent.
    BytesReceived "BYTES_RECEIVED"
    /// The octets of the response's body, or all that a client of TCP received.
    BytesSent "BYTES_SENT"
    /// The octets of the names and values of the request's head, as it was sent to the endpoint.
    RequestHeadersBytes "REQUEST_HEADERS_BYTES"
    /// The octets of the names and values of the response's head, as the client received it.
    ResponseHeadersBytes "RESPONSE_HEADERS_BYTES"
    /// The octets of the names and values of the response's trailers.
    ResponseTrailersBytes "RESPONSE_TRAILERS_BYTES"
    /// `DownstreamEnd`, `TcpConnectionEnd` or `NotSet`: what the line is about.
    AccessLogType "ACCESS_LOG_TYPE"
    /// URIs of the client's certificate.
    PeerUriSan "DOWNSTREAM_PEER_URI_SAN"
    /// DNS names of the client's certificate.
    PeerDnsSan "DOWNSTREAM_PEER_DNS_SAN"
    /// The subject of the client's certificate.
    PeerSubject "DOWNSTREAM_PEER_SUBJECT"
    /// The issuer of the client's certificate.
    PeerIssuer "DOWNSTREAM_PEER_ISSUER"
    /// The serial number of the client's certificate.
    PeerSerial "DOWNSTREAM_PEER_SERIAL"
    /// The SHA-256 of the client's certificate.
    PeerFingerprint "DOWNSTREAM_PEER_FINGERPRINT_256"
    /// The client's certificate as PEM, URL-encoded.
    PeerCertificate "DOWNSTREAM_PEER_CERT"
}

impl Fact {
    /// The fact about the client's certificate, if it is one.
    pub fn of_peer(self) -> Option<PeerFact> {
        Some(match self {
            Self::PeerUriSan => PeerFact::UriSan,
            Self::PeerDnsSan => PeerFact::DnsSan,
            Self::PeerSubject => PeerFact::Subject,
            Self::PeerIssuer => PeerFact::Issuer,
            Self::PeerSerial => PeerFact::Serial,
            Self::PeerFingerprint => PeerFact::Fingerprint,
            Self::PeerCertificate => PeerFact::Certificate,
            _ => return None,
        })
    }

    /// Whether its value is a number.
    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::ResponseCode
                | Self::BytesReceived
                | Self::BytesSent
                | Self::UpstreamAttempts
                | Self::RequestHeadersBytes
                | Self::ResponseHeadersBytes
                | Self::ResponseTrailersBytes
        )
    }

    /// The name of its operator.
    pub fn name(self) -> &'static str {
        FACTS.iter().find(|(_, fact)| *fact == self).map_or("", |(name, _)| name)
    }
}
