//! What a server does with TLS: from its settings to a termination (§2.9, GW-10 to GW-19).

use crate::code;
use crate::credentials::{Finder, Trusted};
use crate::settings::Settings;
use ir::{Alpn, ClientAuth, Credential, Termination, TlsParameters, TlsVersion as Version, Trust};
use resources::spec::gateway::{ServerTls, TlsMode, TlsVersion};
use resources::spec::scalar::Text;
use std::sync::Arc;

/// Suites of TLS 1.2 that are spoken; the others of Istio's list are older than they should be.
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];
const GROUPS: [&str; 4] = ["X25519MLKEM768", "X25519", "P-256", "P-384"];

/// The termination of a server; `http` says that HTTP is spoken inside.
pub(super) fn termination(tls: &ServerTls, http: bool, finder: &mut Finder<'_, '_>) -> Termination {
    let credential = credential(tls, finder);
    let client = client(tls, finder);
    // S-96: without the authority that it needs a server agrees with nobody, whether clients have to show a certificate or may.
    let lacks =
        matches!(&client, ClientAuth::Optional(trust) | ClientAuth::Required(trust) if trust.authorities.is_empty());
    let no_authority = Credential::Missing("there is no authority to verify clients by".into());
    Termination {
        credential: if lacks { no_authority } else { credential },
        client,
        parameters: parameters(tls, finder),
        // S-80, §8.3: what is no HTTP offers none of its versions.
        alpn: if http { vec![Alpn::H2, Alpn::Http11] } else { Vec::new() },
    }
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
    let optional = match tls.mode {
        Some(TlsMode::Mutual) => false,
        Some(TlsMode::OptionalMutual) => true,
        Some(TlsMode::Simple | TlsMode::Passthrough | TlsMode::AutoPassthrough | TlsMode::IstioMutual) | None => {
            return ClientAuth::None;
        }
    };
    if tls.insecure_skip_verify == Some(true) {
        return ClientAuth::Unverified;
    }
    let trust = Arc::new(trust(tls, finder));
    if trust.authorities.is_empty() {
        let message = "there is no authority to verify clients by, so that none is let in";
        finder.notes.add(code::NO_AUTHORITY, format!("{}.mode", finder.field), message);
    }
    // Who demands more of a certificate than its authority demands that there is one, as Envoy does.
    let demands = !trust.names.is_empty() || !trust.key_pins.is_empty() || !trust.certificate_pins.is_empty();
    if optional && !demands { ClientAuth::Optional(trust) } else { ClientAuth::Required(trust) }
}

fn trust(tls: &ServerTls, finder: &mut Finder<'_, '_>) -> Trust {
    let trusted = if !tls.ca_cert_credential_name.is_empty() {
        finder.authorities_alone(&tls.ca_cert_credential_name, "caCertCredentialName")
    } else if !tls.credential_name.is_empty() {
        finder.authorities_of(&tls.credential_name, "credentialName")
    } else if let Some(first) = tls.credential_names.first() {
        // S-94.
        finder.authorities_of(first, "credentialNames")
    } else {
        let of_pair = tls.tls_certificates.iter().map(|pair| &*pair.ca_certificates).find(|path| !path.is_empty());
        match (&*tls.ca_certificates, of_pair) {
            ("", None) => Trusted::default(),
            ("", Some(path)) => finder.authorities_in(path, &tls.ca_crl, "tlsCertificates"),
            (path, _) => finder.authorities_in(path, &tls.ca_crl, "caCertificates"),
        }
    };
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
            finder.notes.add(code::BAD_PIN, field, format!("`{text}` is no SHA-256, so that no certificate has it"));
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

fn parameters(tls: &ServerTls, finder: &mut Finder<'_, '_>) -> TlsParameters {
    let mesh = mesh_parameters(finder.world.settings);
    let lowest = version(tls.min_protocol_version, "minProtocolVersion", finder).unwrap_or(mesh.lowest);
    let highest = version(tls.max_protocol_version, "maxProtocolVersion", finder).unwrap_or(Version::V1_3);
    TlsParameters {
        lowest,
        highest: highest.max(lowest),
        suites: unless_none(known(&tls.cipher_suites, "cipherSuites", &SUITES, finder), mesh.suites),
        groups: unless_none(known(&tls.ecdh_curves, "ecdhCurves", &GROUPS, finder), mesh.groups),
    }
}

fn unless_none(own: Vec<Arc<str>>, others: Vec<Arc<str>>) -> Vec<Arc<str>> {
    if own.is_empty() { others } else { own }
}

/// What the mesh has for all that says nothing itself, as far as it is spoken (MC-03).
pub(crate) fn mesh_parameters(settings: &Settings) -> TlsParameters {
    let usual = TlsParameters::default();
    let Some(written) = settings.mesh.tls_defaults.as_deref() else { return usual };
    let spoken = |written: &[Text], known: &[&str]| -> Vec<Arc<str>> {
        written.iter().filter(|name| known.contains(&&***name)).map(|name| (&**name).into()).collect()
    };
    TlsParameters {
        lowest: if written.min_protocol_version == Some(TlsVersion::V1_3) { Version::V1_3 } else { usual.lowest },
        suites: spoken(&written.cipher_suites, &SUITES),
        groups: spoken(&written.ecdh_curves, &GROUPS),
        ..usual
    }
}

/// GW-16: versions below 1.2 are not spoken by anybody who should be let in.
fn version(written: Option<TlsVersion>, at: &str, finder: &mut Finder<'_, '_>) -> Option<Version> {
    match written? {
        TlsVersion::Auto => None,
        TlsVersion::V1_2 => Some(Version::V1_2),
        TlsVersion::V1_3 => Some(Version::V1_3),
        TlsVersion::V1_0 | TlsVersion::V1_1 => {
            let message = "TLS below 1.2 is not spoken; 1.2 is taken";
            finder.notes.add(code::TLS_PARAMETER, format!("{}.{at}", finder.field), message);
            Some(Version::V1_2)
        }
    }
}

/// Those names that are known, in their order; the others are said (GW-17, GW-18).
fn known(written: &[Text], at: &str, known: &[&str], finder: &mut Finder<'_, '_>) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        if !known.contains(&&**name) {
            let message = format!("`{name}` is not spoken and left out");
            finder.notes.add(code::TLS_PARAMETER, format!("{}.{at}[{index}]", finder.field), message);
        } else if !names.iter().any(|there| **there == **name) {
            names.push((&**name).into());
        }
    }
    if names.is_empty() && !written.is_empty() {
        let message = "none of them is spoken, so that the defaults are taken";
        finder.notes.add(code::TLS_PARAMETER, format!("{}.{at}", finder.field), message);
    }
    names
}
