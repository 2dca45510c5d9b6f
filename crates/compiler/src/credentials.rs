//! Certificates, keys and authorities: from Secrets, ConfigMaps and files to what is presented and believed (S-90 to S-99, GW-11 to GW-19).
//!
//! Whatever is wrong with one is said here, once, and degrades the server that needs it alone.

use crate::code;
use crate::context::CompileContext;
use crate::pairs::{Fault, Pair, STAPLE, UsableIdentity, broken, pem};
use crate::report::Notes;
use crate::settings::Workload;
use ir::x509::{Certificate, RevocationList};
use ir::{Credential, Der, Identity, StringMatch, Trust};
use resources::key::Key;
use resources::spec::core::Secret;
use resources::spec::scalar::Text;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The namespace of the object that says what is looked for.
    pub(crate) owner: &'n str,
    /// The path of the TLS settings.
    pub(crate) field: &'n str,
    pub(crate) notes: &'n mut Notes,
    pub(crate) used: &'n mut Used,
}

impl<'a> Finder<'a, '_> {
    /// The certificates of Secrets by name; `at` is the field that names them.
    pub(crate) fn by_names(&mut self, names: &[&str], at: &str) -> Credential {
        let mut identities = Vec::with_capacity(names.len());
        for name in names {
            let pairs = self.context.pairs;
            let found = self.secret(name).and_then(|(key, secret)| pairs.of_secret(&key, secret));
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
    fn identity(&mut self, UsableIdentity { identity, odd, staple }: UsableIdentity, at: &str) -> Arc<Identity> {
        let field = format!("{}.{at}", self.field);
        for (message, help) in odd.iter() {
            let message = format!("{}: {message}", identity.source);
            self.notes.add_with_help(code::CREDENTIAL_ODD, field.clone(), message, *help);
        }
        if let Some(why) = staple {
            let message = format!("{}: the OCSP response in `{STAPLE}` is not sent: {why}", identity.source);
            let help = "fetch it again: `openssl ocsp -issuer ISSUER -cert CERTIFICATE -url URL -respout FILE`";
            self.notes.add_with_help(code::STAPLE, field, message, help);
        }
        identity
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
        let found = self.file(path).and_then(|bytes| pem::revocation_lists(bytes).map_err(|why| broken(path, why)));
        found.map_err(|fault| self.faulty(fault, "caCrl")).ok()
    }

    /// Reports authorities that are trusted and have no list among those that are given: whatever they issued is rejected, as in Envoy, which
    /// wants to know of each certificate in a chain whether it was taken back. `at` is the field that has the lists.
    pub(crate) fn check_coverage(&mut self, trusted: &Trusted, at: &str) {
        let issuers: Vec<&[u8]> = trusted.lists().map(|list| list.issuer).collect();
        if issuers.is_empty() {
            return;
        }
        let names = |names: &[&[u8]]| names.iter().map(|name| ir::x509::name_text(name)).collect::<Vec<_>>().join(", ");
        let authorities = trusted.authorities.iter().filter_map(|one| Certificate::parse(&one.0).ok());
        let lacking: Vec<&[u8]> = authorities.map(|one| one.subject).filter(|name| !issuers.contains(name)).collect();
        if !lacking.is_empty() {
            let message = format!(
                "no list of revoked certificates is by {}, so that every certificate of it is rejected; there are lists by {}",
                names(&lacking),
                names(&issuers)
            );
            let help = "add the list of each authority, those between included: the lists of a file follow each other";
            self.notes.add_with_help(code::REVOCATION_GAP, format!("{}.{at}", self.field), message, help);
        }
    }

    /// All values of a Secret; `None` where there is none.
    pub(crate) fn values_of(&mut self, name: &str, at: &str) -> Option<&'a BTreeMap<Text, Box<[u8]>>> {
        match self.secret(name) {
            Ok((_, secret)) => Some(&secret.values),
            Err(fault) => {
                self.faulty(fault, at);
                None
            }
        }
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
        if plain.contains("://") {
            return Err(Fault::Missing(format!("`{name}` is of a kind of credential that is not fetched here")));
        }
        let (namespace, plain) = match plain.split_once('/') {
            Some((namespace, plain)) => (namespace, plain),
            None => (&*self.workload.namespace, plain),
        };
        if namespace != &*self.workload.namespace {
            let own = &self.workload.namespace;
            return Err(Fault::Missing(format!("Secrets are taken from namespace {own} alone, not from {namespace}")));
        }
        let key = Key::new(Arc::clone(&self.workload.namespace), plain);
        self.used.objects.insert(key.clone());
        let found = self.context.set.secrets.get(&key).filter(|secret| !is_ignored(&secret.spec.kind));
        match found {
            Some(secret) => Ok((key, &secret.spec)),
            None => Err(Fault::Missing(format!("there is no Secret {key}"))),
        }
    }

    fn config_map(&mut self, name: &str) -> Result<Authority<'a>, Fault> {
        let (namespace, plain) = name.split_once('/').unwrap_or((&self.workload.namespace, name));
        let key = Key::new(namespace, plain);
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
        // Whoever may write objects elsewhere is not trusted with the files of the gateway.
        let found = self.context.set.files.get(path, self.owner).map_err(|only| {
            Fault::Missing(format!("only objects of namespace {only} may name files, and this one names `{path}`"))
        })?;
        found.map(|bytes| &**bytes).ok_or_else(|| Fault::Missing(format!("there is no file `{path}` that can be read")))
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

    fn lists(&self) -> impl Iterator<Item = RevocationList<'_>> {
        self.revoked.iter().filter_map(|list| RevocationList::parse(&list.0))
    }

    /// With demands on names. Of several lists by one issuer the latest comes first, and is the one that counts.
    pub(crate) fn with_names(mut self, names: &[resources::spec::scalar::Text]) -> Trust {
        self.revoked.sort_by_key(|list| Reverse(RevocationList::parse(&list.0).map(|list| list.this_update)));
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
        let broken = |why| broken(&self.source, why);
        let authorities = pem::certificates(self.certificates).map_err(broken)?;
        pem::check_authorities(&authorities).map_err(broken)?;
        let revoked = self.revoked.map_or(Ok(Vec::new()), pem::revocation_lists).map_err(broken)?;
        Ok(Trusted { authorities, revoked })
    }
}

/// S-95.
fn is_ignored(kind: &str) -> bool {
    matches!(kind, "helm.sh/release.v1" | "kubernetes.io/service-account-token")
}

fn authority_of<'a>(key: &Key, secret: &'a Secret) -> Result<Authority<'a>, Fault> {
    let value = |name: &str| secret.values.get(name).map(|bytes| &**bytes);
    let certificates = value("cacert").or_else(|| value("ca.crt"));
    let missing = || Fault::Missing(format!("Secret {key} has no `ca.crt`"));
    let revoked = value("crl").or_else(|| value("ca.crl")).filter(|list| !list.is_empty());
    Ok(Authority { source: format!("Secret {key}").into(), certificates: certificates.ok_or_else(missing)?, revoked })
}
