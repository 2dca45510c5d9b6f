//! What the mesh's settings mean for all connections and requests of clients (PC-02 to PC-04).

mod connections;

pub(crate) use connections::paths;

use crate::settings::Settings;
use ir::{
    CertificateDetails, CertificateHeader, HeaderSettings, HeaderValue, Http10, MeshConnectionSettings, ProxyProtocol,
};
use resources::spec::mesh_config::{ForwardClientCertDetails, HeaderOptIn, HeaderSwitch, ProxyHeaders};

/// Works the settings out.
pub(crate) fn compile(settings: &Settings) -> MeshConnectionSettings {
    let topology = &settings.mesh.default_config.gateway_topology;
    MeshConnectionSettings {
        headers: headers(settings.mesh.default_config.proxy_headers.as_deref()),
        http10: http10(settings),
        connections: connections::compile(settings),
        certificate_details: details(settings.mesh.default_config.proxy_headers.as_deref()),
        trusted_proxies: topology.num_trusted_proxies,
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

/// PC-03, S-114, S-115, S-124.
fn headers(written: Option<&ProxyHeaders>) -> HeaderSettings {
    let usual = HeaderSettings::default();
    let Some(written) = written else { return usual };
    let is_on = |switch: Option<HeaderSwitch>| switch.and_then(|switch| switch.disabled) != Some(true);
    let is_asked_for = |opt_in: Option<HeaderOptIn>| opt_in.and_then(|opt_in| opt_in.enabled) == Some(true);
    HeaderSettings {
        request_id: is_on(written.request_id),
        server: match &written.server {
            Some(server) if server.disabled == Some(true) => None,
            Some(server) if !server.value.is_empty() => HeaderValue::parse(&server.value).ok().or(usual.server),
            Some(_) | None => usual.server,
        },
        attempt_count: is_on(written.attempt_count),
        debug: is_on(written.envoy_debug_headers),
        keep_case: written.preserve_http1_header_case == Some(true),
        forwarded_host: is_asked_for(written.x_forwarded_host),
        forwarded_port: is_asked_for(written.x_forwarded_port),
    }
}

/// S-120: by the process's own setting, or the metadata of proxies.
fn http10(settings: &Settings) -> Option<Http10> {
    let by_metadata = settings.metadata("ISTIO_META_HTTP10") == Some("1");
    settings.http10.clone().or_else(|| by_metadata.then(Http10::default))
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
