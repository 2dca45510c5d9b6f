//! Peers' certificates of X.509 versions below 3, which webpki does not read: errors of chains name the version as the cause, and signatures of
//! handshakes are verified if no chain is demanded. The verifiers of both sides use it.

use ir::x509::Certificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved};
use std::fmt;
use std::sync::Arc;
use webpki::RawPublicKeyEntity;

/// A peer's chain has a certificate of an unsupported version.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the peer's {which} is X.509 version {version}, and only version 3 can be verified: issue it again with an extension, such as a \
     subjectAltName"
)]
struct OldVersion {
    which: &'static str,
    version: u8,
}

/// The type of other errors in rustls.
impl fmt::Debug for OldVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The error of a rejected chain, with the version of a certificate as the cause if it is.
pub fn explain(error: Error, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> Error {
    let old = |which: &'static str, der: &CertificateDer<'_>| {
        let version = version(der).filter(|version| *version != 3)?;
        Some(Error::from(CertificateError::Other(OtherError(Arc::new(OldVersion { which, version })))))
    };
    // webpki skips certificates that it cannot read: an old version matters only if no issuer was found.
    let unknown = matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer));
    let of_between = || between.iter().filter(|_| unknown).find_map(|der| old("intermediate certificate", der));
    old("certificate", leaf).or_else(of_between).unwrap_or(error)
}

fn version(der: &CertificateDer<'_>) -> Option<u8> {
    Some(Certificate::parse(der).ok()?.version)
}

/// Verifies a TLS 1.2 signature with a certificate of any version.
pub fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match old_key(certificate) {
        None => verify_tls12_signature(message, certificate, signed, algorithms),
        Some(key) => by_key(message, &key, signed, algorithms),
    }
}

/// Verifies a TLS 1.3 signature with a certificate of any version.
pub fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match old_key(certificate) {
        None => verify_tls13_signature(message, certificate, signed, algorithms),
        Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, algorithms),
    }
}

/// The key of a certificate that webpki does not read because of its version.
fn old_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    let certificate = Certificate::parse(certificate).ok().filter(|certificate| certificate.version != 3)?;
    Some(SubjectPublicKeyInfoDer::from(certificate.public_key))
}

/// As in rustls: in TLS 1.2 a scheme does not fix the curve, so each of its algorithms is tried.
fn by_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = RawPublicKeyEntity::try_from(key).map_err(|_| CertificateError::BadEncoding)?;
    let mapped = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let (_, candidates) = mapped.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let verifies = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
        key.verify_signature(*algorithm, message, signed.signature()).is_ok()
    };
    if candidates.iter().any(verifies) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}
