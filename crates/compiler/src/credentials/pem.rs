//! PEM to what TLS takes, and whether it would take it.

use ir::{Der, Identity, KeyForm, PrivateKey};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// All certificates of a text; at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<Der>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let read = read.map_err(|error| format!("the certificate is no PEM: {error}"))?;
    if read.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(read.into_iter().map(|der| Der(der.as_ref().into())).collect())
}

/// The first private key of a text.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKey, String> {
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| format!("there is no private key in it: {error}"))?;
    let form = match &key {
        PrivateKeyDer::Pkcs1(_) => KeyForm::Pkcs1,
        PrivateKeyDer::Sec1(_) => KeyForm::Sec1,
        PrivateKeyDer::Pkcs8(_) => KeyForm::Pkcs8,
        _ => return Err("the private key is of an unknown form".to_owned()),
    };
    Ok(PrivateKey { form, der: key.secret_der().into() })
}

/// All lists of revoked certificates of a text.
pub(super) fn revocation_lists(text: &[u8]) -> Result<Vec<Der>, String> {
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    let read = read.map_err(|error| format!("the list of revoked certificates is no PEM: {error}"))?;
    Ok(read.into_iter().map(|der| Der(der.as_ref().into())).collect())
}

/// Whether each of them can be an authority.
pub(super) fn check_authorities(authorities: &[Der]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(CertificateDer::from(authority.0.to_vec()));
        added.map_err(|error| format!("a certificate cannot be an authority: {error}"))?;
    }
    Ok(())
}

/// Whether the key can be used, and is that of the certificate.
pub(super) fn check_pair(identity: &Identity) -> Result<(), String> {
    let der = identity.key.der.to_vec();
    let key = match identity.key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
    };
    let key = any_supported_type(&key).map_err(|error| format!("the private key cannot be used: {error}"))?;
    let chain = identity.chain.iter().map(|certificate| CertificateDer::from(certificate.0.to_vec())).collect();
    let matching = CertifiedKey::new(chain, key).keys_match();
    matching.map_err(|_| "the private key is not that of the certificate".to_owned())
}
