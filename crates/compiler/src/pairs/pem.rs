//! PEM to what TLS takes, and whether it would take it. Each cause has words of its own, and says what to do.

use ir::x509::{Certificate, RevocationList};
use ir::{Der, Identity, KeyForm, PrivateKey};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::{any_ecdsa_type, any_supported_type};
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong and what to do, where there is more to say than "write another".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) why: String,
    pub(crate) help: &'static str,
}

/// What is odd, and does not keep a certificate from being used.
pub(crate) type Oddities = Vec<(String, &'static str)>;

const PEM_OF_CERTIFICATE: &str = "write it as PEM: `-----BEGIN CERTIFICATE-----`, the server's certificate first";
const PEM_OF_KEY: &str = "write it as PEM without a passphrase: `-----BEGIN PRIVATE KEY-----`";
const RIGHT_KEY: &str = "use the key that the certificate was issued for; `openssl x509 -pubkey` and `openssl pkey -pubout` \
                         print the same for both";
const LEAF_FIRST: &str = "put the server's certificate first, then each one's issuer";

fn broken(why: impl Into<String>, help: &'static str) -> Broken {
    Broken { why: why.into(), help }
}

/// The sections of a text: what follows `-----BEGIN ` in its lines.
fn labels(text: &[u8]) -> Vec<&str> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")).collect()
}

/// Why a text has not what was looked for.
fn lacks(text: &[u8], what: &str, help: &'static str) -> Broken {
    const PEM_IN_BASE64: &[u8] = b"LS0tLS1CRUdJTi";
    const SEQUENCE: u8 = 0x30;
    let text = text.trim_ascii();
    if text.is_empty() {
        return broken(format!("the {what} is empty"), help);
    }
    if text.starts_with(PEM_IN_BASE64) {
        let help = "encode it once: `data` of a Secret is base64, `stringData` is not";
        return broken(format!("the {what} is not PEM: it is base64 of PEM"), help);
    }
    match labels(text).first() {
        Some(found) => broken(format!("there is no {what} in it, but `{found}`"), help),
        None if text.first() == Some(&SEQUENCE) => broken(format!("the {what} is not PEM: it looks like DER"), help),
        None => broken(format!("the {what} is not PEM"), help),
    }
}

/// The sections of one kind.
fn sections(text: &[u8], wanted: &[SectionKind], what: &str) -> Result<Vec<(SectionKind, Vec<u8>)>, Broken> {
    let read: Result<Vec<_>, pem::Error> = <(SectionKind, Vec<u8>)>::pem_slice_iter(text).collect();
    let mut read = read.map_err(|error| {
        let why = match error {
            pem::Error::MissingSectionEnd { .. } => "a section has no `-----END …-----` line",
            pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN …-----` line is malformed",
            pem::Error::Base64Decode(_) => "a section is not base64",
            _ => "a section cannot be read",
        };
        broken(format!("the {what} is not valid PEM: {why}"), "copy the whole file, with its lines as they are")
    })?;
    read.retain(|(kind, _)| wanted.contains(kind));
    Ok(read)
}

/// All certificates of a text; at least one.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<Der>, Broken> {
    let read = sections(text, &[SectionKind::Certificate], "certificate")?;
    if read.is_empty() {
        return Err(lacks(text, "certificate", PEM_OF_CERTIFICATE));
    }
    Ok(read.into_iter().map(|(_, der)| Der(der.into())).collect())
}

/// The first private key of a text, as OpenSSL takes it, and how many there are.
pub(crate) fn private_key(text: &[u8]) -> Result<(PrivateKey, usize), Broken> {
    const ENCRYPTED: &[u8] = b"Proc-Type: 4,ENCRYPTED";
    let is_encrypted = labels(text).contains(&"ENCRYPTED PRIVATE KEY")
        || text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    if is_encrypted {
        let help = "decrypt it: `openssl pkey -in FILE -out FILE`";
        return Err(broken("the private key is encrypted, which is not supported", help));
    }
    let kinds = [SectionKind::PrivateKey, SectionKind::RsaPrivateKey, SectionKind::EcPrivateKey];
    let read = sections(text, &kinds, "private key")?;
    let count = read.len();
    let Some((kind, der)) = read.into_iter().next() else {
        return Err(lacks(text, "private key", PEM_OF_KEY));
    };
    let form = match kind {
        SectionKind::RsaPrivateKey => KeyForm::Pkcs1,
        SectionKind::EcPrivateKey => KeyForm::Sec1,
        _ => KeyForm::Pkcs8,
    };
    Ok((PrivateKey { form, der: der.into() }, count))
}

/// All lists of revoked certificates of a text; at least one, each of which can be judged by. Fewer lists would let more in.
pub(crate) fn revocation_lists(text: &[u8]) -> Result<Vec<Der>, Broken> {
    const HELP: &str = "write it as PEM: `-----BEGIN X509 CRL-----`";
    let read = sections(text, &[SectionKind::Crl], "list of revoked certificates")?;
    if read.is_empty() {
        return Err(lacks(text, "list of revoked certificates", HELP));
    }
    for (_, der) in &read {
        let list = webpki::OwnedCertRevocationList::from_der(der);
        list.ok().filter(|_| RevocationList::parse(der).is_some()).ok_or_else(|| {
            broken(
                "a list of revoked certificates cannot be used: it is malformed, or of a version that is not supported",
                HELP,
            )
        })?;
    }
    Ok(read.into_iter().map(|(_, der)| Der(der.into())).collect())
}

/// Whether each of them can be an authority.
pub(crate) fn check_authorities(authorities: &[Der]) -> Result<(), Broken> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(CertificateDer::from(authority.0.to_vec()));
        let why = |error| broken(format!("a certificate cannot be an authority: {error}"), PEM_OF_CERTIFICATE);
        added.map_err(why)?;
    }
    Ok(())
}

/// Whether the key can be used, and is that of the certificate; and what is odd all the same. `keys` is how many keys there were.
pub(crate) fn check_pair(identity: &Identity, keys: usize) -> Result<Oddities, Broken> {
    let der = identity.key.der.to_vec();
    let key = match identity.key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
    };
    // Without a certificate's hint each type is tried in turn, and each checks the whole key.
    let is_ec = identity.chain.first().is_some_and(|leaf| ir::x509::has_ec_key(&leaf.0));
    let read = if is_ec { any_ecdsa_type(&key) } else { any_supported_type(&key) };
    let read = read.or_else(|error| if is_ec { any_supported_type(&key) } else { Err(error) });
    let public = read.ok().and_then(|key| key.public_key().map(|public| public.to_vec()));
    let public = public.ok_or_else(|| {
        let help = "use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519";
        broken("the private key is malformed or of a type that is not supported", help)
    })?;
    let mut chain = Vec::with_capacity(identity.chain.len());
    for (index, der) in identity.chain.iter().enumerate() {
        let read = Certificate::parse(&der.0);
        chain.push(read.map_err(|error| broken(format!("certificate {}: {error}", index + 1), PEM_OF_CERTIFICATE))?);
    }
    match chain.iter().position(|certificate| certificate.public_key == public) {
        Some(0) => Ok(oddities(&chain, keys, identity.staple.is_some())),
        Some(place) => {
            let why = format!("the chain is out of order: the private key matches certificate {}", place + 1);
            Err(broken(why, LEAF_FIRST))
        }
        None if keys > 1 => {
            Err(broken(format!("the first of {keys} private keys does not match the certificate"), RIGHT_KEY))
        }
        None => Err(broken("private key does not match the certificate", RIGHT_KEY)),
    }
}

/// What clients may stumble over.
fn oddities(chain: &[Certificate<'_>], keys: usize, stapled: bool) -> Oddities {
    let mut odd = Vec::new();
    if chain.first().is_some_and(|leaf| leaf.requires_staple) && !stapled {
        let message =
            "clients may demand an OCSP response with the certificate (must-staple), and there is none to send";
        odd.push((message.to_owned(), "put the response into the Secret, under `tls.ocsp-staple`"));
    }
    if keys > 1 {
        odd.push((format!("there are {keys} private keys, of which the first is used"), "keep the certificate's own"));
    }
    let pairs = chain.iter().zip(chain.iter().skip(1)).enumerate();
    for (index, (certificate, issuer)) in pairs {
        if certificate.issuer != issuer.subject {
            let (place, next) = (index + 1, index + 2);
            let message = format!(
                "the chain is out of order: certificate {next} did not issue certificate {place}, so that clients may not verify it"
            );
            odd.push((message, LEAF_FIRST));
        }
    }
    odd
}

#[cfg(test)]
mod tests;
