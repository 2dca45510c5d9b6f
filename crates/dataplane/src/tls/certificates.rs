//! The certificates of one server; each client gets one that it can verify (GW-13), with its OCSP response while that counts (S-84).

use ir::Identity;
use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use upstream::identity::{InvalidIdentity, certified};

/// The certificates of a server, in the order of preference.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<Presented>);

/// A certificate, and the same with its OCSP response.
#[derive(Debug)]
struct Presented {
    plain: Arc<CertifiedKey>,
    stapled: Option<(ir::Staple, Arc<CertifiedKey>)>,
}

impl Certificates {
    /// Builds the certificates. As in Envoy, one with an ECDSA key is preferred: its handshake costs a fraction of that of RSA.
    pub(crate) fn build(identities: &[Arc<Identity>]) -> Result<Self, InvalidIdentity> {
        let built = identities.iter().map(|identity| Presented::build(identity));
        let mut built = built.collect::<Result<Vec<_>, _>>()?;
        built.sort_by_key(|one| one.plain.key.algorithm() != SignatureAlgorithm::ECDSA);
        Ok(Self(built))
    }
}

impl Presented {
    fn build(identity: &Identity) -> Result<Self, InvalidIdentity> {
        let plain = certified(identity)?;
        let stapled = identity.staple.as_ref().map(|staple| {
            let stapled = CertifiedKey { ocsp: Some(staple.response.0.to_vec()), ..plain.clone() };
            (staple.clone(), Arc::new(stapled))
        });
        Ok(Self { plain: Arc::new(plain), stapled })
    }

    /// With the response only while it counts, as Envoy's lenient policy has it.
    fn at(&self, now: impl FnOnce() -> i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((staple, stapled)) if staple.is_current(now()) => stapled,
            _ => &self.plain,
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |one: &&Presented| one.plain.key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = self.0.iter().find(fits).or(self.0.first());
        chosen.map(|one| Arc::clone(one.at(unix_time)))
    }
}

/// In seconds since 1970.
fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{Der, KeyForm, PrivateKey, Staple};
    use rcgen::{KeyPair, PKCS_RSA_SHA256, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;

    fn identity(key: &KeyPair, staple: Option<Staple>) -> Arc<Identity> {
        let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let certificate = params.self_signed(key).unwrap();
        let key = PrivateKey { form: KeyForm::Pkcs8, der: key.serialize_der().into() };
        Arc::new(Identity { source: "it".into(), chain: vec![Der(certificate.der().to_vec().into())], key, staple })
    }

    #[test]
    fn s_84_a_response_is_sent_only_while_it_counts() {
        let response = Der(Arc::from(&b"response"[..]));
        let staple = Staple { response, this_update: 10, next_update: 20 };
        let built = Certificates::build(&[identity(&KeyPair::generate().unwrap(), Some(staple))]).unwrap();
        let at = |now: i64| built.0[0].at(|| now).ocsp.as_deref().map(<[u8]>::to_vec);
        assert_eq!([9, 10, 19, 20].map(at), [None, Some(b"response".to_vec()), Some(b"response".to_vec()), None]);
    }

    #[test]
    fn gw_13_a_certificate_with_an_ecdsa_key_is_preferred() {
        let rsa = PrivateKeyDer::from_pem_slice(include_bytes!("../../../../oracle/certs/rsa.key")).unwrap();
        let rsa = KeyPair::from_der_and_sign_algo(&rsa, &PKCS_RSA_SHA256).unwrap();
        let ecdsa = generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap().signing_key;
        for order in [[&rsa, &ecdsa], [&ecdsa, &rsa]] {
            let built = Certificates::build(&order.map(|key| identity(key, None))).unwrap();
            let kinds: Vec<_> = built.0.iter().map(|one| one.plain.key.algorithm()).collect();
            assert_eq!(kinds, [SignatureAlgorithm::ECDSA, SignatureAlgorithm::RSA]);
        }
    }
}
