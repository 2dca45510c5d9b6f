//! TLS towards clients and endpoints: the certificates that are presented and trusted, and what may be negotiated. Everything is parsed here;
//! the files and Secrets are read before.

use crate::StringMatch;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// How TLS of clients is terminated (GW-10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Termination {
    /// Who the server is.
    pub credential: Credential,
    /// What is asked of clients.
    pub client: ClientAuth,
    /// Versions, suites and groups.
    pub parameters: TlsParameters,
    /// The protocols that are offered, the preferred one first (S-80).
    pub alpn: Vec<Alpn>,
}

/// Certificates with their keys as far as they can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Credential {
    /// One, or one for each type of key (GW-13).
    Ready(Vec<Arc<Identity>>),
    /// They are there and cannot be used; the last that could be are kept (S-97).
    Broken(Arc<str>),
    /// There is no certificate, for this reason: handshakes fail (S-96).
    Missing(Arc<str>),
}

/// A certificate with its chain and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Its source, such as `Secret istio-system/web`.
    pub source: Arc<str>,
    /// The certificate itself first.
    pub chain: Vec<Der>,
    /// Its key.
    pub key: PrivateKey,
    /// An OCSP response to present (S-84).
    pub staple: Option<Staple>,
}

/// An OCSP response that belongs to a certificate, and tells that it is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Staple {
    /// The response.
    pub response: Der,
    /// Since when it counts, in seconds since 1970.
    pub this_update: i64,
    /// Until when it counts, in seconds since 1970.
    pub next_update: i64,
}

impl Staple {
    /// Whether it counts at a moment.
    pub fn is_current(&self, now: i64) -> bool {
        (self.this_update..self.next_update).contains(&now)
    }
}

/// Something in DER, such as a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Der(pub Arc<[u8]>);

impl fmt::Debug for Der {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Der({} bytes)", self.0.len())
    }
}

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{} bytes", self.0.len()))
    }
}

/// A private key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    /// The encoding that `der` is in.
    pub form: KeyForm,
    /// The key.
    pub der: Arc<[u8]>,
}

/// How a private key is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// RSA alone.
    Pkcs1,
    /// Elliptic curves alone.
    Sec1,
    /// Any.
    Pkcs8,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for PrivateKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

/// What is asked of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ClientAuth {
    /// Nothing.
    None,
    /// A certificate is verified if there is one (OPTIONAL_MUTUAL).
    Optional(Arc<Trust>),
    /// A certificate is demanded and verified (MUTUAL).
    Required(Arc<Trust>),
    /// A certificate is requested and not verified (GW-19).
    Unverified,
}

/// Which certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The CA certificates; without any, no certificate is trusted.
    pub authorities: Vec<Der>,
    /// Lists of revoked certificates (S-84).
    pub revoked: Vec<Der>,
    /// One of these has to be among the certificate's names; empty demands no name.
    pub names: Vec<StringMatch>,
    /// SHA-256 of the public key, one of which it has to be (GW-15).
    pub key_pins: Vec<[u8; 32]>,
    /// SHA-256 of the certificate, one of which it has to be.
    pub certificate_pins: Vec<[u8; 32]>,
}

/// What may be negotiated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsParameters {
    /// The lowest version (GW-16).
    pub lowest: TlsVersion,
    /// The highest version.
    pub highest: TlsVersion,
    /// Suites of TLS 1.2, the preferred one first; none is the default ones (GW-17).
    pub suites: Vec<Arc<str>>,
    /// Groups of key exchanges, the preferred one first; none is the default ones (GW-18).
    pub groups: Vec<Arc<str>>,
}

impl Default for TlsParameters {
    fn default() -> Self {
        Self { lowest: TlsVersion::V1_2, highest: TlsVersion::V1_3, suites: Vec::new(), groups: Vec::new() }
    }
}

/// A version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[allow(missing_docs, reason = "the names are the versions")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// A protocol to be negotiated inside of TLS (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[allow(missing_docs, reason = "the names are the protocols")]
pub enum Alpn {
    H2,
    Http11,
}

impl Alpn {
    /// Its name in the handshake.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http11 => b"http/1.1",
        }
    }
}

/// TLS towards endpoints (DR-40 to DR-47).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientTls {
    /// The SNI.
    pub sni: Sni,
    /// Whether and how the endpoint's certificate is verified.
    pub verify: Verify,
    /// Who we are, where endpoints ask for it (MUTUAL).
    pub identity: Option<Arc<Identity>>,
    /// SHA-256 of public keys, one of which the endpoint's certificate has to have, however else it is verified; empty demands none.
    pub key_pins: Vec<[u8; 32]>,
    /// Versions, suites and groups.
    pub parameters: TlsParameters,
}

/// The SNI in a handshake with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Sni {
    /// This one.
    Name(Arc<str>),
    /// The host of the request as it is sent on (DR-42).
    Host,
    /// None.
    Absent,
}

/// How an endpoint's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verify {
    /// Not at all (`insecureSkipVerify`).
    Nothing,
    /// Against the authorities that the system trusts, or those given; and by name.
    Authorities {
        /// `None` is the system's.
        trust: Option<Arc<Trust>>,
        /// Whether the certificate has to have the SNI's name, if `trust` has no names (DR-43).
        by_sni: bool,
    },
}
