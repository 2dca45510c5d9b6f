//! Certificates of our own with their keys, as rustls presents them: servers' to clients and ours to endpoints. Whose certificates are
//! trusted is `certificate`'s and `tls`'.
//!
//! rustls compares a key with its certificate by webpki, which reads X.509 version 3 alone; peers that OpenSSL or BoringSSL verify for
//! accept version 1. So the comparison is made here, by `ir::x509`.

use ir::x509::{Certificate, InvalidCertificate};
use ir::{Identity, KeyForm};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Why a certificate cannot be presented. The compiler has refused such pairs before, with more words.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIdentity {
    /// There is none, or it cannot be read.
    #[error("{0}")]
    Certificate(#[from] InvalidCertificate),
    /// The key is of a kind that is not supported.
    #[error("the private key cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// The key belongs to another certificate.
    #[error("private key does not match the certificate")]
    Mismatch,
}

/// Works out what is presented.
pub fn certified(identity: &Identity) -> Result<CertifiedKey, InvalidIdentity> {
    let der = identity.key.der.to_vec();
    let key = match identity.key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
    };
    let key = any_supported_type(&key)?;
    let first = identity.chain.first().map_or(&[][..], |first| &first.0);
    let certificate = Certificate::parse(first)?;
    if key.public_key().is_none_or(|public| public.as_ref() != certificate.public_key) {
        return Err(InvalidIdentity::Mismatch);
    }
    let chain = identity.chain.iter().map(|certificate| CertificateDer::from(certificate.0.to_vec())).collect();
    let mut certified = CertifiedKey::new(chain, key);
    certified.ocsp = identity.staple.as_ref().map(|staple| staple.0.to_vec());
    Ok(certified)
}
