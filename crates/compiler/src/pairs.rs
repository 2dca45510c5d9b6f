//! Certificates with their keys: read from PEM, compared, and with the OCSP response that belongs to them (S-84, S-93).
//!
//! A Secret is read once for each version of it, as keys are costly to check and a Gateway of thousands of servers is planned as a whole when one
//! certificate changes.

pub(crate) mod pem;
mod staple;

use crate::fast::FastMap;
use ir::Identity;
use pem::Oddities;
use resources::key::Key;
use resources::spec::core::Secret;
use staple::Unusable;
use std::cell::RefCell;
use std::sync::Arc;

/// The key of a Secret that has an OCSP response, in DER.
pub(crate) const STAPLE: &str = "tls.ocsp-staple";

/// Something that is not there or cannot be used.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Missing(String),
    /// Why, and what to do, where there is more to say.
    Broken(String, &'static str),
}

/// An identity that can be used, and what is to be reported of it.
#[derive(Debug, Clone)]
pub(crate) struct UsableIdentity {
    pub(crate) identity: Arc<Identity>,
    pub(crate) odd: Arc<Oddities>,
    /// Why its OCSP response is left out.
    pub(crate) staple: Option<Unusable>,
}

/// What the Secrets held that were asked for since they changed.
#[derive(Debug, Default)]
pub(crate) struct Pairs(RefCell<FastMap<Key, Result<UsableIdentity, Fault>>>);

/// A certificate and its key as they were found.
pub(crate) struct Pair<'a> {
    pub(crate) source: Arc<str>,
    pub(crate) certificate: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) staple: Option<&'a [u8]>,
}

impl Pairs {
    /// The certificate of a Secret.
    pub(crate) fn of_secret(&self, key: &Key, secret: &Secret) -> Result<UsableIdentity, Fault> {
        if let Some(found) = self.0.borrow().get(key) {
            return found.clone();
        }
        let found = Pair::of_secret(key, secret).and_then(|pair| pair.read());
        self.0.borrow_mut().insert(key.clone(), found.clone());
        found
    }

    /// Has a Secret that changed or is gone read again.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.0.get_mut().remove(key);
    }
}

impl<'a> Pair<'a> {
    /// S-93: `cert` and `key` first, then those of `kubernetes.io/tls`.
    fn of_secret(key: &Key, secret: &'a Secret) -> Result<Self, Fault> {
        let value = |name: &str| secret.values.get(name).map(|bytes| &**bytes);
        let of = |certificate: &str, private: &str| Some((value(certificate)?, value(private)?));
        let (certificate, private) = of("cert", "key").or_else(|| of("tls.crt", "tls.key")).ok_or_else(|| {
            let why = format!("Secret {key} has neither `tls.crt` and `tls.key` nor `cert` and `key`");
            Fault::Broken(why, "make it by `kubectl create secret tls NAME --cert=FILE --key=FILE`")
        })?;
        Ok(Self { source: format!("Secret {key}").into(), certificate, key: private, staple: value(STAPLE) })
    }
}

impl Pair<'_> {
    /// Reads and compares them.
    pub(crate) fn read(&self) -> Result<UsableIdentity, Fault> {
        let broken = |why| broken(&self.source, why);
        let chain = pem::certificates(self.certificate).map_err(broken)?;
        let (key, keys) = pem::private_key(self.key).map_err(broken)?;
        let staple = self.staple.filter(|staple| !staple.is_empty()).map(|staple| staple::of_chain(staple, &chain));
        let (staple, unusable) = match staple {
            Some(Err(unusable)) => (None, Some(unusable)),
            Some(Ok(staple)) => (Some(staple), None),
            None => (None, None),
        };
        let identity = Identity { source: Arc::clone(&self.source), chain, key, staple };
        let odd = pem::check_pair(&identity, keys).map_err(broken)?;
        Ok(UsableIdentity { identity: Arc::new(identity), odd: Arc::new(odd), staple: unusable })
    }
}

/// What is broken of something that came from `source`.
pub(crate) fn broken(source: &str, why: pem::Broken) -> Fault {
    Fault::Broken(format!("{source}: {}", why.why), why.help)
}
