//! When the certificates that are presented end: findings that depend on the clock, and a metric. The pipeline keeps it and asks again from
//! time to time, as a certificate ends without a change of the configuration; `check` asks once. What a certificate is worth besides is the
//! compiler's to say.

use crate::objects::object_ref;
use dataplane::Gauges;
use ir::x509::Certificate;
use ir::{Changes, ClusterId, Credential, Identity, ListenerId, Origin, Snapshot};
use prometheus_client::registry::Registry;
use resources::diagnostic::{Diagnostic, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The codes; `docs/diagnostics.md` lists them.
const EXPIRED: &str = "MG9040";
const NOT_YET_VALID: &str = "MG9041";
const ENDS_SOON: &str = "MG9042";

/// Series of the metric, at most.
const SERIES: usize = 10_000;

/// When a certificate that is presented is valid; of a chain, when all of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Presented {
    /// The Gateway and server, or the DestinationRule.
    origin: Origin,
    source: Arc<str>,
    /// In seconds since 1970.
    not_before: i64,
    not_after: i64,
}

/// All certificates that are presented to clients and endpoints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates {
    of_listeners: BTreeMap<ListenerId, Vec<Presented>>,
    of_clusters: BTreeMap<ClusterId, Vec<Presented>>,
}

impl Certificates {
    /// Those of a snapshot.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut certificates = Self::default();
        certificates.update(snapshot, None);
        certificates
    }

    /// Takes over what changed, or everything when that is not known.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, changes: Option<&Changes>) {
        let Some(changes) = changes else {
            *self = Self::default();
            snapshot.listeners.keys().for_each(|id| self.put_listener(snapshot, id));
            snapshot.clusters.keys().for_each(|id| self.put_cluster(snapshot, id));
            return;
        };
        changes.listeners.iter().for_each(|id| self.put_listener(snapshot, id));
        changes.clusters.iter().for_each(|id| self.put_cluster(snapshot, id));
    }

    /// Whether a change may touch any.
    pub(crate) fn may_change(changes: &Changes) -> bool {
        !(changes.listeners.is_empty() && changes.clusters.is_empty())
    }

    fn put_listener(&mut self, snapshot: &Snapshot, id: &ListenerId) {
        let mut found = Vec::new();
        for server in snapshot.listeners.get(id).iter().flat_map(|listener| &listener.tls) {
            let credential = server.termination.as_ref().map(|termination| &termination.credential);
            if let Some(Credential::Ready(identities)) = credential {
                found.extend(identities.iter().filter_map(|identity| presented(identity, &server.origin)));
            }
        }
        put(&mut self.of_listeners, id, found);
    }

    fn put_cluster(&mut self, snapshot: &Snapshot, id: &ClusterId) {
        let cluster = snapshot.clusters.get(id);
        let found = cluster.and_then(|cluster| {
            let origin = cluster.policy.as_deref().unwrap_or(&cluster.origin);
            presented(cluster.tls.as_ref()?.identity.as_ref()?, origin)
        });
        put(&mut self.of_clusters, id, found.into_iter().collect());
    }

    fn all(&self) -> impl Iterator<Item = &Presented> {
        self.of_listeners.values().chain(self.of_clusters.values()).flatten()
    }

    /// What there is to say at a moment; `soon` is how long before its end a certificate is reported. Positions are not known here.
    pub(crate) fn findings(&self, now: SystemTime, soon: Duration) -> Vec<Diagnostic> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, seconds);
        let (mut said, mut found) = (BTreeSet::new(), Vec::new());
        for one in self.all() {
            if said.insert((one.origin.to_string(), &one.source)) {
                found.extend(one.finding(now, seconds(soon)));
            }
        }
        found
    }

    /// Adds the end of each.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut said = BTreeSet::new();
        let all = self.all().take(SERIES).filter(|one| said.insert((one.origin.to_string(), &one.source)));
        let row = |one: &Presented| {
            let labels = vec![
                ("object", object_ref(&one.origin).to_string()),
                ("rule", one.origin.rule.to_string()),
                ("source", one.source.to_string()),
            ];
            (labels, one.not_after)
        };
        let help = "End of the validity of a certificate that is presented, with its chain";
        registry.register("moongate_certificate_expiry_timestamp_seconds", help, Gauges(all.map(row).collect()));
    }
}

impl Presented {
    fn finding(&self, now: i64, soon: i64) -> Option<Diagnostic> {
        let source = &self.source;
        let (code, severity, message) = match () {
            () if self.not_after < now => {
                (EXPIRED, Severity::Error, format!("{source}: the certificate expired at {}", date(self.not_after)))
            }
            () if self.not_before > now => {
                let message = format!("{source}: the certificate is not valid before {}", date(self.not_before));
                (NOT_YET_VALID, Severity::Error, message)
            }
            () if self.not_after - now <= soon => {
                let message = format!("{source}: the certificate expires at {}", date(self.not_after));
                (ENDS_SOON, Severity::Warning, message)
            }
            () => return None,
        };
        let help = match code {
            NOT_YET_VALID => "check the clock of this machine, or use a certificate that is valid already",
            _ => "renew it; a Secret or file that changes is used at once",
        };
        let field = match self.origin.kind {
            ir::ObjectKind::Gateway => format!("spec.{}.tls", self.origin.rule),
            _ => "spec.trafficPolicy.tls".to_owned(),
        };
        let object = Some(object_ref(&self.origin));
        Some(Diagnostic { code, severity, object, field, position: None, message, help: Some(help.to_owned()) })
    }
}

fn presented(identity: &Identity, origin: &Origin) -> Option<Presented> {
    let read = |der: &ir::Der| Certificate::parse(&der.0).ok().map(|read| (read.not_before, read.not_after));
    let all: Vec<(i64, i64)> = identity.chain.iter().filter_map(read).collect();
    Some(Presented {
        origin: origin.clone(),
        source: Arc::clone(&identity.source),
        not_before: all.iter().map(|(begin, _)| *begin).max()?,
        not_after: all.iter().map(|(_, end)| *end).min()?,
    })
}

fn put<K: Ord + Clone>(map: &mut BTreeMap<K, Vec<Presented>>, id: &K, found: Vec<Presented>) {
    if found.is_empty() {
        map.remove(id);
    } else {
        map.insert(id.clone(), found);
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// `2026-11-28T17:45:25Z`.
fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use compiler::{Memo, Settings};
    use resources::read::{documents, read};
    use resources::set::{Change, ResourceSet};
    use std::path::Path;

    const DAY: i64 = 86_400;

    /// A server with the certificate of `crates/testkit/data/x509-v1`, and when that is valid.
    fn certificates() -> (Certificates, i64, i64) {
        let pem = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let (certificate, key) = (
            include_str!("../../testkit/data/x509-v1/server.crt"),
            include_str!("../../testkit/data/x509-v1/server.key"),
        );
        let yaml = format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: gw, namespace: default}}\nspec:\n  servers:\n  - port: {{number: 443, name: a, protocol: HTTPS}}\n    hosts: [a.test]\n    tls: {{mode: SIMPLE, credentialName: web}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: web, namespace: istio-system}}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
            pem(certificate),
            pem(key)
        );
        let file: Arc<Path> = Path::new("in.yaml").into();
        let objects = documents(&yaml).flat_map(|document| read(&file, document).objects);
        let set = ResourceSet::default().with(objects.map(Change::Put));
        let compiled = compiler::compile(&set, &Settings::default(), &mut Memo::default());
        let found = Certificates::of(&compiled.snapshot);
        let one = found.all().next().cloned().unwrap();
        (found, one.not_before, one.not_after)
    }

    #[test]
    fn certificates_are_reported_by_the_clock() {
        let (certificates, begin, end) = certificates();
        let at = |now: i64| {
            let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap());
            let found = certificates.findings(now, Duration::from_secs(30 * 86_400));
            found.into_iter().map(|one| (one.code, one.severity, one.field)).collect::<Vec<_>>()
        };
        let field = || "spec.servers[0].tls".to_owned();
        assert_eq!(at(begin + 1), []);
        assert_eq!(at(end - 31 * DAY), []);
        assert_eq!(at(end - 29 * DAY), [(ENDS_SOON, Severity::Warning, field())]);
        assert_eq!(at(end), [(ENDS_SOON, Severity::Warning, field())]);
        assert_eq!(at(end + 1), [(EXPIRED, Severity::Error, field())]);
        assert_eq!(at(begin - 1), [(NOT_YET_VALID, Severity::Error, field())]);
    }

    #[test]
    fn the_end_of_each_is_a_metric() {
        let (mut certificates, _, end) = certificates();
        let line = format!(
            "moongate_certificate_expiry_timestamp_seconds{{object=\"Gateway default/gw\",rule=\"servers[0]\",source=\"Secret istio-system/web\"}} {end}\n"
        );
        let text = |certificates: &Certificates| {
            let mut registry = Registry::default();
            certificates.register(&mut registry);
            crate::metrics::render(&registry, crate::metrics::Format::Text)
        };
        assert!(text(&certificates).ends_with(&line), "{}", text(&certificates));
        let gone = certificates.of_listeners.keys().cloned().collect();
        certificates.update(&Snapshot::default(), Some(&Changes { listeners: gone, ..Changes::default() }));
        assert_eq!(text(&certificates), "");
    }
}
