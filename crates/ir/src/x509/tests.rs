//! Certificates of others and of every version; webpki is what version 3 is compared with.

use super::time::days_since_1970;
use super::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use webpki::EndEntityCert;

/// Made by OpenSSL 3.0 as in Istio's task; see `make.sh` beside them.
const SERVER: &[u8] = include_bytes!("../../../testkit/data/x509-v1/server.crt");
const CLIENT_OF_EC: &[u8] = include_bytes!("../../../testkit/data/x509-v1/server-ec.crt");
const AUTHORITY: &[u8] = include_bytes!("../../../testkit/data/x509-v1/ca.crt");
const OLD_AUTHORITY: &[u8] = include_bytes!("../../../testkit/data/x509-v1/ca-v1.crt");

fn der(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

fn many_names() -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["a.test".to_owned(), "*.b.test".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "c");
    params.subject_alt_names.push(SanType::URI("spiffe://x/y".try_into().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("fd00::1".parse().unwrap()));
    params.subject_alt_names.push(SanType::Rfc822Name("a@b.test".try_into().unwrap()));
    params.not_before = rcgen::date_time_ymd(2026, 2, 28);
    params.not_after = rcgen::date_time_ymd(2052, 2, 29);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[test]
fn certificates_of_version_1_are_read_where_webpki_refuses_them() {
    for (pem, version, self_issued) in
        [(SERVER, 1, false), (CLIENT_OF_EC, 1, false), (AUTHORITY, 3, true), (OLD_AUTHORITY, 1, true)]
    {
        let der = der(pem);
        let read = Certificate::parse(&der).unwrap();
        assert_eq!((read.version, read.is_self_issued(), read.names.len()), (version, self_issued, 0));
        assert!(read.not_before > 1_790_000_000 && read.not_after - read.not_before == 36_500 * 86_400);
        assert_eq!(EndEntityCert::try_from(&der).is_ok(), version == 3);
    }
    let (server, authority) = (der(SERVER), der(AUTHORITY));
    assert_eq!(Certificate::parse(&server).unwrap().issuer, Certificate::parse(&authority).unwrap().subject);
}

#[test]
fn what_is_read_of_version_3_is_what_webpki_reads() {
    let der = many_names();
    let (read, other) = (Certificate::parse(&der).unwrap(), EndEntityCert::try_from(&der).unwrap());
    assert_eq!(read.public_key, other.subject_public_key_info().as_ref());
    assert_eq!((read.subject, read.issuer), (other.subject(), other.issuer()));
    assert_eq!(read.dns_names().collect::<Vec<_>>(), other.valid_dns_names().collect::<Vec<_>>());
    assert!(read.names.contains(&Name::Uri("spiffe://x/y")));
    for address in ["10.0.0.1", "fd00::1"] {
        assert!(read.names.contains(&Name::Ip(address.parse().unwrap())), "{address}");
    }
    // 2026-02-28 as UTCTime, 2052-02-29 as GeneralizedTime.
    assert_eq!((read.not_before, read.not_after), (1_772_236_800, 2_592_777_600));
}

#[test]
fn days_are_counted_as_the_calendar_has_them() {
    for (date, days) in [((1970, 1, 1), 0), ((1969, 12, 31), -1), ((2000, 2, 29), 11_016), ((2100, 3, 1), 47_541)] {
        assert_eq!(days_since_1970(date.0, date.1, date.2), days, "{date:?}");
    }
}

#[test]
fn times_that_are_none_are_refused() {
    let read = |tag: u8, text: &str| {
        let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        time(&mut Reader::new(&der))
    };
    assert_eq!(read(0x17, "700101000001Z"), Some(1));
    assert_eq!(read(0x17, "491231235959Z"), Some(2_524_607_999));
    assert_eq!(read(0x18, "99991231235959Z"), Some(253_402_300_799));
    for (tag, text) in [
        (0x17, "7001010000Z"),
        (0x17, "700101000000"),
        (0x17, "700101000000+0100"),
        (0x17, "701301000000Z"),
        (0x17, "700230000000Z"),
        (0x17, "700101240000Z"),
        (0x17, "7001010000-1Z"),
        (0x18, "700101000000Z"),
        (0x0c, "700101000000Z"),
    ] {
        assert_eq!(read(tag, text), None, "{text}");
    }
}

/// Arbitrary octets are parsed or rejected as a certificate: no panic, and every part is a slice of the input.
#[test]
fn mutations_never_panic() {
    for original in [der(SERVER), many_names()] {
        for length in 0..original.len() {
            assert!(Certificate::parse(&original[..length]).is_err());
        }
        let mut seed = 0x9e37_79b9_u32;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed as usize
        };
        for _ in 0..20_000 {
            let mut changed = original.to_vec();
            for _ in 0..1 + random() % 3 {
                let at = random() % changed.len();
                changed[at] = [0, 0x7f, 0x80, 0x81, 0x84, 0xff, 0x30, random() as u8][random() % 8];
            }
            if let Ok(read) = Certificate::parse(&changed) {
                assert!((1..=3).contains(&read.version) && read.public_key.first() == Some(&0x30));
            }
        }
    }
}
