//! What a certificate says of itself (RFC 5280 §4.1), of any version from 1 to 3. Nothing is verified here: chains and signatures are
//! rustls'. It exists because webpki reads version 3 alone, while OpenSSL makes version 1 wherever no extension is asked for, and
//! clients accept such certificates. The compiler, the TLS of both sides and the program's findings call it.

mod der;
mod name;
mod ocsp;
mod revocation;
mod time;

pub use name::name_text;
pub use ocsp::{Answer, HashAlgorithm, InvalidResponse, OcspResponse, Status};
pub use revocation::RevocationList;

use der::{Reader, Tag};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use time::time;

/// A certificate; its parts are slices of the DER that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// 1, 2 or 3.
    pub version: u8,
    /// The content of its serial number.
    pub serial: &'a [u8],
    /// The content of the issuer's name, without the tag of its sequence.
    pub issuer: &'a [u8],
    /// The issuer's name with its tag and length.
    pub issuer_der: &'a [u8],
    /// The content of its own name, without the tag of its sequence.
    pub subject: &'a [u8],
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// The last second in which it is valid, in seconds since 1970.
    pub not_after: i64,
    /// Its key: the whole DER of its `SubjectPublicKeyInfo`.
    pub public_key: &'a [u8],
    /// Its alternative names; none of certificates below version 3.
    pub names: Vec<Name<'a>>,
    /// Whether clients have to receive an OCSP response with it (RFC 7633).
    pub requires_staple: bool,
}

/// A `subjectAltName` of a kind that TLS checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// A name of DNS, perhaps with a wildcard, as it is written.
    Dns(&'a str),
    /// An address.
    Ip(IpAddr),
    /// A URI.
    Uri(&'a str),
}

/// Why bytes are not a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// They do not follow X.690's distinguished rules, or not the structure of a certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// Neither 1, 2 nor 3.
    #[error("the certificate has an unknown version")]
    Version,
    /// A time that RFC 5280 §4.1.2.5 does not allow.
    #[error("the certificate has a malformed validity")]
    Validity,
}

/// `subjectAltName` (RFC 5280 §4.2.1.6).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// TLS features (RFC 7633 §4.2.1), and the feature `status_request`.
const TLS_FEATURES: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x18];
const STATUS_REQUEST: &[u8] = &[5];
/// `id-ecPublicKey`.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

impl<'a> Certificate<'a> {
    /// Reads DER that is one certificate and nothing else.
    pub fn parse(der: &'a [u8]) -> Result<Self, InvalidCertificate> {
        use InvalidCertificate::Malformed;
        let mut outer = Reader::whole(der, Tag::SEQUENCE).ok_or(Malformed)?;
        let mut body = Reader::new(outer.take(Tag::SEQUENCE).ok_or(Malformed)?);
        // The signature's algorithm and the signature.
        outer.take(Tag::SEQUENCE).and_then(|_| outer.take(Tag::BIT_STRING)).ok_or(Malformed)?;
        let version = version(&mut body)?;
        let serial = body.take(Tag::INTEGER).ok_or(Malformed)?;
        body.take(Tag::SEQUENCE).ok_or(Malformed)?;
        let issuer_der = body.take_whole(Tag::SEQUENCE).ok_or(Malformed)?;
        let issuer = Reader::new(issuer_der).take(Tag::SEQUENCE).ok_or(Malformed)?;
        let mut validity = Reader::new(body.take(Tag::SEQUENCE).ok_or(Malformed)?);
        let not_before = time(&mut validity).ok_or(InvalidCertificate::Validity)?;
        let not_after = time(&mut validity).ok_or(InvalidCertificate::Validity)?;
        let subject = body.take(Tag::SEQUENCE).ok_or(Malformed)?;
        let public_key = body.take_whole(Tag::SEQUENCE).ok_or(Malformed)?;
        if !(outer.is_empty() && validity.is_empty()) {
            return Err(Malformed);
        }
        let Extensions { names, requires_staple } = Extensions::read(&mut body, version).ok_or(Malformed)?;
        Ok(Self {
            version,
            serial,
            issuer,
            issuer_der,
            subject,
            not_before,
            not_after,
            public_key,
            names,
            requires_staple,
        })
    }

    /// Whether its own key may have signed it, as far as names tell.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The names of DNS, as they are written.
    pub fn dns_names(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().filter_map(|name| match name {
            Name::Dns(name) => Some(*name),
            Name::Ip(_) | Name::Uri(_) => None,
        })
    }
}

/// Absent means 1.
fn version(body: &mut Reader<'_>) -> Result<u8, InvalidCertificate> {
    let Some(explicit) = body.take(Tag::context(0)) else { return Ok(1) };
    let mut explicit = Reader::new(explicit);
    match explicit.take(Tag::INTEGER) {
        Some([number @ 0..=2]) if explicit.is_empty() => Ok(number + 1),
        _ => Err(InvalidCertificate::Version),
    }
}

/// Whether a certificate is of a key for elliptic curves (RFC 5480 §2.1.1), Ed25519 apart.
pub fn has_ec_key(certificate: &[u8]) -> bool {
    let algorithm =
        |key| Reader::new(Reader::whole(key, Tag::SEQUENCE)?.take(Tag::SEQUENCE)?).take(Tag::OBJECT_IDENTIFIER);
    Certificate::parse(certificate).is_ok_and(|read| algorithm(read.public_key) == Some(EC_PUBLIC_KEY))
}

/// The bits of a key, which identify it in OCSP: the content of its `subjectPublicKey`. The key is the whole DER of a `SubjectPublicKeyInfo`.
pub fn key_bits(key: &[u8]) -> Option<&[u8]> {
    let mut info = Reader::whole(key, Tag::SEQUENCE)?;
    info.take(Tag::SEQUENCE)?;
    info.take(Tag::BIT_STRING)?.strip_prefix(&[0])
}

/// The extensions that are used.
#[derive(Default)]
struct Extensions<'a> {
    names: Vec<Name<'a>>,
    requires_staple: bool,
}

impl<'a> Extensions<'a> {
    /// What follows the key: identifiers that nobody uses, and extensions. `None` where it is malformed.
    fn read(body: &mut Reader<'a>, version: u8) -> Option<Self> {
        let (_, _) = (body.take(Tag::primitive_context(1)), body.take(Tag::primitive_context(2)));
        let extensions = body.take(Tag::context(3));
        if !body.is_empty() || (extensions.is_some() && version != 3) {
            return None;
        }
        let mut read = Self::default();
        let Some(extensions) = extensions else { return Some(read) };
        let mut extensions = Reader::whole(extensions, Tag::SEQUENCE)?;
        while !extensions.is_empty() {
            let mut extension = Reader::new(extensions.take(Tag::SEQUENCE)?);
            let kind = extension.take(Tag::OBJECT_IDENTIFIER)?;
            let _critical = extension.take(Tag::BOOLEAN);
            let value = extension.take(Tag::OCTET_STRING)?;
            if kind != SUBJECT_ALT_NAME && kind != TLS_FEATURES {
                continue;
            }
            let mut found = Reader::whole(value, Tag::SEQUENCE)?;
            while !found.is_empty() {
                if kind == TLS_FEATURES {
                    read.requires_staple |= found.take(Tag::INTEGER)? == STATUS_REQUEST;
                } else {
                    read.names.extend(name(&mut found)?);
                }
            }
        }
        Some(read)
    }
}

/// The next name, where it is of a kind that is known; `None` outside where there is none at all.
fn name<'a>(found: &mut Reader<'a>) -> Option<Option<Name<'a>>> {
    let (tag, value) = found.next()?;
    Some(match tag {
        tag if tag == Tag::primitive_context(2) => std::str::from_utf8(value).ok().map(Name::Dns),
        tag if tag == Tag::primitive_context(6) => std::str::from_utf8(value).ok().map(Name::Uri),
        tag if tag == Tag::primitive_context(7) => address(value).map(Name::Ip),
        _ => None,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|four| IpAddr::V4(Ipv4Addr::from(four)));
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|sixteen| IpAddr::V6(Ipv6Addr::from(sixteen)))).ok()
}

#[cfg(test)]
mod tests;
