//! The gateway's certificates and keys in the form of rustls: of servers for clients, and of the gateway for endpoints. Trust is the subject of
//! `certificate` and `tls`.
//!
//! rustls compares a key with its certificate by webpki, which reads only X.509 version 3, while peers with OpenSSL or BoringSSL accept version 1.
//! So this module compares them by `ir::x509`.

use ir::x509::{Certificate, InvalidCertificate};
use ir::{Identity, KeyForm};
use rustls::crypto::aws_lc_rs::sign::{any_ecdsa_type, any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Why a certificate cannot be presented. The compiler has reported such pairs before, with more detail.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIdentity {
    /// There is no certificate, or it cannot be read.
    #[error("{0}")]
    Certificate(#[from] InvalidCertificate),
    /// The kind of the key is not supported.
    #[error("the private key cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// The key does not match the certificate.
    #[error("private key does not match the certificate")]
    Mismatch,
}

/// Converts a certificate with its key, without its OCSP response, which counts for a while only.
pub fn certified(identity: &Identity) -> Result<CertifiedKey, InvalidIdentity> {
    let der = identity.key.der.to_vec();
    let key = match identity.key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
    };
    let first = identity.chain.first().map_or(&[][..], |first| &first.0);
    let certificate = Certificate::parse(first)?;
    // Without the certificate's hint each type is tried in turn, and each checks the whole key.
    let key = match ir::x509::has_ec_key(first) {
        true => any_ecdsa_type(&key),
        false => any_supported_type(&key),
    }?;
    if key.public_key().is_none_or(|public| public.as_ref() != certificate.public_key) {
        return Err(InvalidIdentity::Mismatch);
    }
    let chain = identity.chain.iter().map(|certificate| CertificateDer::from(certificate.0.to_vec())).collect();
    Ok(CertifiedKey::new(chain, key))
}
