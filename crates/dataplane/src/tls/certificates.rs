//! The certificates of one server, of which a client is shown one that it can check (GW-13).

use ir::Identity;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use upstream::identity::{InvalidIdentity, certified};

/// What a server presents.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Works identities out; the first that fits is shown.
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
