//! TLS to the endpoints of a cluster, as its DestinationRule has it (DR-40 to DR-45).

use crate::code;
use crate::context::CompileContext;
use crate::credentials::{Finder, Trusted, Used};
use crate::report::Notes;
use crate::services::Backing;
use crate::settings::Workload;
use crate::tls_parameters::{self, Written};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ir::{ClientTls, Credential, Identity, Sni, Trust, Verify};
use resources::spec::destination_rule::{self as written, ClientTlsMode};
use resources::spec::scalar::Text;
use std::sync::Arc;

/// What came of the settings.
pub(super) struct Secured {
    pub(super) tls: Option<Arc<ClientTls>>,
    /// Why nothing may be sent: who asks for TLS must not get less than was asked for.
    pub(super) fault: Option<Arc<str>>,
    pub(super) used: Used,
    pub(super) notes: Notes,
}

/// The TLS to a host, as its rules have it.
#[derive(Clone, Copy)]
pub(super) struct OriginTls<'a> {
    /// The namespace of the rules, of which none are merged with those of another; empty where there are none.
    pub(super) owner: &'a str,
    pub(super) tls: Option<&'a written::ClientTls>,
    pub(super) pins: Option<&'a str>,
}

/// Works the settings of a rule out.
pub(super) fn compile(
    context: CompileContext<'_>,
    client: &Workload,
    backing: Backing<'_>,
    origin_tls: OriginTls<'_>,
) -> Secured {
    let OriginTls { owner, tls, pins } = origin_tls;
    let mut secured = Secured { tls: None, fault: None, used: Used::default(), notes: Notes::default() };
    let mode = tls.and_then(|tls| tls.mode).unwrap_or(ClientTlsMode::Disable);
    let Some(tls) = tls.filter(|_| mode != ClientTlsMode::Disable) else {
        if pins.is_some() {
            secured.fault = Some(pins_without_tls(&mut secured.notes));
        }
        return secured;
    };
    let Secured { used, notes, .. } = &mut secured;
    let mut finder = Finder { context, workload: client, owner, field: "spec.trafficPolicy.tls", notes, used };
    let identity = match mode {
        ClientTlsMode::Disable => return secured,
        ClientTlsMode::Simple => Ok(None),
        ClientTlsMode::Mutual => identity(tls, &mut finder).map(Some),
        // DR-46: it is never clear text instead, although endpoints may take that too.
        ClientTlsMode::IstioMutual => Err(no_mesh_certificate(&mut finder)),
    };
    let settled = identity.and_then(|identity| settle(tls, pins, identity, backing, &mut finder));
    match settled {
        Ok(settled) => secured.tls = Some(Arc::new(settled)),
        Err(why) => secured.fault = Some(why),
    }
    secured
}

fn settle(
    tls: &written::ClientTls,
    pins: Option<&str>,
    identity: Option<Arc<Identity>>,
    backing: Backing<'_>,
    finder: &mut Finder<'_, '_>,
) -> Result<ClientTls, Arc<str>> {
    let verify = verify(tls, backing, finder)?;
    let written = Written {
        lowest: tls.min_protocol_version,
        highest: tls.max_protocol_version,
        suites: &tls.cipher_suites,
        curves: &[],
    };
    let parameters = tls_parameters::compile(written, finder)?;
    // DR-42.
    let sni = if tls.sni.is_empty() { Sni::Host } else { Sni::Name((&*tls.sni).into()) };
    let key_pins = pins.map_or_else(Vec::new, |pins| key_pins(pins, finder.notes));
    Ok(ClientTls { sni, verify, identity, key_pins, parameters })
}

/// The public keys that endpoints may have, as curl and browsers write them. A text that is none is kept as a key that nothing has: fewer keys would
/// let more in.
fn key_pins(written: &str, notes: &mut Notes) -> Vec<[u8; 32]> {
    let read = |text: &str| STANDARD.decode(text.strip_prefix("sha256/")?).ok()?.try_into().ok();
    let mut pins = Vec::new();
    for text in written.split(',').map(str::trim) {
        let pin = read(text);
        if pin.is_none() {
            let message =
                format!("`{text}` is not `sha256/` and the base64 of a SHA-256 digest, and matches no public key");
            let help = "`openssl x509 -in CERTIFICATE -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`";
            notes.add_with_help(code::BAD_PIN, "metadata.annotations", message, help);
        }
        pins.push(pin.unwrap_or([0; 32]));
    }
    pins
}

fn pins_without_tls(notes: &mut Notes) -> Arc<str> {
    const WHY: &str = "public keys are demanded of endpoints to which no TLS is spoken";
    let help = "give the rule `trafficPolicy.tls` with the mode SIMPLE or MUTUAL";
    notes.add_with_help(code::PINS_WITHOUT_TLS, "metadata.annotations", format!("{WHY}; requests get 503"), help);
    WHY.into()
}

fn no_mesh_certificate(finder: &mut Finder<'_, '_>) -> Arc<str> {
    const MESSAGE: &str = "ISTIO_MUTUAL needs a mesh certificate, which Moongate cannot get yet: requests get 503";
    let help = "use SIMPLE, MUTUAL with a certificate of its own, or DISABLE where the endpoints accept clear text";
    finder.notes.add_with_help(code::NO_MESH_CERTIFICATE, format!("{}.mode", finder.field), MESSAGE, help);
    "ISTIO_MUTUAL needs a mesh certificate".into()
}

fn identity(tls: &written::ClientTls, finder: &mut Finder<'_, '_>) -> Result<Arc<Identity>, Arc<str>> {
    let found = if tls.credential_name.is_empty() {
        finder.by_files(&[(&tls.client_certificate, &tls.private_key)], "clientCertificate")
    } else {
        finder.by_names(&[&tls.credential_name], "credentialName")
    };
    match found {
        Credential::Ready(identities) => {
            identities.into_iter().next().ok_or_else(|| "there is no client certificate".into())
        }
        Credential::Broken(why) | Credential::Missing(why) => Err(why),
    }
}

/// DR-41, DR-43.
fn verify(tls: &written::ClientTls, backing: Backing<'_>, finder: &mut Finder<'_, '_>) -> Result<Verify, Arc<str>> {
    if tls.insecure_skip_verify == Some(true) {
        return Ok(Verify::Nothing);
    }
    let names = names(tls, backing);
    let given = !tls.credential_name.is_empty() || !tls.ca_certificates.is_empty();
    let trusted = if !tls.credential_name.is_empty() {
        finder.authorities_of(&tls.credential_name, "credentialName")
    } else if !tls.ca_certificates.is_empty() {
        finder.authorities_in(&tls.ca_certificates, "caCertificates")
    } else {
        Trusted::default()
    };
    if given && trusted.authorities.is_empty() {
        return Err("there is no CA certificate to verify the endpoints by".into());
    }
    let revoked = match &*tls.ca_crl {
        "" => Vec::new(),
        path => {
            let found = finder.revoked_in(path);
            found.ok_or_else(|| Arc::from("the list of revoked certificates in `caCrl` cannot be used"))?
        }
    };
    let by_sni = names.is_empty();
    let demands = given || !by_sni || !revoked.is_empty();
    let at = if tls.ca_crl.is_empty() { "credentialName" } else { "caCrl" };
    let trusted = trusted.without(Some(revoked));
    finder.check_coverage(&trusted, at);
    let trust: Option<Trust> = demands.then(|| trusted.with_names(names));
    Ok(Verify::Authorities { trust: trust.map(Arc::new), by_sni })
}

/// The rule's own names, else those of the ServiceEntry.
fn names<'a>(tls: &'a written::ClientTls, backing: Backing<'a>) -> &'a [Text] {
    match backing {
        _ if !tls.subject_alt_names.is_empty() => &tls.subject_alt_names,
        Backing::Entry(entry) => &entry.spec.subject_alt_names,
        Backing::Service(_) => &[],
    }
}
