//! `Gateway` of networking.istio.io (GW-01 to GW-22).

use super::scalar::{Text, api_enum};
use super::text_match::Labels;
use serde::{Deserialize, Serialize};

/// Which ports, protocols, hosts and certificates a gateway workload listens with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gateway {
    /// The servers.
    pub servers: Vec<Server>,
    /// Labels of the workload; none selects every one.
    pub selector: Labels,
}

/// One port with its hosts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Server {
    /// The port.
    pub port: Option<Port>,
    /// An address, or `unix://` and a path.
    pub bind: Text,
    /// `[namespace/]host`.
    pub hosts: Vec<Text>,
    /// TLS settings.
    pub tls: Option<Box<ServerTls>>,
    /// Not implemented by Istio.
    #[serde(alias = "default_endpoint")]
    pub default_endpoint: Text,
    /// A name for people.
    pub name: Text,
}

/// A port of a server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Port {
    /// 1 to 65535; the document may hold any number.
    pub number: u32,
    /// HTTP, HTTPS, GRPC, …, in any case.
    pub protocol: Text,
    /// Unique in its object.
    pub name: Text,
    /// Deprecated (GW-04).
    #[serde(alias = "target_port")]
    pub target_port: u32,
}

/// TLS settings of a server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServerTls {
    /// Redirects plain HTTP.
    #[serde(alias = "https_redirect")]
    pub https_redirect: bool,
    /// `PASSTHROUGH` when absent (GW-10).
    pub mode: Option<TlsMode>,
    /// A file.
    #[serde(alias = "server_certificate")]
    pub server_certificate: Text,
    /// A file.
    #[serde(alias = "private_key")]
    pub private_key: Text,
    /// A file.
    #[serde(alias = "ca_certificates")]
    pub ca_certificates: Text,
    /// A file.
    #[serde(alias = "ca_crl")]
    pub ca_crl: Text,
    /// A Secret.
    #[serde(alias = "credential_name")]
    pub credential_name: Text,
    /// Secrets, one per key type.
    #[serde(alias = "credential_names")]
    pub credential_names: Vec<Text>,
    /// Files, one pair per key type.
    #[serde(alias = "tls_certificates")]
    pub tls_certificates: Vec<TlsCertificate>,
    /// The CA alone.
    #[serde(alias = "ca_cert_credential_name")]
    pub ca_cert_credential_name: Text,
    /// Names of clients.
    #[serde(alias = "subject_alt_names")]
    pub subject_alt_names: Vec<Text>,
    /// Pins of clients.
    #[serde(alias = "verify_certificate_spki")]
    pub verify_certificate_spki: Vec<Text>,
    /// Hashes of clients.
    #[serde(alias = "verify_certificate_hash")]
    pub verify_certificate_hash: Vec<Text>,
    /// Lowest version.
    #[serde(alias = "min_protocol_version")]
    pub min_protocol_version: Option<TlsVersion>,
    /// Highest version.
    #[serde(alias = "max_protocol_version")]
    pub max_protocol_version: Option<TlsVersion>,
    /// Suites up to TLS 1.2.
    #[serde(alias = "cipher_suites")]
    pub cipher_suites: Vec<Text>,
    /// Curves.
    #[serde(alias = "ecdh_curves")]
    pub ecdh_curves: Vec<Text>,
    /// Accepts any client certificate.
    #[serde(alias = "insecure_skip_verify")]
    pub insecure_skip_verify: Option<bool>,
}

/// A certificate and its key as files.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsCertificate {
    /// A file.
    #[serde(alias = "server_certificate")]
    pub server_certificate: Text,
    /// A file.
    #[serde(alias = "private_key")]
    pub private_key: Text,
    /// A file.
    #[serde(alias = "ca_certificates")]
    pub ca_certificates: Text,
}

api_enum! {
    /// What a server does with TLS.
    TlsMode {
        Passthrough = 0 "PASSTHROUGH",
        Simple = 1 "SIMPLE",
        Mutual = 2 "MUTUAL",
        AutoPassthrough = 3 "AUTO_PASSTHROUGH",
        IstioMutual = 4 "ISTIO_MUTUAL",
        OptionalMutual = 5 "OPTIONAL_MUTUAL",
    }
}

api_enum! {
    /// A version of TLS.
    TlsVersion {
        Auto = 0 "TLS_AUTO",
        V1_0 = 1 "TLSV1_0",
        V1_1 = 2 "TLSV1_1",
        V1_2 = 3 "TLSV1_2",
        V1_3 = 4 "TLSV1_3",
    }
}

/// A protocol of a server or a service's port, grouped by what a gateway does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// HTTP, HTTP2, GRPC, GRPC-WEB: read as HTTP in clear text.
    Http,
    /// HTTP_PROXY: requests to a forward proxy, in clear text or in TLS.
    HttpProxy,
    /// HTTPS: HTTP in TLS.
    Https,
    /// TLS: bytes in TLS.
    Tls,
    /// TCP, MONGO, REDIS, MYSQL: bytes.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Reads the name of a protocol in any case (GW-03); `None` for what Istio does not know.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "GRPC_WEB" => Self::Http,
            "HTTP_PROXY" => Self::HttpProxy,
            "HTTPS" => Self::Https,
            "TLS" => Self::Tls,
            "TCP" | "MONGO" | "REDIS" | "MYSQL" => Self::Tcp,
            "UDP" => Self::Udp,
            _ => return None,
        })
    }
}
