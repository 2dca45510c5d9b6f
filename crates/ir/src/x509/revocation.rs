//! What a list of revoked certificates (CRL, RFC 5280 §5) says of itself: its issuer and how long it counts. The entries and the signature are
//! webpki's. The compiler, the verifiers of both sides and the program's findings call it.

use super::der::{Reader, Tag};
use super::time::time;

/// The head of a list; reading it costs the same whatever the number of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationList<'a> {
    /// The content of the issuer's name, without the tag of its sequence.
    pub issuer: &'a [u8],
    /// When it was issued, in seconds since 1970.
    pub this_update: i64,
    /// When the next list is issued at the latest, in seconds since 1970: this one does not count from then on.
    pub next_update: i64,
}

impl<'a> RevocationList<'a> {
    /// Reads the head of a list; `None` if it is malformed or has no `nextUpdate`, which RFC 5280 §5.1.2.5 demands.
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut body = Reader::new(Reader::whole(der, Tag::SEQUENCE)?.take(Tag::SEQUENCE)?);
        // The version, which is absent in version 1, and the algorithm of the signature.
        let _ = body.take(Tag::INTEGER);
        body.take(Tag::SEQUENCE)?;
        let issuer = body.take(Tag::SEQUENCE)?;
        let (this_update, next_update) = (time(&mut body)?, time(&mut body)?);
        Some(Self { issuer, this_update, next_update })
    }

    /// Whether it counts at a moment.
    pub fn is_current(&self, now: i64) -> bool {
        (self.this_update..self.next_update).contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use super::RevocationList;
    use crate::x509::Certificate;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

    /// Made by OpenSSL; see `make.sh` beside it.
    const LIST: &[u8] = include_bytes!("../../../testkit/data/x509-v1/ca.crl");
    const AUTHORITY: &[u8] = include_bytes!("../../../testkit/data/x509-v1/ca.crt");

    #[test]
    fn the_head_of_a_list_is_read() {
        let list = CertificateRevocationListDer::from_pem_slice(LIST).unwrap();
        let authority = CertificateDer::from_pem_slice(AUTHORITY).unwrap();
        let read = RevocationList::parse(&list).unwrap();
        assert_eq!(read.issuer, Certificate::parse(&authority).unwrap().subject);
        assert!(read.this_update > 1_790_000_000 && read.next_update > read.this_update);
        let at = |now: i64| read.is_current(now);
        assert_eq!(
            [read.this_update - 1, read.this_update, read.next_update - 1, read.next_update].map(at),
            [false, true, true, false]
        );
    }

    #[test]
    fn what_is_cut_off_is_none() {
        let list = CertificateRevocationListDer::from_pem_slice(LIST).unwrap();
        for length in 0..list.len() {
            assert_eq!(RevocationList::parse(&list[..length]), None);
        }
        let certificate = CertificateDer::from_pem_slice(AUTHORITY).unwrap();
        assert_eq!(RevocationList::parse(&certificate), None);
    }
}
