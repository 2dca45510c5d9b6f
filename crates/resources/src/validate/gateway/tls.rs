//! TLS settings of a server: GW-09 to GW-20.

use crate::code;
use crate::diagnostic::Findings;
use crate::spec::gateway::{Protocol, ServerTls, TlsMode, TlsVersion};
use std::collections::BTreeSet;

/// Suites that Istio knows up to TLS 1.2 (GW-17); it leaves others out.
const CIPHER_SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-SHA",
    "AES128-SHA",
    "DES-CBC3-SHA",
];

/// GW-20: what the protocol of a port asks of its TLS settings.
pub(super) fn check(protocol: Protocol, tls: Option<&ServerTls>, findings: &mut Findings) {
    let needed = matches!(protocol, Protocol::Https | Protocol::Tls);
    let Some(tls) = tls else {
        if needed {
            let help = "add `tls` with a mode and a certificate";
            findings.error("tls", code::GATEWAY_TLS, "a server for HTTPS or TLS needs `tls`", help);
        }
        return;
    };
    if tls.https_redirect && protocol != Protocol::Http {
        let help = "put it into a server for HTTP on port 80";
        findings.warning("tls.httpsRedirect", code::GATEWAY_TLS, "only plain HTTP can be redirected to HTTPS", help);
    }
    if protocol == Protocol::HttpProxy && is_passed_through(mode(tls)) {
        let message = "a forward proxy cannot pass TLS through";
        findings.error("tls.mode", code::GATEWAY_TLS, message, "use SIMPLE, MUTUAL or OPTIONAL_MUTUAL, or no `tls`");
    } else if needed || protocol == Protocol::HttpProxy {
        findings.at("tls", |findings| check_settings(tls, findings));
    } else if protocol != Protocol::Http {
        let help = "use the protocol TLS";
        findings.error("tls", code::GATEWAY_TLS, "a server for TCP may not have `tls`", help);
    } else if !is_passed_through(mode(tls)) || has_files(tls) {
        let message = "a server for HTTP does not end TLS: only `httpsRedirect` may be set";
        findings.error("tls", code::GATEWAY_TLS, message, "use the protocol HTTPS, or keep `httpsRedirect` alone");
    } else if sources(tls) > 0 {
        let message = "a server for HTTP does not end TLS, so that the certificate is not used";
        findings.warning("tls", code::GATEWAY_TLS, message, "use the protocol HTTPS, or keep `httpsRedirect` alone");
    }
}

fn mode(tls: &ServerTls) -> TlsMode {
    tls.mode.unwrap_or(TlsMode::Passthrough)
}

fn is_passed_through(mode: TlsMode) -> bool {
    matches!(mode, TlsMode::Passthrough | TlsMode::AutoPassthrough)
}

fn has_files(tls: &ServerTls) -> bool {
    [&tls.server_certificate, &tls.private_key, &tls.ca_certificates].iter().any(|file| !file.is_empty())
}

fn sources(tls: &ServerTls) -> usize {
    let given = [
        !tls.server_certificate.is_empty(),
        !tls.credential_name.is_empty(),
        !tls.credential_names.is_empty(),
        !tls.tls_certificates.is_empty(),
    ];
    given.iter().filter(|given| **given).count()
}

fn check_settings(tls: &ServerTls, findings: &mut Findings) {
    check_versions(tls, findings);
    let own = sources(tls) > 0 || has_files(tls);
    match mode(tls) {
        TlsMode::Passthrough | TlsMode::AutoPassthrough => {
            if own || !tls.ca_crl.is_empty() {
                let message = "TLS is passed through, so that certificates are not used";
                findings.warning("mode", code::GATEWAY_TLS, message, "use SIMPLE to end TLS here");
            }
        }
        TlsMode::IstioMutual => {
            if own {
                let message = "ISTIO_MUTUAL uses the workload's own certificate";
                findings.error("mode", code::GATEWAY_TLS, message, "remove the certificate, or use MUTUAL");
            }
        }
        mode @ (TlsMode::Simple | TlsMode::Mutual | TlsMode::OptionalMutual) => {
            check_sources(tls, findings);
            check_authorities(tls, mode, findings);
        }
    }
}

/// GW-11 to GW-13: exactly one source of certificates.
fn check_sources(tls: &ServerTls, findings: &mut Findings) {
    let help = "set one of `credentialName`, `credentialNames`, `serverCertificate` and `tlsCertificates`";
    match sources(tls) {
        0 => findings.error("", code::GATEWAY_TLS, "the server has no certificate", help),
        1 => {}
        _ => findings.error("", code::GATEWAY_TLS, "the server has more than one source of certificates", help),
    }
    if !tls.server_certificate.is_empty() && tls.private_key.is_empty() {
        let help = "set `privateKey`";
        findings.error("privateKey", code::GATEWAY_TLS, "the certificate has no private key", help);
    }
    for (field, count) in
        [("credentialNames", tls.credential_names.len()), ("tlsCertificates", tls.tls_certificates.len())]
    {
        if count > 2 {
            let help = "keep one with an RSA key and one with an ECDSA key";
            findings.error(field, code::GATEWAY_TLS, "there may be two certificates at most", help);
        }
    }
    for (at, pair) in tls.tls_certificates.iter().enumerate() {
        for (field, file) in [("serverCertificate", &pair.server_certificate), ("privateKey", &pair.private_key)] {
            if file.is_empty() {
                let field = format!("tlsCertificates[{at}].{field}");
                let help = "set both `serverCertificate` and `privateKey`";
                findings.error(&field, code::GATEWAY_TLS, "a certificate and its key go together", help);
            }
        }
    }
}

/// GW-11, GW-14, GW-20: what client certificates are checked with.
fn check_authorities(tls: &ServerTls, mode: TlsMode, findings: &mut Findings) {
    let credential = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let named = credential || !tls.ca_cert_credential_name.is_empty();
    let with_pairs = tls.tls_certificates.iter().any(|pair| !pair.ca_certificates.is_empty());
    if mode != TlsMode::Simple && !named && tls.ca_certificates.is_empty() && !with_pairs && sources(tls) > 0 {
        let message = "client certificates cannot be checked without a CA";
        findings.error("caCertificates", code::GATEWAY_TLS, message, "set `caCertificates` or `caCertCredentialName`");
    }
    if tls.ca_crl.is_empty() {
        return;
    }
    if credential {
        let help = "put it into the Secret under `ca.crl`";
        findings.error(
            "caCrl",
            code::GATEWAY_TLS,
            "with `credentialName` the list of revocations is in the Secret",
            help,
        );
    }
    if mode == TlsMode::Simple {
        let help = "remove it, or use MUTUAL";
        findings.error("caCrl", code::GATEWAY_TLS, "SIMPLE checks no client certificates", help);
    }
}

/// GW-16, GW-17.
fn check_versions(tls: &ServerTls, findings: &mut Findings) {
    let old = matches!(tls.min_protocol_version, Some(TlsVersion::V1_0 | TlsVersion::V1_1));
    if old && tls.cipher_suites.is_empty() {
        let message = "no default cipher suite is for versions below TLS 1.2";
        findings.warning("minProtocolVersion", code::GATEWAY_CIPHERS, message, "name them in `cipherSuites`");
    }
    let mut seen = BTreeSet::new();
    for (at, suite) in tls.cipher_suites.iter().enumerate() {
        let known = CIPHER_SUITES.contains(&&**suite);
        if !known || !seen.insert(suite) {
            let what = if known { "is a duplicate" } else { "is not known" };
            let message = format!("`{suite}` {what}, and is left out");
            findings.warning(&format!("cipherSuites[{at}]"), code::GATEWAY_CIPHERS, message, "remove it");
        }
    }
}
