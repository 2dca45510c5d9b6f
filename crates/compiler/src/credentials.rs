//! Certificates, keys and authorities: from Secrets, ConfigMaps and files to what is presented and believed (S-90 to S-99, GW-11 to GW-19).
//!
//! Whatever is wrong with one is said here, once, and degrades the server that needs it alone.

mod pem;

use crate::code;
use crate::context::CompileContext;
use crate::report::Notes;
use crate::settings::Workload;
use ir::{Credential, Der, Identity, StringMatch, Trust};
use pem::Oddities;
use resources::key::Key;
use resources::spec::core::Secret;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was looked for, there or not: when it changes, whoever asked has to ask again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Used {
    /// Secrets and ConfigMaps.
    pub(crate) objects: BTreeSet<Key>,
    pub(crate) files: BTreeSet<Arc<str>>,
}

/// Who looks, and where what is wrong is said.
pub(crate) struct Finder<'a, 'n> {
    pub(crate) context: CompileContext<'a>,
    pub(crate) workload: &'a Workload,
    /// The path of the TLS settings.
    pub(crate) field: &'n str,
    pub(crate) notes: &'n mut Notes,
    pub(crate) used: &'n mut Used,
}

/// Something that is not there or cannot be used.
enum Fault {
    Missing(String),
    /// Why, and what to do, where there is more to say.
    Broken(String, &'static str),
}

/// A certificate and its key as they were found.
struct Pair<'a> {
    source: Arc<str>,
    certificate: &'a [u8],
    key: &'a [u8],
    staple: Option<&'a [u8]>,
}

impl<'a> Finder<'a, '_> {
    /// The certificates of Secrets by name; `at` is the field that names them.
    pub(crate) fn by_names(&mut self, names: &[&str], at: &str) -> Credential {
        let mut identities = Vec::with_capacity(names.len());
        for name in names {
            let found = self.secret(name).and_then(|(key, secret)| pair_of(&key, secret)).and_then(|pair| pair.read());
            match found {
                Ok(found) => identities.push(self.identity(found, at)),
                Err(fault) => return self.faulty(fault, at),
            }
        }
        Credential::Ready(identities)
    }

    /// The certificates of files, each a certificate with its key.
    pub(crate) fn by_files(&mut self, pairs: &[(&str, &str)], at: &str) -> Credential {
        let mut identities = Vec::with_capacity(pairs.len());
        for (certificate, key) in pairs {
            let found = self.file(certificate).and_then(|certificate_bytes| {
                let key = self.file(key)?;
                Pair { source: (*certificate).into(), certificate: certificate_bytes, key, staple: None }.read()
            });
            match found {
                Ok(found) => identities.push(self.identity(found, at)),
                Err(fault) => return self.faulty(fault, at),
            }
        }
        Credential::Ready(identities)
    }

    /// Reports what is odd of an identity that is used all the same.
    fn identity(&mut self, (identity, odd): (Identity, Oddities), at: &str) -> Arc<Identity> {
        for (message, help) in odd {
            let field = format!("{}.{at}", self.field);
            self.notes.add_with_help(code::CREDENTIAL_ODD, field, format!("{}: {message}", identity.source), help);
        }
        Arc::new(identity)
    }

    /// The authorities that go with a Secret (S-93): those of `<name>-cacert`, else its own.
    pub(crate) fn authorities_of(&mut self, name: &str, at: &str) -> Trusted {
        let apart = self.secret(&format!("{name}-cacert")).ok();
        let found = match apart {
            Some((key, secret)) => authority_of(&key, secret),
            None => self.secret(name).and_then(|(key, secret)| authority_of(&key, secret)),
        };
        self.trusted(found, at)
    }

    /// The authorities of a Secret or, as `configmap://namespace/name`, of a ConfigMap that has nothing else (GW-14).
    pub(crate) fn authorities_alone(&mut self, name: &str, at: &str) -> Trusted {
        let found = match name.strip_prefix("configmap://") {
            Some(rest) => self.config_map(rest),
            None => self.secret(name).and_then(|(key, secret)| authority_of(&key, secret)),
        };
        self.trusted(found, at)
    }

    /// The authorities of a file.
    pub(crate) fn authorities_in(&mut self, path: &str, at: &str) -> Trusted {
        let found = self.file(path).map(|certificates| Authority { source: path.into(), certificates, revoked: None });
        self.trusted(found, at)
    }

    /// The lists of revoked certificates of a file; `None` where they cannot be had, so that nobody may be trusted.
    pub(crate) fn revoked_in(&mut self, path: &str) -> Option<Vec<Der>> {
        let found = self.file(path).and_then(|bytes| pem::revocation_lists(bytes).map_err(|broken| of(path, broken)));
        found.map_err(|fault| self.faulty(fault, "caCrl")).ok()
    }

    fn trusted(&mut self, found: Result<Authority<'a>, Fault>, at: &str) -> Trusted {
        match found.and_then(|authority| authority.read()) {
            Ok(trusted) => trusted,
            Err(fault) => {
                self.faulty(fault, at);
                Trusted::default()
            }
        }
    }

    /// S-90, S-91, S-99: a Secret of the workload's namespace, however it is named.
    fn secret(&mut self, name: &str) -> Result<(Key, &'a Secret), Fault> {
        let plain = name.strip_prefix("kubernetes://").unwrap_or(name);
        let (namespace, plain) = match plain.split_once('/') {
            Some((namespace, plain)) => (namespace, plain),
            None => (&*self.workload.namespace, plain),
        };
        if plain.contains("://") {
            return Err(Fault::Missing(format!("`{name}` is of a kind of credential that is not fetched here")));
        }
        if namespace != &*self.workload.namespace {
            let own = &self.workload.namespace;
            return Err(Fault::Missing(format!("Secrets are taken from namespace {own} alone, not from {namespace}")));
        }
        let key = Key { namespace: Arc::clone(&self.workload.namespace), name: plain.into() };
        self.used.objects.insert(key.clone());
        let found = self.context.set.secrets.get(&key).filter(|secret| !is_ignored(&secret.spec.kind));
        match found {
            Some(secret) => Ok((key, &secret.spec)),
            None => Err(Fault::Missing(format!("there is no Secret {key}"))),
        }
    }

    fn config_map(&mut self, name: &str) -> Result<Authority<'a>, Fault> {
        let (namespace, plain) = name.split_once('/').unwrap_or((&self.workload.namespace, name));
        let key = Key { namespace: namespace.into(), name: plain.into() };
        self.used.objects.insert(key.clone());
        let Some(map) = self.context.set.config_maps.get(&key) else {
            return Err(Fault::Missing(format!("there is no ConfigMap {key}")));
        };
        let value = |name: &str| map.spec.data.get(name).map(|text| text.as_bytes());
        let certificates = value("cacert").or_else(|| value("ca.crt"));
        let certificates = certificates.ok_or_else(|| Fault::Missing(format!("ConfigMap {key} has no `ca.crt`")))?;
        let source = format!("ConfigMap {key}").into();
        let revoked = value("crl").or_else(|| value("ca.crl")).filter(|list| !list.is_empty());
        Ok(Authority { source, certificates, revoked })
    }

    fn file(&mut self, path: &str) -> Result<&'a [u8], Fault> {
        self.used.files.insert(path.into());
        let found = self.context.set.files.get(path).map(|bytes| &**bytes);
        found.ok_or_else(|| Fault::Missing(format!("there is no file `{path}` that can be read")))
    }

    fn faulty(&mut self, fault: Fault, at: &str) -> Credential {
        let field = format!("{}.{at}", self.field);
        match fault {
            Fault::Missing(why) => {
                self.notes.add(code::CREDENTIAL_MISSING, field, why.clone());
                Credential::Missing(why.into())
            }
            Fault::Broken(why, help) => {
                self.notes.add_with_help(code::CREDENTIAL_BROKEN, field, why.clone(), help);
                Credential::Broken(why.into())
            }
        }
    }
}

/// Authorities and what they took back.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trusted {
    pub(crate) authorities: Vec<Der>,
    pub(crate) revoked: Vec<Der>,
}

impl Trusted {
    /// Without certificates that a list takes back; nobody where the list cannot be had.
    pub(crate) fn without(mut self, revoked: Option<Vec<Der>>) -> Self {
        match revoked {
            Some(lists) => self.revoked.extend(lists),
            None => self = Self::default(),
        }
        self
    }

    /// With demands on names.
    pub(crate) fn with_names(self, names: &[resources::spec::scalar::Text]) -> Trust {
        Trust {
            authorities: self.authorities,
            revoked: self.revoked,
            names: names.iter().map(|name| StringMatch::Exact((**name).into())).collect(),
            key_pins: Vec::new(),
            certificate_pins: Vec::new(),
        }
    }
}

/// Authorities as they were found.
struct Authority<'a> {
    source: Arc<str>,
    certificates: &'a [u8],
    revoked: Option<&'a [u8]>,
}

impl Authority<'_> {
    fn read(&self) -> Result<Trusted, Fault> {
        let broken = |broken| of(&self.source, broken);
        let authorities = pem::certificates(self.certificates).map_err(broken)?;
        pem::check_authorities(&authorities).map_err(broken)?;
        let revoked = self.revoked.map_or(Ok(Vec::new()), pem::revocation_lists).map_err(broken)?;
        Ok(Trusted { authorities, revoked })
    }
}

impl Pair<'_> {
    /// The identity, and what is odd of it.
    fn read(&self) -> Result<(Identity, Oddities), Fault> {
        let broken = |broken| of(&self.source, broken);
        let chain = pem::certificates(self.certificate).map_err(broken)?;
        let (key, keys) = pem::private_key(self.key).map_err(broken)?;
        let staple = self.staple.map(|bytes| Der(bytes.into()));
        let identity = Identity { source: Arc::clone(&self.source), chain, key, staple };
        let odd = pem::check_pair(&identity, keys).map_err(broken)?;
        Ok((identity, odd))
    }
}

/// What is broken of something that came from `source`.
fn of(source: &str, broken: pem::Broken) -> Fault {
    Fault::Broken(format!("{source}: {}", broken.why), broken.help)
}

/// S-95.
fn is_ignored(kind: &str) -> bool {
    matches!(kind, "helm.sh/release.v1" | "kubernetes.io/service-account-token")
}

fn value<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    secret.values.get(name).map(|bytes| &**bytes)
}

/// S-93: `cert` and `key` first, then those of `kubernetes.io/tls`.
fn pair_of<'a>(key: &Key, secret: &'a Secret) -> Result<Pair<'a>, Fault> {
    let of = |certificate: &str, private: &str| Some((value(secret, certificate)?, value(secret, private)?));
    let (certificate, private) = of("cert", "key").or_else(|| of("tls.crt", "tls.key")).ok_or_else(|| {
        let why = format!("Secret {key} has neither `tls.crt` and `tls.key` nor `cert` and `key`");
        Fault::Broken(why, "make it by `kubectl create secret tls NAME --cert=FILE --key=FILE`")
    })?;
    let staple = value(secret, "tls.ocsp-staple");
    Ok(Pair { source: format!("Secret {key}").into(), certificate, key: private, staple })
}

fn authority_of<'a>(key: &Key, secret: &'a Secret) -> Result<Authority<'a>, Fault> {
    let certificates = value(secret, "cacert").or_else(|| value(secret, "ca.crt"));
    let missing = || Fault::Missing(format!("Secret {key} has no `ca.crt`"));
    let revoked = value(secret, "crl").or_else(|| value(secret, "ca.crl")).filter(|list| !list.is_empty());
    Ok(Authority { source: format!("Secret {key}").into(), certificates: certificates.ok_or_else(missing)?, revoked })
}
