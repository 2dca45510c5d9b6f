//! Files that objects name by their paths: certificates, keys, lists of revoked ones (GW-11). They are read here and stand in the set, so
//! that the compiler reads nothing.

use crate::folder::{Stamp, stamp};
use resources::Map;
use resources::set::ResourceSet;
use resources::spec::destination_rule::{ClientTls, TrafficPolicy};
use resources::spec::gateway::ServerTls;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Largest file that is read.
const MAX_FILE: u64 = 4 << 20;

/// The files, and what they held when they were looked at last.
#[derive(Debug, Default)]
pub(crate) struct NamedFiles {
    files: BTreeMap<Arc<str>, Named>,
}

#[derive(Debug)]
struct Named {
    path: PathBuf,
    stamp: Option<Stamp>,
    content: Option<Arc<[u8]>>,
}

impl NamedFiles {
    /// Forgets files that no object names any more, and knows those that are new.
    pub(crate) fn name(&mut self, set: &ResourceSet, base: &Path) {
        let wanted = wanted(set);
        self.files.retain(|name, _| wanted.contains(&**name));
        for name in wanted {
            let path = base.join(name);
            self.files.entry(name.into()).or_insert(Named { path, stamp: None, content: None });
        }
    }

    /// Reads those that changed. Whether any did.
    pub(crate) fn look(&mut self) -> bool {
        let now = SystemTime::now();
        let mut changed = false;
        for named in self.files.values_mut() {
            let metadata = fs::metadata(&named.path).ok().filter(|metadata| metadata.is_file());
            let next = metadata.as_ref().map(stamp).filter(|stamp| stamp.length <= MAX_FILE);
            if next == named.stamp && next.is_none_or(|stamp| stamp.is_settled(now)) {
                continue;
            }
            named.stamp = next;
            let content = next.and_then(|_| fs::read(&named.path).ok()).map(Arc::from);
            changed |= content != named.content;
            named.content = content;
        }
        changed
    }

    /// What could be read, by the path as it is written.
    pub(crate) fn contents(&self) -> Map<Arc<str>, Arc<[u8]>> {
        let read = |(name, named): (&Arc<str>, &Named)| Some((Arc::clone(name), Arc::clone(named.content.as_ref()?)));
        self.files.iter().filter_map(read).collect()
    }

    /// How many could be read.
    pub(crate) fn read(&self) -> usize {
        self.files.values().filter(|named| named.content.is_some()).count()
    }

    /// The folders in which they are, to be watched.
    pub(crate) fn folders(&self) -> BTreeSet<PathBuf> {
        self.files.values().filter_map(|named| named.path.parent()).map(Path::to_owned).collect()
    }
}

/// Every path that a Gateway or DestinationRule names.
fn wanted(set: &ResourceSet) -> BTreeSet<&str> {
    let servers = set.gateways.values().flat_map(|gateway| &gateway.spec.servers);
    let mut all: Vec<&str> = servers.filter_map(|server| server.tls.as_deref()).flat_map(of_server).collect();
    for rule in set.destination_rules.values() {
        let subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_deref());
        let policies = rule.spec.traffic_policy.as_deref().into_iter().chain(subsets);
        all.extend(policies.flat_map(of_policy));
    }
    all.into_iter().filter(|path| !path.is_empty()).collect()
}

fn of_server(tls: &ServerTls) -> Vec<&str> {
    let mut paths: Vec<&str> = vec![&tls.server_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl];
    for pair in &tls.tls_certificates {
        paths.extend([&*pair.server_certificate, &*pair.private_key, &*pair.ca_certificates]);
    }
    paths
}

fn of_policy(policy: &TrafficPolicy) -> Vec<&str> {
    let ports = policy.port_level_settings.iter().filter_map(|port| port.tls.as_deref());
    policy.tls.as_deref().into_iter().chain(ports).flat_map(of_client).collect()
}

fn of_client(tls: &ClientTls) -> [&str; 4] {
    [&tls.client_certificate, &tls.private_key, &tls.ca_certificates, &tls.ca_crl]
}
