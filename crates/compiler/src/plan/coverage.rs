//! Whether the certificates of a server are valid for its hosts, as clients judge it (RFC 9525). What is wrong is reported; the server
//! serves all the same, as clients may know better.

use crate::code;
use crate::report::Notes;
use ir::x509::{Certificate, Name};
use ir::{Credential, HostPattern, Identity};
use std::net::IpAddr;

/// Hosts that a message lists.
const LISTED: usize = 5;

/// Reports certificates that clients of some of the hosts would refuse.
pub(super) fn check<'a>(
    credential: &Credential,
    hosts: impl Iterator<Item = &'a HostPattern> + Clone,
    field: &str,
    notes: &mut Notes,
) {
    let Credential::Ready(identities) = credential else { return };
    for identity in identities {
        if let Some((message, help)) = fault(identity, hosts.clone()) {
            notes.add_with_help(code::CERTIFICATE_NAMES, field, message, help);
        }
    }
}

fn fault<'a>(identity: &Identity, hosts: impl Iterator<Item = &'a HostPattern>) -> Option<(String, &'static str)> {
    let certificate = Certificate::parse(&identity.chain.first()?.0).ok()?;
    let source = &identity.source;
    if !certificate.names.iter().any(|name| matches!(name, Name::Dns(_) | Name::Ip(_))) {
        let version = match certificate.version {
            3 => String::new(),
            version => format!(" (it is X.509 version {version}, which has none)"),
        };
        let help = "issue it again with `subjectAltName=DNS:HOST`; with openssl: `-addext` or `-extfile`";
        let message =
            format!("{source}: the certificate has no subjectAltName{version}: most clients refuse it for every host");
        return Some((message, help));
    }
    let missing: Vec<String> = hosts.filter(|host| !covers(&certificate, host)).map(ToString::to_string).collect();
    let listed = missing.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if missing.len() > LISTED { format!(" and {} more", missing.len() - LISTED) } else { String::new() };
    let valid: Vec<&str> = certificate.dns_names().take(LISTED).collect();
    let valid = if valid.is_empty() { "addresses".to_owned() } else { valid.join(", ") };
    let message = format!("{source}: the certificate is not valid for {listed}{more}; it is valid for {valid}");
    let help = "use a certificate that has the server's hosts among its subjectAltNames";
    (!missing.is_empty()).then_some((message, help))
}

/// Whether clients of a host accept the certificate's names. `*` says nothing of the hosts that there are.
fn covers(certificate: &Certificate<'_>, host: &HostPattern) -> bool {
    match host {
        HostPattern::Any => true,
        HostPattern::Exact(host) => match host.parse::<IpAddr>() {
            Ok(address) => certificate.names.contains(&Name::Ip(address)),
            Err(_) => certificate.dns_names().any(|name| is_for(name, host)),
        },
        HostPattern::Suffix(suffix) => certificate
            .dns_names()
            .any(|name| name.strip_prefix('*').is_some_and(|own| own.eq_ignore_ascii_case(suffix))),
    }
}

/// A wildcard stands for one label.
fn is_for(name: &str, host: &str) -> bool {
    let wildcard = || {
        let (label, rest) = host.split_once('.')?;
        Some(!label.is_empty() && name.strip_prefix("*.")?.eq_ignore_ascii_case(rest))
    };
    name.eq_ignore_ascii_case(host) || wildcard().unwrap_or(false)
}
