//! When the certificates that are presented end, their OCSP responses, and the lists of revoked certificates: findings that depend on the clock,
//! and metrics. The pipeline keeps it and asks again from time to time, as all of them end without a change of the configuration; `check` asks
//! once. What they are worth besides is the compiler's to say.

mod by_system;

use crate::objects::object_ref;
use by_system::BySystem;
use dataplane::Gauges;
use ir::x509::{Certificate, RevocationList, name_text};
use ir::{Changes, ClientAuth, ClusterId, Credential, Identity, ListenerId, Origin, Snapshot, Trust, Verify};
use prometheus_client::registry::Registry;
use resources::diagnostic::{Diagnostic, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The codes; `docs/diagnostics.md` lists them.
const EXPIRED: &str = "MG9040";
const NOT_YET_VALID: &str = "MG9041";
const ENDS_SOON: &str = "MG9042";
const LIST_OUT_OF_DATE: &str = "MG9043";
const LIST_ENDS_SOON: &str = "MG9044";
const STAPLE_OUT_OF_DATE: &str = "MG9045";
const STAPLE_ENDS_SOON: &str = "MG9046";

/// Lists and responses are issued anew all the time: they end soon when less than this part of their time is left.
const LAST_PART: i64 = 4;

/// Series of each metric, at most.
const SERIES: usize = 10_000;

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A certificate that is presented, with its chain.
    Certificate,
    /// A list of revoked certificates.
    List,
    /// The OCSP response of a certificate that is presented.
    Staple,
}

/// What is to be said of it at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Expired,
    Early,
    EndsSoon,
}

/// When something is valid; of a chain, when all of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Valid {
    what: What,
    /// The Gateway and server, or the DestinationRule.
    origin: Origin,
    /// Its source; of a list, its issuer.
    source: Arc<str>,
    /// In seconds since 1970.
    begin: i64,
    /// Its last second; of lists and responses, the one after it.
    end: i64,
}

/// All that is presented to clients and endpoints, or decides about their certificates.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates {
    of_listeners: BTreeMap<ListenerId, Vec<Valid>>,
    of_clusters: BTreeMap<ClusterId, Vec<Valid>>,
    by_system: BySystem,
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
        self.by_system.put_listener(snapshot, id);
        let mut found = Vec::new();
        for server in snapshot.listeners.get(id).iter().flat_map(|listener| &listener.tls) {
            let Some(termination) = &server.termination else { continue };
            if let Credential::Ready(identities) = &termination.credential {
                identities.iter().for_each(|identity| presented(identity, &server.origin, &mut found));
            }
            match &termination.client {
                ClientAuth::Optional(trust) | ClientAuth::Required(trust) => lists(trust, &server.origin, &mut found),
                ClientAuth::None | ClientAuth::Unverified => {}
            }
        }
        put(&mut self.of_listeners, id, found);
    }

    fn put_cluster(&mut self, snapshot: &Snapshot, id: &ClusterId) {
        self.by_system.put_cluster(snapshot, id);
        let mut found = Vec::new();
        if let Some((cluster, tls)) = snapshot.clusters.get(id).and_then(|one| Some((one, one.tls.as_ref()?))) {
            let origin = cluster.policy.as_deref().unwrap_or(&cluster.origin);
            tls.identity.iter().for_each(|identity| presented(identity, origin, &mut found));
            if let Verify::Authorities { trust: Some(trust), .. } = &tls.verify {
                lists(trust, origin, &mut found);
            }
        }
        put(&mut self.of_clusters, id, found);
    }

    fn all(&self) -> impl Iterator<Item = &Valid> {
        self.of_listeners.values().chain(self.of_clusters.values()).flatten()
    }

    /// What there is to say at a moment; `soon` is how long before its end a certificate is reported. Positions are not known here.
    pub(crate) fn findings(&self, now: SystemTime, soon: Duration) -> Vec<Diagnostic> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, seconds);
        let (mut said, mut found) = (BTreeSet::new(), Vec::new());
        for one in self.all() {
            if said.insert((one.what, one.origin.to_string(), &one.source)) {
                found.extend(one.finding(now, seconds(soon)));
            }
        }
        found
    }

    /// What there is to say where something needs the authorities of the system, and `has_any` says that there are none.
    pub(crate) fn without_authorities(&self, has_any: impl FnOnce() -> bool) -> Vec<Diagnostic> {
        if self.by_system.is_empty() || has_any() { Vec::new() } else { self.by_system.findings() }
    }

    /// Adds the end of each.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (what, name, help) in [
            (
                What::Certificate,
                "moongate_certificate_expiry_timestamp_seconds",
                "End of the validity of a certificate that is presented, with its chain",
            ),
            (
                What::List,
                "moongate_revocation_list_expiry_timestamp_seconds",
                "End of the validity of a list of revoked certificates, by its issuer",
            ),
            (
                What::Staple,
                "moongate_ocsp_response_expiry_timestamp_seconds",
                "End of the validity of the OCSP response of a certificate that is presented",
            ),
        ] {
            let mut said = BTreeSet::new();
            let all = self.all().filter(|one| one.what == what).take(SERIES);
            let all = all.filter(|one| said.insert((one.origin.to_string(), &one.source)));
            registry.register(name, help, Gauges(all.map(Valid::row).collect()));
        }
    }
}

impl Valid {
    fn row(&self) -> (Vec<(&'static str, String)>, i64) {
        let labels = vec![
            ("object", object_ref(&self.origin).to_string()),
            ("rule", self.origin.rule.to_string()),
            ("source", self.source.to_string()),
        ];
        (labels, self.end)
    }

    /// What there is to say about it at a moment, if anything.
    fn state(&self, now: i64, soon: i64) -> Option<State> {
        let (is_over, soon) = match self.what {
            What::Certificate => (self.end < now, soon),
            What::List | What::Staple => (self.end <= now, soon.min((self.end - self.begin) / LAST_PART)),
        };
        match () {
            () if is_over => Some(State::Expired),
            () if self.begin > now => Some(State::Early),
            () if self.end - now <= soon => Some(State::EndsSoon),
            () => None,
        }
    }

    fn finding(&self, now: i64, soon: i64) -> Option<Diagnostic> {
        let state = self.state(now, soon)?;
        let (code, severity) = self.what.code(state);
        let when = match state {
            State::Expired => format!("expired at {}", date(self.end)),
            State::Early => format!("is not valid before {}", date(self.begin)),
            State::EndsSoon => format!("expires at {}", date(self.end)),
        };
        let source = &self.source;
        let message = match (self.what, state) {
            (What::Certificate, _) => format!("{source}: the certificate {when}"),
            (What::List, State::EndsSoon) => format!("the list of revoked certificates by {source} {when}"),
            (What::List, _) => {
                let rejected = "certificates of this authority are rejected";
                format!("the list of revoked certificates by {source} {when}: {rejected}")
            }
            (What::Staple, State::EndsSoon) => format!("{source}: the OCSP response {when}"),
            (What::Staple, _) => format!("{source}: the OCSP response {when}, and is not sent"),
        };
        let help = match (self.what, state) {
            (What::Certificate, State::Early) => {
                "check the clock of this machine, or use a certificate that is valid already"
            }
            (What::Certificate, _) => "renew it; a Secret or file that changes is used at once",
            (What::List, _) => "get the authority's latest list; a Secret or file that changes is used at once",
            (What::Staple, _) => "fetch a new response; a Secret that changes is used at once",
        };
        let field = match self.origin.kind {
            ir::ObjectKind::Gateway => format!("spec.{}.tls", self.origin.rule),
            _ => "spec.trafficPolicy.tls".to_owned(),
        };
        let object = Some(object_ref(&self.origin));
        Some(Diagnostic { code, severity, object, field, position: None, message, help: Some(help.to_owned()) })
    }
}

impl What {
    fn code(self, state: State) -> (&'static str, Severity) {
        match (self, state) {
            (Self::Certificate, State::Expired) => (EXPIRED, Severity::Error),
            (Self::Certificate, State::Early) => (NOT_YET_VALID, Severity::Error),
            (Self::Certificate, State::EndsSoon) => (ENDS_SOON, Severity::Warning),
            (Self::List, State::Expired | State::Early) => (LIST_OUT_OF_DATE, Severity::Error),
            (Self::List, State::EndsSoon) => (LIST_ENDS_SOON, Severity::Warning),
            (Self::Staple, State::Expired | State::Early) => (STAPLE_OUT_OF_DATE, Severity::Warning),
            (Self::Staple, State::EndsSoon) => (STAPLE_ENDS_SOON, Severity::Warning),
        }
    }
}

/// A certificate that is presented, and its OCSP response.
fn presented(identity: &Identity, origin: &Origin, found: &mut Vec<Valid>) {
    let valid =
        |what, begin, end| Valid { what, origin: origin.clone(), source: Arc::clone(&identity.source), begin, end };
    let read = |der: &ir::Der| Certificate::parse(&der.0).ok().map(|read| (read.not_before, read.not_after));
    let all: Vec<(i64, i64)> = identity.chain.iter().filter_map(read).collect();
    let (begin, end) = (all.iter().map(|(begin, _)| *begin).max(), all.iter().map(|(_, end)| *end).min());
    found.extend(begin.zip(end).map(|(begin, end)| valid(What::Certificate, begin, end)));
    found.extend(identity.staple.iter().map(|one| valid(What::Staple, one.this_update, one.next_update)));
}

/// The lists of revoked certificates that count: the first of each issuer.
fn lists(trust: &Trust, origin: &Origin, found: &mut Vec<Valid>) {
    let mut issuers = BTreeSet::new();
    for list in trust.revoked.iter().filter_map(|list| RevocationList::parse(&list.0)) {
        if issuers.insert(list.issuer) {
            let (source, origin) = (name_text(list.issuer).into(), origin.clone());
            found.push(Valid { what: What::List, origin, source, begin: list.this_update, end: list.next_update });
        }
    }
}

fn put<K: Ord + Clone>(map: &mut BTreeMap<K, Vec<Valid>>, id: &K, found: Vec<Valid>) {
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
        (found, one.begin, one.end)
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

    /// They are issued for days or weeks: a warning of 30 days would never end.
    #[test]
    fn lists_and_responses_end_soon_in_the_last_quarter_of_their_time() {
        let origin = Origin {
            kind: ir::ObjectKind::Gateway,
            namespace: "default".into(),
            name: "gw".into(),
            rule: "servers[0]".into(),
        };
        let found = |what: What, days: i64, at: i64| {
            let (origin, source) = (origin.clone(), "it".into());
            let one = Valid { what, origin, source, begin: 0, end: days * DAY };
            one.finding(at, 30 * DAY).map(|found| (found.code, found.severity))
        };
        for (what, soon, over) in [
            (What::List, LIST_ENDS_SOON, (LIST_OUT_OF_DATE, Severity::Error)),
            (What::Staple, STAPLE_ENDS_SOON, (STAPLE_OUT_OF_DATE, Severity::Warning)),
        ] {
            let at = |at: i64| found(what, 8, at);
            assert_eq!((at(-1), at(0), at(6 * DAY - 1)), (Some(over), None, None));
            assert_eq!(
                (at(6 * DAY), at(8 * DAY - 1)),
                (Some((soon, Severity::Warning)), Some((soon, Severity::Warning)))
            );
            assert_eq!(at(8 * DAY), Some(over));
            // Of a long time no more than the warning's counts.
            assert_eq!((found(what, 1000, 969 * DAY), found(what, 1000, 971 * DAY).is_some()), (None, true));
        }
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
