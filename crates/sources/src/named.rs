//! Files that objects name by their paths: certificates, keys, lists of revoked ones (GW-11). They are read here and are part of the set,
//! so that the compiler reads nothing. A file that cannot be had, or that is empty, leaves what it held before.

use crate::findings;
use crate::folder::Stamp;
use crate::listing::Listed;
use crate::settle::{Pace, Settling};
use resources::Map;
use resources::diagnostic::Diagnostic;
use resources::set::ResourceSet;
use resources::spec::destination_rule::{ClientTls, TrafficPolicy};
use resources::spec::gateway::ServerTls;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
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
    /// Whether a later version would have another stamp.
    settled: bool,
    content: Option<Arc<[u8]>>,
    /// Why the content is that of an earlier version.
    finding: Option<Diagnostic>,
}

impl NamedFiles {
    /// Forgets files that no object names any more, and knows those that are new.
    pub(crate) fn name(&mut self, set: &ResourceSet, base: &Path) {
        let wanted = wanted(set);
        self.files.retain(|name, _| wanted.contains(&**name));
        for name in wanted {
            let path = base.join(name);
            let new = Named { path, stamp: None, settled: false, content: None, finding: None };
            self.files.entry(name.into()).or_insert(new);
        }
    }

    /// Reads those that changed and are complete. Whether any gave another content.
    pub(crate) fn poll(&mut self, pace: Pace, settling: &mut Settling) -> bool {
        let mut changed = false;
        for named in self.files.values_mut() {
            changed |= named.poll(pace, settling);
        }
        changed
    }

    /// Has every file read again with the next look.
    pub(crate) fn forget_stamps(&mut self) {
        self.files.values_mut().for_each(|named| named.stamp = None);
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

    /// Where they are, to be watched.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.values().map(|named| named.path.clone())
    }

    /// What is wrong with those that could be read before.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.files.values().filter_map(|named| named.finding.as_ref())
    }
}

impl Named {
    fn poll(&mut self, pace: Pace, settling: &mut Settling) -> bool {
        let listed = match Listed::at(&self.path) {
            Ok(listed) => listed,
            Err(error) => return self.lost(&error),
        };
        let is_known = self.stamp == Some(listed.stamp) && self.settled && self.finding.is_none();
        if is_known && !settling.is_reported(&listed)
            || !settling.may_read(pace, &self.path, &listed.real(), listed.stamp, self.stamp)
        {
            return false;
        }
        settling.observe();
        let clock = settling.clock();
        let content = match read(&listed) {
            Ok(content) => content,
            Err(error) => return self.lost(&error),
        };
        settling.observe();
        let held = self.content.as_deref().unwrap_or_default();
        if !settling.is_same(pace, &listed, clock) {
            settling.again(pace);
            return false;
        }
        if content.is_empty() && !held.is_empty() {
            let finding = findings::emptied(&self.path);
            self.finding = Some(finding);
            return false;
        }
        if content.len() < held.len() && !settling.is_whole(pace, &self.path) {
            return false;
        }
        (self.stamp, self.settled) = (Some(listed.stamp), listed.stamp.is_settled(SystemTime::now()));
        self.finding = None;
        let changed = self.content.as_deref() != Some(&*content);
        self.content = Some(content);
        changed
    }

    /// The file cannot be had. What was never there is missed by the objects that name it.
    fn lost(&mut self, error: &io::Error) -> bool {
        let message = || format!("{error}; what the file held before is used");
        self.finding = self.content.is_some().then(|| findings::unreadable(&self.path, message()));
        false
    }
}

fn read(listed: &Listed) -> io::Result<Arc<[u8]>> {
    if listed.stamp.length > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    Ok(fs::read(&listed.path)?.into())
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
