//! TLS to the endpoints of a cluster, as its DestinationRule has it (DR-40 to DR-45).

use crate::credentials::{Finder, Trusted, Used};
use crate::gateways::mesh_parameters;
use crate::report::Notes;
use crate::services::Backing;
use crate::settings::Workload;
use crate::world::World;
use ir::{ClientTls, Credential, Sni, TlsParameters, TlsVersion as Version, Trust, Verify};
use resources::spec::destination_rule::{self as written, ClientTlsMode};
use resources::spec::gateway::TlsVersion;
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

/// Works the settings of a rule out.
pub(super) fn compile(
    world: World<'_>,
    client: &Workload,
    backing: Backing<'_>,
    tls: Option<&written::ClientTls>,
) -> Secured {
    let mut secured = Secured { tls: None, fault: None, used: Used::default(), notes: Notes::default() };
    // `ISTIO_MUTUAL` is between workloads of a mesh, which take clear text too unless told otherwise (DR-46).
    let Some(tls) = tls.filter(|tls| matches!(tls.mode, Some(ClientTlsMode::Simple | ClientTlsMode::Mutual))) else {
        return secured;
    };
    let Secured { used, notes, .. } = &mut secured;
    let field = "spec.trafficPolicy.tls";
    let mut finder = Finder { world, workload: client, field, notes, used };
    let identity = match tls.mode {
        Some(ClientTlsMode::Mutual) => match identity(tls, &mut finder) {
            Credential::Ready(identities) => identities.into_iter().next(),
            Credential::Broken(why) | Credential::Missing(why) => {
                secured.fault = Some(why);
                return secured;
            }
        },
        Some(ClientTlsMode::Simple | ClientTlsMode::Disable | ClientTlsMode::IstioMutual) | None => None,
    };
    let verify = match verify(tls, backing, &mut finder) {
        Ok(verify) => verify,
        Err(why) => {
            secured.fault = Some(why);
            return secured;
        }
    };
    let version = |version: Option<TlsVersion>| match version {
        None | Some(TlsVersion::Auto) => None,
        Some(TlsVersion::V1_3) => Some(Version::V1_3),
        Some(TlsVersion::V1_0 | TlsVersion::V1_1 | TlsVersion::V1_2) => Some(Version::V1_2),
    };
    let mesh = mesh_parameters(world.settings);
    let lowest = version(tls.min_protocol_version).unwrap_or(mesh.lowest);
    let highest = version(tls.max_protocol_version).unwrap_or(Version::V1_3).max(lowest);
    let suites: Vec<Arc<str>> = tls.cipher_suites.iter().map(|suite| (&**suite).into()).collect();
    let suites = if suites.is_empty() { mesh.suites } else { suites };
    let parameters = TlsParameters { lowest, highest, suites, groups: mesh.groups };
    // DR-42.
    let sni = if tls.sni.is_empty() { Sni::Host } else { Sni::Name((&*tls.sni).into()) };
    secured.tls = Some(Arc::new(ClientTls { sni, verify, identity, parameters }));
    secured
}

fn identity(tls: &written::ClientTls, finder: &mut Finder<'_, '_>) -> Credential {
    if tls.credential_name.is_empty() {
        finder.by_files(&[(&tls.client_certificate, &tls.private_key)], "clientCertificate")
    } else {
        finder.by_names(&[&tls.credential_name], "credentialName")
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
        finder.authorities_in(&tls.ca_certificates, &tls.ca_crl, "caCertificates")
    } else {
        Trusted::default()
    };
    if given && trusted.authorities.is_empty() {
        return Err("there is no authority to verify the endpoints by".into());
    }
    let by_sni = names.is_empty();
    let trust: Option<Trust> = (given || !by_sni).then(|| trusted.with_names(names));
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
