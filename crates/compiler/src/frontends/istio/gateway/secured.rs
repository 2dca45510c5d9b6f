//! What a server does with TLS: from its settings to a termination (GW-10 to GW-19).

use crate::code;
use crate::credentials::{Finder, Trusted};
use crate::tls_parameters::{self, Written};
use ir::{Alpn, ClientAuth, Credential, Termination, TlsParameters, Trust};
use resources::spec::gateway::{ServerTls, TlsMode};
use resources::spec::scalar::Text;
use std::sync::Arc;

/// The termination of a server; `http` says that HTTP is spoken inside.
pub(super) fn termination(tls: &ServerTls, http: bool, finder: &mut Finder<'_, '_>) -> Termination {
    // S-80: a server that is not HTTP offers no version of HTTP.
    let alpn = if http { vec![Alpn::H2, Alpn::Http11] } else { Vec::new() };
    if tls.mode == Some(TlsMode::IstioMutual) {
        return closed(NO_MESH_CERTIFICATE, alpn, finder);
    }
    let credential = credential(tls, finder);
    let client = client(tls, finder);
    // S-96: without the authority that it needs a server agrees with nobody, whether clients have to show a certificate or may.
    let lacks =
        matches!(&client, ClientAuth::Optional(trust) | ClientAuth::Required(trust) if trust.authorities.is_empty());
    let no_authority = Credential::Missing("no CA certificate: every client is rejected".into());
    let credential = if lacks { no_authority } else { credential };
    let written = Written {
        lowest: tls.min_protocol_version,
        highest: tls.max_protocol_version,
        suites: &tls.cipher_suites,
        curves: &tls.ecdh_curves,
    };
    match tls_parameters::compile(written, finder) {
        Ok(parameters) => Termination { credential, client, parameters, alpn },
        Err(why) => {
            Termination { credential: Credential::Missing(why), client, parameters: TlsParameters::default(), alpn }
        }
    }
}

/// What is reported of ISTIO_MUTUAL, and answered to whoever asks why there is no handshake.
const NO_MESH_CERTIFICATE: &str =
    "ISTIO_MUTUAL needs a mesh certificate, which Moongate cannot get yet: every client is rejected";

/// A server that takes its names, so that no other server answers for them, and lets nobody in (GW-10).
fn closed(why: &str, alpn: Vec<Alpn>, finder: &mut Finder<'_, '_>) -> Termination {
    let help = "use MUTUAL with `credentialName` and the CA certificate of its clients";
    finder.notes.add_with_help(code::MESH_CERTIFICATE, format!("{}.mode", finder.field), why, help);
    let nobody = Arc::new(Trusted::default().with_names(&[]));
    let (credential, client) = (Credential::Missing(why.into()), ClientAuth::Required(nobody));
    Termination { credential, client, parameters: TlsParameters::default(), alpn }
}

fn credential(tls: &ServerTls, finder: &mut Finder<'_, '_>) -> Credential {
    if !tls.credential_name.is_empty() {
        return finder.by_names(&[&tls.credential_name], "credentialName");
    }
    if !tls.credential_names.is_empty() {
        let names: Vec<&str> = tls.credential_names.iter().map(|name| &**name).collect();
        return finder.by_names(&names, "credentialNames");
    }
    if !tls.tls_certificates.is_empty() {
        let pair = |pair: &'_ resources::spec::gateway::TlsCertificate| {
            (pair.server_certificate.to_string(), pair.private_key.to_string())
        };
        let pairs: Vec<_> = tls.tls_certificates.iter().map(pair).collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(certificate, key)| (&**certificate, &**key)).collect();
        return finder.by_files(&pairs, "tlsCertificates");
    }
    finder.by_files(&[(&tls.server_certificate, &tls.private_key)], "serverCertificate")
}

fn client(tls: &ServerTls, finder: &mut Finder<'_, '_>) -> ClientAuth {
    // Who demands more of a certificate than its authority demands that there is one, as Envoy does; and whatever else is written.
    let demand = demand(tls);
    let mode = tls.mode.unwrap_or(TlsMode::Passthrough);
    let contradiction = match (mode, demand) {
        (TlsMode::Passthrough | TlsMode::AutoPassthrough | TlsMode::IstioMutual, _) => return ClientAuth::None,
        (TlsMode::Simple, None) => return ClientAuth::None,
        (TlsMode::Simple, Some(_)) => Some("mode"),
        (TlsMode::Mutual | TlsMode::OptionalMutual, None) if tls.insecure_skip_verify == Some(true) => {
            return ClientAuth::Unverified;
        }
        (TlsMode::Mutual | TlsMode::OptionalMutual, _) => {
            (tls.insecure_skip_verify == Some(true)).then_some("insecureSkipVerify")
        }
    };
    if let (Some(at), Some(demand)) = (contradiction, demand) {
        let message = format!(
            "`{demand}` is a demand on client certificates, so that each client has to show one that is verified"
        );
        let help = format!("remove `{demand}`, or use MUTUAL without `insecureSkipVerify`");
        finder.notes.add_with_help(code::CLIENT_DEMANDS, format!("{}.{at}", finder.field), message, help);
    }
    let trust = Arc::new(trust(tls, finder));
    if trust.authorities.is_empty() {
        let message = "no CA certificate: every client is rejected";
        finder.notes.add(code::NO_AUTHORITY, format!("{}.mode", finder.field), message);
    }
    let optional = mode == TlsMode::OptionalMutual && demand.is_none();
    if optional { ClientAuth::Optional(trust) } else { ClientAuth::Required(trust) }
}

/// The field that demands something of client certificates beside their authority (GW-15).
fn demand(tls: &ServerTls) -> Option<&'static str> {
    let fields = [
        ("subjectAltNames", &tls.subject_alt_names),
        ("verifyCertificateSpki", &tls.verify_certificate_spki),
        ("verifyCertificateHash", &tls.verify_certificate_hash),
    ];
    fields.into_iter().find(|(_, values)| !values.is_empty()).map(|(field, _)| field)
}

fn trust(tls: &ServerTls, finder: &mut Finder<'_, '_>) -> Trust {
    let (trusted, at) = if !tls.ca_cert_credential_name.is_empty() {
        let at = "caCertCredentialName";
        (finder.authorities_alone(&tls.ca_cert_credential_name, at), at)
    } else if !tls.credential_name.is_empty() {
        let at = "credentialName";
        (finder.authorities_of(&tls.credential_name, at), at)
    } else if let Some(first) = tls.credential_names.first() {
        // S-94.
        let at = "credentialNames";
        (finder.authorities_of(first, at), at)
    } else {
        let of_pair = tls.tls_certificates.iter().map(|pair| &*pair.ca_certificates).find(|path| !path.is_empty());
        let trusted = match (&*tls.ca_certificates, of_pair) {
            ("", None) => Trusted::default(),
            ("", Some(path)) => finder.authorities_in(path, "tlsCertificates"),
            (path, _) => finder.authorities_in(path, "caCertificates"),
        };
        (trusted, "caCrl")
    };
    let (trusted, at) = match &*tls.ca_crl {
        "" => (trusted, at),
        path => (trusted.without(finder.revoked_in(path)), "caCrl"),
    };
    finder.check_coverage(&trusted, at);
    let mut trust = trusted.with_names(&tls.subject_alt_names);
    trust.key_pins = pins(&tls.verify_certificate_spki, "verifyCertificateSpki", base64, finder);
    trust.certificate_pins = pins(&tls.verify_certificate_hash, "verifyCertificateHash", hex, finder);
    trust
}

/// GW-15. A pin that cannot be read is kept as one that nothing has: fewer pins would let more in.
fn pins(texts: &[Text], at: &str, read: fn(&str) -> Option<[u8; 32]>, finder: &mut Finder<'_, '_>) -> Vec<[u8; 32]> {
    let mut pins = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let pin = read(text);
        if pin.is_none() {
            let field = format!("{}.{at}[{index}]", finder.field);
            finder.notes.add(
                code::BAD_PIN,
                field,
                format!("`{text}` is not a SHA-256 digest, and matches no certificate"),
            );
        }
        pins.push(pin.unwrap_or([0; 32]));
    }
    pins
}

fn base64(text: &str) -> Option<[u8; 32]> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut pin = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (place, pair) in pin.iter_mut().zip(digits.chunks(2)) {
        *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(pin)
}
