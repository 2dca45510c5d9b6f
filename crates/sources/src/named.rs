//! Files that objects name by their paths: certificates, keys, lists of revoked ones (GW-11). They are read here and are part of the set,
//! so that the compiler reads nothing. A file that cannot be had, or that is empty, leaves what it held before.

use crate::findings;
use crate::folder::Stamp;
use crate::inventory::Changes;
use crate::listing::Listed;
use crate::settle::{Pace, Settling};
use resources::Map;
use resources::diagnostic::Diagnostic;
use resources::key::ObjectRef;
use resources::set::{AnyObject, Change};
use resources::spec::destination_rule::{ClientTls, DestinationRule, TrafficPolicy};
use resources::spec::gateway::{Gateway, ServerTls};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Largest file that is read.
const MAX_FILE: u64 = 4 << 20;

/// The files, and what they held when they were looked at last.
#[derive(Debug, Default, Clone)]
pub(crate) struct NamedFiles {
    files: BTreeMap<Arc<str>, Named>,
    /// The files that each object names, of objects that name any.
    by_object: BTreeMap<ObjectRef, BTreeSet<Arc<str>>>,
    /// Whether a file was forgotten since the last look, and with it what it held.
    has_dropped: bool,
    /// The folder that files have to be in, wherever links lead.
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone)]
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
    /// Has only files in this folder read.
    pub(crate) fn confine(&mut self, folder: Option<PathBuf>) {
        self.folder = folder;
    }

    /// Takes note of the files that changed objects name, and forgets those that none names any more. Relative paths begin at the folder that files have
    /// to be in, or else at `base`.
    pub(crate) fn name(&mut self, changes: &Changes, base: &Path) {
        let mut differs = false;
        for (object, change) in changes.iter() {
            let names: BTreeSet<Arc<str>> = match change {
                Change::Put(AnyObject::Gateway(gateway)) => named_by(of_gateway(&gateway.spec)),
                Change::Put(AnyObject::DestinationRule(rule)) => named_by(of_rule(&rule.spec)),
                Change::Put(_) => continue,
                Change::Delete(_) => BTreeSet::new(),
            };
            let before = self.by_object.get(object);
            if before.map_or(names.is_empty(), |before| *before == names) {
                continue;
            }
            differs = true;
            if names.is_empty() {
                self.by_object.remove(object);
            } else {
                self.by_object.insert(object.clone(), names);
            }
        }
        if !differs {
            return;
        }
        let base = self.folder.as_deref().unwrap_or(base);
        let wanted: BTreeSet<&Arc<str>> = self.by_object.values().flatten().collect();
        let before = self.files.len();
        self.files.retain(|name, _| wanted.contains(name));
        self.has_dropped |= self.files.len() < before;
        for name in wanted {
            let path = base.join(&**name);
            let new = Named { path, stamp: None, settled: false, content: None, finding: None };
            self.files.entry(Arc::clone(name)).or_insert(new);
        }
    }

    /// Reads those that changed and are complete. Whether any gave another content.
    pub(crate) fn poll(&mut self, pace: Pace, settling: &mut Settling) -> bool {
        let mut changed = std::mem::take(&mut self.has_dropped);
        for named in self.files.values_mut() {
            changed |= named.poll(pace, settling, self.folder.as_deref());
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
    fn poll(&mut self, pace: Pace, settling: &mut Settling, folder: Option<&Path>) -> bool {
        if let Some(folder) = folder
            && let Err(error) = check_within(&self.path, folder)
        {
            return self.lost(&error);
        }
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
        return Err(too_large());
    }
    let file = File::open(&listed.path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    // The size of some files of the system is not known before.
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Err(too_large());
    }
    Ok(content.into())
}

fn too_large() -> io::Error {
    io::Error::other(format!("it has more than {MAX_FILE} bytes"))
}

/// Whether a file is in a folder, once all links are followed.
fn check_within(path: &Path, folder: &Path) -> io::Result<()> {
    if fs::canonicalize(path)?.starts_with(fs::canonicalize(folder)?) {
        return Ok(());
    }
    Err(io::Error::other(format!("it is not in {}", folder.display())))
}

/// The paths that are not empty.
fn named_by<'a>(paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<Arc<str>> {
    paths.into_iter().filter(|path| !path.is_empty()).map(Arc::from).collect()
}

fn of_gateway(gateway: &Gateway) -> Vec<&str> {
    gateway.servers.iter().filter_map(|server| server.tls.as_deref()).flat_map(of_server).collect()
}

fn of_rule(rule: &DestinationRule) -> Vec<&str> {
    let subsets = rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_deref());
    rule.traffic_policy.as_deref().into_iter().chain(subsets).flat_map(of_policy).collect()
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
