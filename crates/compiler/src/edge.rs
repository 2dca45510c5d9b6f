//! What the mesh's settings mean for all connections and requests of clients (PC-02 to PC-04).

use crate::settings::Settings;
use ir::{CertificateDetails, CertificateHeader, Edge, ProxyProtocol};
use resources::spec::mesh_config::{ForwardClientCertDetails, ProxyHeaders};

/// Works the settings out.
pub(crate) fn compile(settings: &Settings) -> Edge {
    let topology = &settings.mesh.default_config.gateway_topology;
    Edge {
        certificate_details: details(settings.mesh.default_config.proxy_headers.as_deref()),
        proxy_protocol: topology.proxy_protocol.map(|_| ProxyProtocol { from: settings.proxy_protocol_from.clone() }),
    }
}

/// What becomes of `x-forwarded-client-cert` (S-113): the setting of gateways counts, then that of all proxies.
pub(crate) fn certificate_header(settings: &Settings) -> CertificateHeader {
    let config = &settings.mesh.default_config;
    let of_all = config.proxy_headers.as_ref().and_then(|headers| headers.forwarded_client_cert);
    let written = [config.gateway_topology.forward_client_cert_details, of_all].into_iter().flatten();
    match written.into_iter().find(|details| *details != ForwardClientCertDetails::Undefined) {
        Some(ForwardClientCertDetails::Sanitize) => CertificateHeader::Sanitize,
        Some(ForwardClientCertDetails::ForwardOnly) => CertificateHeader::ForwardOnly,
        Some(ForwardClientCertDetails::AppendForward) => CertificateHeader::AppendForward,
        Some(ForwardClientCertDetails::AlwaysForwardOnly) => CertificateHeader::AlwaysForwardOnly,
        None | Some(ForwardClientCertDetails::Undefined | ForwardClientCertDetails::SanitizeSet) => {
            CertificateHeader::SanitizeSet
        }
    }
}

/// PC-03: what is written stands in place of all that gateways say by themselves, with defaults of its own.
fn details(headers: Option<&ProxyHeaders>) -> CertificateDetails {
    let Some(written) = headers.and_then(|headers| headers.set_current_client_cert_details) else {
        return CertificateDetails::default();
    };
    CertificateDetails {
        subject: written.subject.unwrap_or(true),
        cert: written.cert.unwrap_or(false),
        chain: written.chain.unwrap_or(false),
        dns: written.dns.unwrap_or(true),
        uri: written.uri.unwrap_or(true),
    }
}
