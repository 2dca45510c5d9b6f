//! Whether an OCSP response may be presented with a certificate (S-84): it has to be about it, say that it is good and until when, and be signed by
//! whoever may. Without the issuer's certificate in the chain the signature stays unchecked, as in Envoy. Time is not judged here: there is no
//! clock, and a response expires while it is in use.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use ir::x509::{Answer, Certificate, HashAlgorithm, InvalidResponse, OcspResponse, Status};
use ir::{Der, Staple};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert};

/// `id-kp-OCSPSigning` (RFC 6960 §4.2.2.2).
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];

/// Why a response is not presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("{0}")]
    Invalid(#[from] InvalidResponse),
    #[error("it is about another certificate")]
    Other,
    #[error("it says that the certificate is revoked")]
    Revoked,
    #[error("it says that the certificate is not known")]
    Unknown,
    #[error("it does not say until when it is valid")]
    Endless,
    #[error("it is not signed by the certificate's issuer, nor by a responder of it")]
    Signature,
}

/// The response for a chain, whose first certificate is the server's.
pub(super) fn of_chain(response: &[u8], chain: &[Der]) -> Result<Staple, Unusable> {
    let read = OcspResponse::parse(response)?;
    let leaf = chain.first().and_then(|leaf| Certificate::parse(&leaf.0).ok()).ok_or(Unusable::Other)?;
    let issuer = chain.get(1).and_then(|der| Some((der, Certificate::parse(&der.0).ok()?)));
    let issuer = issuer.filter(|(_, issuer)| issuer.subject == leaf.issuer);
    let key = issuer.as_ref().map(|(_, issuer)| issuer.public_key);
    let answer = read.answers.iter().find(|answer| is_about(answer, &leaf, key)).ok_or(Unusable::Other)?;
    match answer.status {
        Status::Good => {}
        Status::Revoked => return Err(Unusable::Revoked),
        Status::Unknown => return Err(Unusable::Unknown),
    }
    let next_update = answer.next_update.ok_or(Unusable::Endless)?;
    if let Some((der, issuer)) = issuer
        && !is_signed(&read, der, issuer.public_key)
    {
        return Err(Unusable::Signature);
    }
    Ok(Staple { response: Der(response.into()), this_update: answer.this_update, next_update })
}

/// Whether an answer names the certificate: by its serial number and its issuer's name, and the issuer's key where that is known.
fn is_about(answer: &Answer<'_>, leaf: &Certificate<'_>, issuer: Option<&[u8]>) -> bool {
    let Some(hash) = answer.hash else { return false };
    let algorithm = match hash {
        HashAlgorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => &SHA256,
        HashAlgorithm::Sha384 => &SHA384,
        HashAlgorithm::Sha512 => &SHA512,
    };
    let is = |hashed: &[u8], bytes: &[u8]| digest(algorithm, bytes).as_ref() == hashed;
    answer.serial == leaf.serial
        && is(answer.issuer_name, leaf.issuer_der)
        && issuer.is_none_or(|key| ir::x509::key_bits(key).is_some_and(|bits| is(answer.issuer_key, bits)))
}

/// Whether the issuer signed a response, or a responder whom it gave the right to.
fn is_signed(response: &OcspResponse<'_>, issuer: &Der, key: &[u8]) -> bool {
    let by = |key: &[u8]| {
        let key = SubjectPublicKeyInfoDer::from(key);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        algorithms(response).any(|one| key.verify_signature(one, response.signed, response.signature).is_ok())
    };
    by(key)
        || response.certificates.iter().any(|der| {
            let Ok(responder) = Certificate::parse(der) else { return false };
            may_sign(der, issuer, response.produced_at) && by(responder.public_key)
        })
}

fn algorithms(response: &OcspResponse<'_>) -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
    let named = response.algorithm;
    ALL_VERIFICATION_ALGS.iter().copied().filter(move |one| one.signature_alg_id().as_ref() == named)
}

/// Whether the issuer lets a certificate sign responses. It had to be valid when the response was signed.
fn may_sign(responder: &[u8], issuer: &Der, at: i64) -> bool {
    let (responder, issuer) = (CertificateDer::from(responder), CertificateDer::from(&*issuer.0));
    let (Ok(responder), Ok(anchor)) = (EndEntityCert::try_from(&responder), anchor_from_trusted_cert(&issuer)) else {
        return false;
    };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or_default()));
    let usage = KeyUsage::required(OCSP_SIGNING);
    responder.verify_for_usage(ALL_VERIFICATION_ALGS, &[anchor], &[], at, usage, None, None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::pem::certificates;

    macro_rules! data {
        ($name:literal) => {
            include_bytes!(concat!("../../../testkit/data/revocation/", $name))
        };
    }

    const ONE: &[u8] = include_bytes!("../../../../oracle/certs/one.crt");
    const AUTHORITY: &[u8] = include_bytes!("../../../../oracle/certs/ca.crt");
    const OTHER_AUTHORITY: &[u8] = include_bytes!("../../../../oracle/certs/otherca.crt");

    fn staple(response: &[u8], chain: &[&[u8]]) -> Result<Staple, Unusable> {
        of_chain(response, &certificates(&chain.concat()).unwrap())
    }

    #[test]
    fn s_84_a_response_belongs_to_its_certificate() {
        let whole = [ONE, AUTHORITY];
        for response in [&data!("good.ocsp")[..], data!("delegated.ocsp")] {
            assert_eq!(staple(response, &whole).unwrap().response.0[..], *response);
            assert!(staple(response, &[ONE]).is_ok());
        }
        let found = staple(data!("web.ocsp"), &[data!("web.crt"), data!("between.crt"), AUTHORITY]).unwrap();
        assert_eq!(found.next_update - found.this_update, 7_000 * 86_400);
        for (response, why) in [
            (&data!("other.ocsp")[..], Unusable::Other),
            (data!("web.ocsp"), Unusable::Other),
            (data!("revoked.ocsp"), Unusable::Revoked),
            (data!("endless.ocsp"), Unusable::Endless),
            (data!("not-delegated.ocsp"), Unusable::Signature),
            (data!("error.ocsp"), Unusable::Invalid(InvalidResponse::Unsuccessful(3))),
        ] {
            assert_eq!(staple(response, &whole), Err(why));
        }
        // Without the issuer there is nothing to check a signature by.
        assert!(staple(data!("not-delegated.ocsp"), &[ONE]).is_ok());
        assert!(staple(data!("good.ocsp"), &[ONE, OTHER_AUTHORITY]).is_ok());
    }

    #[test]
    fn s_84_a_response_that_was_changed_is_not_presented() {
        let mut changed = data!("good.ocsp").to_vec();
        // The signature is the last but one part: whatever octet of it is another, nobody signed that.
        let parsed = OcspResponse::parse(data!("good.ocsp")).unwrap();
        let at = changed.windows(parsed.signature.len()).position(|window| window == parsed.signature).unwrap();
        changed[at + parsed.signature.len() - 1] ^= 1;
        assert_eq!(staple(&changed, &[ONE, AUTHORITY]), Err(Unusable::Signature));
    }
}
