//! Versions, suites and curves of TLS, of servers and towards endpoints (GW-16 to GW-18, DR-45, MC-03). What is written bounds what may
//! be negotiated: where nothing of it is supported, nothing else takes its place.

use crate::code;
use crate::credentials::Finder;
use ir::{TlsParameters, TlsVersion as Version};
use resources::spec::gateway::TlsVersion;
use resources::spec::scalar::Text;
use std::sync::Arc;

/// Suites of TLS 1.2 that are supported; the others of Istio's list lack forward secrecy or authenticated encryption.
const SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];
const GROUPS: &[&str] = &["X25519MLKEM768", "X25519", "P-256", "P-384"];

/// What an object says of it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) lowest: Option<TlsVersion>,
    pub(crate) highest: Option<TlsVersion>,
    pub(crate) suites: &'a [Text],
    pub(crate) curves: &'a [Text],
}

/// Works the parameters out. An error says why no handshake could keep to them.
pub(crate) fn compile(written: Written<'_>, finder: &mut Finder<'_, '_>) -> Result<TlsParameters, Arc<str>> {
    let mesh = finder.context.settings.mesh.tls_defaults.as_deref();
    let of_mesh = mesh.map_or(Written::default(), |mesh| Written {
        lowest: mesh.min_protocol_version,
        highest: None,
        suites: &mesh.cipher_suites,
        curves: &mesh.ecdh_curves,
    });
    let usual = TlsParameters::default();
    let mesh_lowest = if of_mesh.lowest == Some(TlsVersion::V1_3) { Version::V1_3 } else { usual.lowest };
    let lowest = version(written.lowest, "minProtocolVersion", finder).unwrap_or(mesh_lowest);
    let highest = version(written.highest, "maxProtocolVersion", finder).unwrap_or(usual.highest).max(lowest);
    let suites = supported(&Lists { own: written.suites, of_mesh: of_mesh.suites }, "cipherSuites", SUITES, finder);
    let groups = supported(&Lists { own: written.curves, of_mesh: of_mesh.curves }, "ecdhCurves", GROUPS, finder);
    let groups = groups.map_err(|()| Arc::from("none of the curves in `ecdhCurves` is supported"))?;
    match suites {
        Ok(suites) => Ok(TlsParameters { lowest, highest, suites, groups }),
        // The list is about TLS 1.2, which is left with no suite.
        Err(()) if highest == Version::V1_3 => {
            Ok(TlsParameters { lowest: Version::V1_3, highest, suites: Vec::new(), groups })
        }
        Err(()) => Err("none of the suites in `cipherSuites` is supported, and TLS 1.3 is not allowed".into()),
    }
}

/// GW-16: versions below 1.2 are not spoken to anybody.
fn version(written: Option<TlsVersion>, at: &str, finder: &mut Finder<'_, '_>) -> Option<Version> {
    match written? {
        TlsVersion::Auto => None,
        TlsVersion::V1_2 => Some(Version::V1_2),
        TlsVersion::V1_3 => Some(Version::V1_3),
        TlsVersion::V1_0 | TlsVersion::V1_1 => {
            let message = "TLS below 1.2 is not supported; TLS 1.2 is used";
            finder.notes.add(code::TLS_PARAMETER, format!("{}.{at}", finder.field), message);
            Some(Version::V1_2)
        }
    }
}

/// The lists of an object and of the mesh.
struct Lists<'a> {
    own: &'a [Text],
    of_mesh: &'a [Text],
}

/// The supported names of an object's list, or of the mesh's where the object has none, in their order; the others are reported (GW-17,
/// GW-18). No list is the default ones; an error is a list of which nothing is supported.
fn supported(lists: &Lists<'_>, at: &str, known: &[&str], finder: &mut Finder<'_, '_>) -> Result<Vec<Arc<str>>, ()> {
    let Lists { own, of_mesh } = *lists;
    let written = if own.is_empty() { of_mesh } else { own };
    let mut names: Vec<Arc<str>> = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        if known.contains(&&**name) {
            if !names.iter().any(|there| **there == **name) {
                names.push((&**name).into());
            }
        } else if !own.is_empty() {
            let message = format!("`{name}` is not supported, and left out");
            finder.notes.add(code::TLS_PARAMETER, format!("{}.{at}[{index}]", finder.field), message);
        }
    }
    if names.is_empty() && !written.is_empty() {
        let what = if at == "cipherSuites" { "TLS 1.2 is not offered" } else { "every handshake fails" };
        let whose = if own.is_empty() { "the mesh's `tlsDefaults`" } else { "the list" };
        let help = format!("add one of {}", known.join(", "));
        let message = format!("nothing in {whose} is supported, so that {what}");
        finder.notes.add_with_help(code::NO_TLS_PARAMETER, format!("{}.{at}", finder.field), message, help);
        return Err(());
    }
    Ok(names)
}
