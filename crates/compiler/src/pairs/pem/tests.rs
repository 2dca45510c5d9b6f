//! Every cause has its own words. The certificates were made by OpenSSL as in Istio's task; see `make.sh` beside them.

use super::*;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../../../../testkit/data/x509-v1/", $name))
    };
}

fn identity(certificate: &[u8], key: &[u8]) -> Result<(Identity, Oddities), Broken> {
    let (key, keys) = private_key(key)?;
    let identity = Identity { source: "it".into(), chain: certificates(certificate)?, key, staple: None };
    let odd = check_pair(&identity, keys)?;
    Ok((identity, odd))
}

fn why(certificate: &[u8], key: &[u8]) -> String {
    identity(certificate, key).map(|(_, odd)| format!("{odd:?}")).expect_err("it is used").why
}

const SERVER: &[u8] = data!("server.crt");
const KEY: &[u8] = data!("server.key");
const AUTHORITY: &[u8] = data!("ca.crt");

/// What `openssl x509 -req` makes without extensions, which was refused as a key that does not match.
#[test]
fn certificates_of_version_1_are_used() {
    for (certificate, key) in [
        (SERVER, KEY),
        (SERVER, data!("server-pkcs1.key")),
        (data!("client.crt"), data!("client.key")),
        (data!("server-ec.crt"), data!("server-ec.key")),
    ] {
        let (read, odd) = identity(certificate, key).unwrap();
        assert_eq!((Certificate::parse(&read.chain[0].0).unwrap().version, odd), (1, vec![]));
    }
    let (read, odd) = identity(&[SERVER, AUTHORITY].concat(), KEY).unwrap();
    assert_eq!((read.chain.len(), odd), (2, vec![]));
    for authority in [AUTHORITY, data!("ca-v1.crt")] {
        assert_eq!(check_authorities(&certificates(authority).unwrap()), Ok(()));
    }
}

#[test]
fn every_cause_has_its_own_words() {
    let base64 = b"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUN...";
    let der = certificates(SERVER).unwrap()[0].0.to_vec();
    let cut = &SERVER[..SERVER.len() / 2];
    let damaged = String::from_utf8_lossy(SERVER).replacen("\nMII", "\n!!!", 1).into_bytes();
    let mut foreign = der.clone();
    foreign.truncate(100);
    let both = [KEY, data!("client.key")].concat();
    let turned = [data!("client.key"), KEY].concat();
    let of_openssl = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (certificate, key, words) in [
        (&b"  "[..], KEY, "the certificate is empty"),
        (b"hello", KEY, "the certificate is not PEM"),
        (&base64[..], KEY, "the certificate is not PEM: it is base64 of PEM"),
        (&der, KEY, "the certificate is not PEM: it looks like DER"),
        (KEY, KEY, "there is no certificate in it, but `PRIVATE KEY`"),
        (cut, KEY, "the certificate is not valid PEM: a section has no `-----END …-----` line"),
        (&damaged, KEY, "the certificate is not valid PEM: a section is not base64"),
        (SERVER, b"", "the private key is empty"),
        (SERVER, b"hello", "the private key is not PEM"),
        (SERVER, SERVER, "there is no private key in it, but `CERTIFICATE`"),
        (SERVER, data!("server-encrypted.key"), "the private key is encrypted, which is not supported"),
        (SERVER, of_openssl, "the private key is encrypted, which is not supported"),
        (SERVER, data!("unknown-curve.key"), "the private key is malformed or of a type that is not supported"),
        (SERVER, data!("client.key"), "private key does not match the certificate"),
        (SERVER, &turned, "the first of 2 private keys does not match the certificate"),
        (&[AUTHORITY, SERVER].concat(), KEY, "the chain is out of order: the private key matches certificate 2"),
    ] {
        assert_eq!(why(certificate, key), words);
    }
    let (_, odd) = identity(SERVER, &both).unwrap();
    assert_eq!(odd[0].0, "there are 2 private keys, of which the first is used");
    let (_, odd) = identity(&[SERVER, data!("ca-v1.crt")].concat(), KEY).unwrap();
    assert!(odd[0].0.starts_with("the chain is out of order: certificate 2 did not issue certificate 1"), "{odd:?}");
}

/// A list that is there and holds nothing would let everybody in whom it was to keep out.
#[test]
fn s_84_a_list_of_revoked_certificates_is_one() {
    let lists = |text: &[u8]| revocation_lists(text).map_err(|broken| broken.why);
    assert_eq!(lists(SERVER).unwrap_err(), "there is no list of revoked certificates in it, but `CERTIFICATE`");
    assert_eq!(lists(b"#").unwrap_err(), "the list of revoked certificates is not PEM");
    let malformed = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    assert!(lists(malformed).unwrap_err().starts_with("a list of revoked certificates cannot be used"));
}
