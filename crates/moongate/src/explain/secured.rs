//! What TLS has to do with the way of a request: the server that takes it, and why none does.

use super::{Outcome, Question, SecuredAnswer};
use ir::x509::{RevocationList, name_text};
use ir::{
    CertificateHeader, ClientAuth, Cluster, Credential, Identity, Listener, ProxyProtocolVersion, TlsServer, Trust,
    Tunnel, TunnelMethod, UpstreamProtocol,
};
use std::collections::BTreeSet;
use wire::forwarded::Certificate;

/// A server, for people.
pub(super) fn describe(server: &TlsServer) -> SecuredAnswer {
    let (certificates, client) = match &server.termination {
        None => (Vec::new(), "TLS is passed through as it is".to_owned()),
        Some(termination) => (
            match &termination.credential {
                Credential::Ready(identities) => identities.iter().map(|identity| presented(identity)).collect(),
                Credential::Broken(why) | Credential::Missing(why) => vec![why.to_string()],
            },
            match &termination.client {
                ClientAuth::None => "no certificate is asked for".to_owned(),
                ClientAuth::Optional(trust) => verified("a certificate is verified if there is one", trust),
                ClientAuth::Required(trust) => verified("a certificate is demanded and verified", trust),
                ClientAuth::Unverified => "a certificate is asked for and not verified".to_owned(),
            },
        ),
    };
    let names = server.names.iter().map(ToString::to_string).collect();
    SecuredAnswer { origin: server.origin.clone(), names, certificates, client }
}

/// The source of a certificate, and whether an OCSP response goes with it.
fn presented(identity: &Identity) -> String {
    let stapled = if identity.staple.is_some() { ", with an OCSP response" } else { "" };
    format!("{}{stapled}", identity.source)
}

/// What is verified besides the authority: lists of revoked certificates by their issuers.
fn verified(what: &str, trust: &Trust) -> String {
    let lists = trust.revoked.iter().filter_map(|list| RevocationList::parse(&list.0));
    let issuers: BTreeSet<String> = lists.map(|list| name_text(list.issuer)).collect();
    match issuers.is_empty() {
        true => what.to_owned(),
        false => format!("{what}, with the lists of revoked certificates by {}", Vec::from_iter(issuers).join(", ")),
    }
}

/// Why a server agrees with nobody, as far as its configuration tells.
pub(super) fn fault(server: &TlsServer) -> Option<String> {
    match &server.termination.as_ref()?.credential {
        Credential::Ready(_) => None,
        Credential::Broken(why) => Some(format!("{why}; a running gateway keeps the last that could be used")),
        Credential::Missing(why) => Some(why.to_string()),
    }
}

/// What becomes of a client for which there is no server.
pub(super) fn nobody(question: &Question, listener: &Listener) -> Outcome {
    let Some(hello) = &question.tls else {
        return Outcome::Closed { reason: "the port speaks TLS, and this comes in clear text".to_owned() };
    };
    if listener.tls.is_empty() {
        return Outcome::NoHandshake { reason: "the port speaks clear text, and no TLS".to_owned() };
    }
    let all: Vec<String> = listener.tls.iter().flat_map(|server| &server.names).map(ToString::to_string).collect();
    let asked = match &hello.sni {
        Some(name) => format!("no server has the name `{name}`"),
        None => "the client sent no server name, and no server has `*`".to_owned(),
    };
    Outcome::NoHandshake { reason: format!("{asked}; there are {}", all.join(", ")) }
}

/// What is spoken to a cluster's endpoints.
pub(super) fn spoken(cluster: &Cluster, bytes: bool) -> String {
    let inner = match cluster.protocol {
        _ if bytes => "bytes",
        UpstreamProtocol::Http1 => "HTTP/1.1",
        UpstreamProtocol::Http2 { .. } => "HTTP/2",
        UpstreamProtocol::AsClient => "what the client speaks",
    };
    let mut spoken = if cluster.tls.is_some() { format!("{inner} in TLS") } else { inner.to_owned() };
    if let Some(credential) = cluster.credential.as_ref().filter(|_| !bytes) {
        spoken.push_str(&format!(", with the header `{}` of {}", credential.header, credential.source));
    }
    match cluster.proxy_protocol {
        None => spoken,
        Some(version) => {
            let version = match version {
                ProxyProtocolVersion::V1 => 1,
                ProxyProtocolVersion::V2 => 2,
            };
            format!("{spoken}, behind a PROXY header (version {version})")
        }
    }
}

/// What is spoken to a cluster's endpoints to have them open a tunnel.
pub(super) fn tunnelled(cluster: &Cluster, tunnel: &Tunnel) -> String {
    let method = match tunnel.method {
        TunnelMethod::Connect => "CONNECT",
        TunnelMethod::Post => "POST",
    };
    let spoken = match cluster.protocol {
        UpstreamProtocol::Http2 { .. } => "HTTP/2",
        UpstreamProtocol::Http1 | UpstreamProtocol::AsClient => "HTTP/1.1",
    };
    let tls = if cluster.tls.is_some() { " in TLS" } else { "" };
    format!("bytes through a tunnel to {}, asked for by {method} in {spoken}{tls}", tunnel.authority)
}

/// What is told of the client's certificate (S-113), which is not known here.
pub(super) fn certificate(server: Option<&TlsServer>, setting: CertificateHeader) -> Certificate<'static> {
    let termination = server.and_then(|server| server.termination.as_ref());
    let own = termination.and_then(|termination| match termination.client {
        ClientAuth::None | ClientAuth::Unverified => None,
        ClientAuth::Optional(_) => Some("<of the client's certificate, if it shows one>"),
        ClientAuth::Required(_) => Some("<of the client's certificate>"),
    });
    match (setting, own) {
        (CertificateHeader::AlwaysForwardOnly, _) | (CertificateHeader::ForwardOnly, Some(_)) => Certificate::Keep,
        (CertificateHeader::SanitizeSet, Some(own)) => Certificate::Set(own),
        (CertificateHeader::AppendForward, Some(own)) => Certificate::Append(own),
        (CertificateHeader::Sanitize, Some(_)) | (_, None) => Certificate::Drop,
    }
}
