//! The certificates of one server, of which a client is shown one that it can check (GW-13).

use ir::{Identity, KeyForm};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// What a server presents.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Works identities out; the first that fits is shown.
    pub(crate) fn build(identities: &[Arc<Identity>]) -> Result<Self, rustls::Error> {
        identities.iter().map(|identity| certified(identity).map(Arc::new)).collect::<Result<_, _>>().map(Self)
    }
}

fn certified(identity: &Identity) -> Result<CertifiedKey, rustls::Error> {
    let der = identity.key.der.to_vec();
    let key = match identity.key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
    };
    let chain = identity.chain.iter().map(|certificate| CertificateDer::from(certificate.0.to_vec())).collect();
    let mut certified = CertifiedKey::new(chain, any_supported_type(&key)?);
    certified.keys_match()?;
    certified.ocsp = identity.staple.as_ref().map(|staple| staple.0.to_vec());
    Ok(certified)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}
