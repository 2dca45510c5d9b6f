//! The certificates of one server; each client gets one that it can verify (GW-13).

use ir::Identity;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use upstream::identity::{InvalidIdentity, certified};

/// The certificates of a server.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Builds the certificates; the first compatible one is presented.
    pub(crate) fn build(identities: &[Arc<Identity>]) -> Result<Self, InvalidIdentity> {
        identities.iter().map(|identity| certified(identity).map(Arc::new)).collect::<Result<_, _>>().map(Self)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}
