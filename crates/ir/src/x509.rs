//! What a certificate says of itself (RFC 5280 §4.1), of any version from 1 to 3. Nothing is verified here: chains and signatures are
//! rustls'. It exists because webpki reads version 3 alone, while OpenSSL makes version 1 wherever no extension is asked for, and
//! clients accept such certificates. The compiler, the TLS of both sides and the program's findings call it.

mod der;

use der::{Reader, Tag};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A certificate; its parts are slices of the DER that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// 1, 2 or 3.
    pub version: u8,
    /// The content of the issuer's name, without the tag of its sequence.
    pub issuer: &'a [u8],
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

impl<'a> Certificate<'a> {
    /// Reads DER that is one certificate and nothing else.
    pub fn parse(der: &'a [u8]) -> Result<Self, InvalidCertificate> {
        use InvalidCertificate::Malformed;
        let mut outer = Reader::whole(der, Tag::SEQUENCE).ok_or(Malformed)?;
        let mut body = Reader::new(outer.take(Tag::SEQUENCE).ok_or(Malformed)?);
        // The signature's algorithm and the signature.
        outer.take(Tag::SEQUENCE).and_then(|_| outer.take(Tag::BIT_STRING)).ok_or(Malformed)?;
        let version = version(&mut body)?;
        body.take(Tag::INTEGER).and_then(|_| body.take(Tag::SEQUENCE)).ok_or(Malformed)?;
        let issuer = body.take(Tag::SEQUENCE).ok_or(Malformed)?;
        let mut validity = Reader::new(body.take(Tag::SEQUENCE).ok_or(Malformed)?);
        let not_before = time(&mut validity).ok_or(InvalidCertificate::Validity)?;
        let not_after = time(&mut validity).ok_or(InvalidCertificate::Validity)?;
        let subject = body.take(Tag::SEQUENCE).ok_or(Malformed)?;
        let public_key = body.take_whole(Tag::SEQUENCE).ok_or(Malformed)?;
        if !(outer.is_empty() && validity.is_empty()) {
            return Err(Malformed);
        }
        let names = names(&mut body, version).ok_or(Malformed)?;
        Ok(Self { version, issuer, subject, not_before, not_after, public_key, names })
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

/// What follows the key: identifiers that nobody uses, and extensions. `None` where it is malformed.
fn names<'a>(body: &mut Reader<'a>, version: u8) -> Option<Vec<Name<'a>>> {
    let (_, _) = (body.take(Tag::primitive_context(1)), body.take(Tag::primitive_context(2)));
    let extensions = body.take(Tag::context(3));
    if !body.is_empty() || (extensions.is_some() && version != 3) {
        return None;
    }
    let Some(extensions) = extensions else { return Some(Vec::new()) };
    let mut extensions = Reader::whole(extensions, Tag::SEQUENCE)?;
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let mut extension = Reader::new(extensions.take(Tag::SEQUENCE)?);
        let kind = extension.take(Tag::OBJECT_IDENTIFIER)?;
        let _critical = extension.take(Tag::BOOLEAN);
        let value = extension.take(Tag::OCTET_STRING)?;
        if kind == SUBJECT_ALT_NAME {
            let mut found = Reader::whole(value, Tag::SEQUENCE)?;
            while !found.is_empty() {
                names.extend(name(&mut found)?);
            }
        }
    }
    Some(names)
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

/// RFC 5280 §4.1.2.5: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, in seconds since 1970.
fn time(validity: &mut Reader<'_>) -> Option<i64> {
    let (tag, text) = validity.next()?;
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        tag if tag == Tag::UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        tag if tag == Tag::GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = [0; 5];
    if rest.len() != 2 * parts.len() {
        return None;
    }
    for (part, digits) in parts.iter_mut().zip(rest.chunks(2)) {
        *part = number(digits)?;
    }
    let [month, day, hour, minute, second] = parts;
    let is_time = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_time.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    let digit = |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'));
    digits.iter().try_fold(0, digit)
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar; years begin in March, so that a leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests;
