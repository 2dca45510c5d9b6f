//! Peers' certificates below X.509 version 3. webpki, which verifies chains, reads none; here a refusal for that says so, and signatures
//! of handshakes are verified where nobody asks for a chain. The verifiers of both sides call it.

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

/// A peer's chain has a certificate of a version that is not verified.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the peer's {which} is X.509 version {version}, and only version 3 can be verified: issue it again with an extension, such as a \
     subjectAltName"
)]
struct OldVersion {
    which: &'static str,
    version: u8,
}

/// rustls writes errors of others so.
impl fmt::Debug for OldVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The error of a chain that was refused, with the cause in words where that is a certificate's version.
pub fn explain(error: Error, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> Error {
    let old = |which: &'static str, der: &CertificateDer<'_>| {
        let version = version(der).filter(|version| *version != 3)?;
        Some(Error::from(CertificateError::Other(OtherError(Arc::new(OldVersion { which, version })))))
    };
    // What issued a certificate is looked for among others first: one of an old version matters only where no issuer was found.
    let unknown = matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer));
    let of_between = || between.iter().filter(|_| unknown).find_map(|der| old("intermediate certificate", der));
    old("certificate", leaf).or_else(of_between).unwrap_or(error)
}

fn version(der: &CertificateDer<'_>) -> Option<u8> {
    Some(Certificate::parse(der).ok()?.version)
}

/// Verifies a signature of TLS 1.2, by a certificate of any version.
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

/// Verifies a signature of TLS 1.3, by a certificate of any version.
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

/// The key of a certificate that webpki does not read for its version.
fn old_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    let certificate = Certificate::parse(certificate).ok().filter(|certificate| certificate.version != 3)?;
    Some(SubjectPublicKeyInfoDer::from(certificate.public_key))
}

/// As rustls does by a certificate: in TLS 1.2 a scheme does not say the curve, so that each algorithm of it is tried.
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
