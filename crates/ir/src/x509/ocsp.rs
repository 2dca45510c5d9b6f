//! OCSP responses (RFC 6960 §4.2.1): what a responder says of certificates. Nothing is verified here; which response belongs to a certificate and
//! may be presented is the compiler's to decide. Every field is a slice of the response.

use super::der::{Reader, Tag};
use super::time::time;

/// A successful response of the basic type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspResponse<'a> {
    /// What is signed: the whole DER of its `ResponseData`.
    pub signed: &'a [u8],
    /// The content of the `AlgorithmIdentifier` of the signature.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// When it was signed, in seconds since 1970.
    pub produced_at: i64,
    /// What is said of each certificate.
    pub answers: Vec<Answer<'a>>,
    /// The certificates that come with it, the responder's among them unless the issuer is the responder; each the whole DER.
    pub certificates: Vec<&'a [u8]>,
}

/// What is said of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What the issuer is hashed by; `None` is an algorithm that is not known.
    pub hash: Option<HashAlgorithm>,
    /// The hash of the issuer's name: of the whole DER.
    pub issuer_name: &'a [u8],
    /// The hash of the bits of the issuer's key.
    pub issuer_key: &'a [u8],
    /// The content of the certificate's serial number.
    pub serial: &'a [u8],
    /// The state of the certificate.
    pub status: Status,
    /// Since when this is known, in seconds since 1970.
    pub this_update: i64,
    /// When more is known at the latest, in seconds since 1970.
    pub next_update: Option<i64>,
}

/// The state of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// What names and keys of issuers are hashed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the algorithms")]
pub enum HashAlgorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// Why bytes are no response that can be presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponse {
    /// They do not follow X.690's distinguished rules, or not the structure of a response.
    #[error("it is malformed, or not an OCSP response in DER")]
    Malformed,
    /// The responder did not answer.
    #[error("it is an error of the responder (responseStatus {0})")]
    Unsuccessful(u8),
    /// Its type is not `id-pkix-ocsp-basic`.
    #[error("it is of another type than id-pkix-ocsp-basic")]
    Type,
}

/// `id-pkix-ocsp-basic` (RFC 6960 §4.2.1).
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

impl<'a> OcspResponse<'a> {
    /// Reads DER that is one successful response and nothing else.
    pub fn parse(der: &'a [u8]) -> Result<Self, InvalidResponse> {
        use InvalidResponse::{Malformed, Type, Unsuccessful};
        let mut outer = Reader::whole(der, Tag::SEQUENCE).ok_or(Malformed)?;
        match outer.take(Tag::ENUMERATED).ok_or(Malformed)? {
            [0] => {}
            [status] => return Err(Unsuccessful(*status)),
            _ => return Err(Malformed),
        }
        let bytes = outer.take(Tag::context(0)).ok_or(Malformed)?;
        let mut bytes = Reader::whole(bytes, Tag::SEQUENCE).ok_or(Malformed)?;
        if bytes.take(Tag::OBJECT_IDENTIFIER).ok_or(Malformed)? != BASIC {
            return Err(Type);
        }
        let basic = bytes.take(Tag::OCTET_STRING).filter(|_| bytes.is_empty() && outer.is_empty()).ok_or(Malformed)?;
        Self::basic(basic).ok_or(Malformed)
    }

    fn basic(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::whole(der, Tag::SEQUENCE)?;
        let signed = outer.take_whole(Tag::SEQUENCE)?;
        let algorithm = outer.take(Tag::SEQUENCE)?;
        // No bit of the last octet is unused.
        let signature = outer.take(Tag::BIT_STRING)?.strip_prefix(&[0])?;
        let mut certificates = Vec::new();
        if let Some(all) = outer.take(Tag::context(0)) {
            let mut all = Reader::whole(all, Tag::SEQUENCE)?;
            while !all.is_empty() {
                certificates.push(all.take_whole(Tag::SEQUENCE)?);
            }
        }
        let mut data = Reader::whole(signed, Tag::SEQUENCE).filter(|_| outer.is_empty())?;
        // The version, and the responder by its name or key.
        let _ = data.take(Tag::context(0));
        data.take(Tag::context(1)).or_else(|| data.take(Tag::context(2)))?;
        let produced_at = time(&mut data)?;
        let mut all = Reader::new(data.take(Tag::SEQUENCE)?);
        let _extensions = data.take(Tag::context(1));
        let mut answers = Vec::new();
        while !all.is_empty() {
            answers.push(Answer::read(all.take(Tag::SEQUENCE)?)?);
        }
        data.is_empty().then_some(Self { signed, algorithm, signature, produced_at, answers, certificates })
    }
}

impl<'a> Answer<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut answer = Reader::new(der);
        let mut id = Reader::new(answer.take(Tag::SEQUENCE)?);
        let hash = HashAlgorithm::of(Reader::new(id.take(Tag::SEQUENCE)?).take(Tag::OBJECT_IDENTIFIER)?);
        let (issuer_name, issuer_key) = (id.take(Tag::OCTET_STRING)?, id.take(Tag::OCTET_STRING)?);
        let serial = id.take(Tag::INTEGER).filter(|_| id.is_empty())?;
        let status = match answer.next()?.0 {
            tag if tag == Tag::primitive_context(0) => Status::Good,
            tag if tag == Tag::context(1) => Status::Revoked,
            tag if tag == Tag::primitive_context(2) => Status::Unknown,
            _ => return None,
        };
        let this_update = time(&mut answer)?;
        let next_update = match answer.take(Tag::context(0)) {
            Some(next) => Some(time(&mut Reader::new(next))?),
            None => None,
        };
        let _extensions = answer.take(Tag::context(1));
        let read = Self { hash, issuer_name, issuer_key, serial, status, this_update, next_update };
        answer.is_empty().then_some(read)
    }
}

impl HashAlgorithm {
    fn of(identifier: &[u8]) -> Option<Self> {
        Some(match identifier {
            [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Self::Sha1,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => Self::Sha256,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => Self::Sha384,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => Self::Sha512,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::Certificate;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    macro_rules! data {
        ($name:literal) => {
            include_bytes!(concat!("../../../testkit/data/revocation/", $name))
        };
    }

    /// Made by OpenSSL; see `make.sh` beside them.
    const GOOD: &[u8] = data!("good.ocsp");

    #[test]
    fn s_84_what_a_response_says_is_read() {
        let one = CertificateDer::from_pem_slice(include_bytes!("../../../../oracle/certs/one.crt")).unwrap();
        let one = Certificate::parse(&one).unwrap();
        let read = OcspResponse::parse(GOOD).unwrap();
        let [answer] = read.answers[..] else { panic!("{read:?}") };
        assert_eq!((answer.serial, answer.status, answer.hash), (one.serial, Status::Good, Some(HashAlgorithm::Sha1)));
        assert_eq!((answer.issuer_name.len(), answer.issuer_key.len()), (20, 20));
        assert!(answer.this_update > 1_790_000_000 && answer.this_update <= read.produced_at);
        assert_eq!(answer.next_update, Some(answer.this_update + 7_000 * 86_400));
        assert_eq!(read.certificates.len(), 1);
        assert_eq!(OcspResponse::parse(data!("revoked.ocsp")).unwrap().answers[0].status, Status::Revoked);
        assert_eq!(OcspResponse::parse(data!("endless.ocsp")).unwrap().answers[0].next_update, None);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(OcspResponse::parse(data!("error.ocsp")), Err(InvalidResponse::Unsuccessful(3)));
        let mut other = GOOD.to_vec();
        let at = other.windows(BASIC.len()).position(|window| window == BASIC).unwrap();
        other[at + BASIC.len() - 1] = 2;
        assert_eq!(OcspResponse::parse(&other), Err(InvalidResponse::Type));
        for text in [&b""[..], b"-----BEGIN OCSP RESPONSE-----", &[0x30, 0x00]] {
            assert_eq!(OcspResponse::parse(text), Err(InvalidResponse::Malformed));
        }
        for length in 0..GOOD.len() {
            assert!(OcspResponse::parse(&GOOD[..length]).is_err());
        }
        let more = [GOOD, &[0]].concat();
        assert_eq!(OcspResponse::parse(&more), Err(InvalidResponse::Malformed));
    }

    /// Every octet, with every value that begins or ends an element: read or refused, and never a panic.
    #[test]
    fn mutations_never_panic() {
        for at in 0..GOOD.len() {
            for value in [0, 1, 0x30, 0x7f, 0x80, 0x81, 0x84, 0xa0, 0xff] {
                let mut changed = GOOD.to_vec();
                changed[at] = value;
                if let Ok(read) = OcspResponse::parse(&changed) {
                    assert_eq!(read.signed.first(), Some(&0x30));
                }
            }
        }
    }
}
