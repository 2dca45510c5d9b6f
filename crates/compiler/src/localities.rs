//! What it matters to a client where endpoints are: which setting holds, and the priority or share that it gives them (DR-13, DR-14).

use crate::context::CompileContext;
use crate::destination_rules::Effective;
use crate::services::Backing;
use crate::settings::{Settings, Workload};
use ir::{EndpointSource, Localities, Locality};
use resources::key::Key;
use resources::set::ResourceSet;
use resources::spec::core::{REGION, SUBZONE, TRAFFIC_DISTRIBUTION, ZONE};
use resources::spec::destination_rule::{Distribute, Failover, LocalityBalancer};
use resources::spec::text_match::Labels;
use std::borrow::Cow;
use std::collections::BTreeMap;

const NETWORK: &str = "topology.istio.io/network";
const NODE: &str = "kubernetes.io/hostname";
/// The label of a Pod that says where it is, whatever its Node says; dots stand for slashes there, which labels cannot have.
const OF_POD: &str = "istio-locality";
/// What `trafficDistribution` comes to (Istio's own lists).
const SAME_ZONE: &[&str] = &[NETWORK, REGION, ZONE, SUBZONE];
const SAME_NODE: &[&str] = &[NETWORK, REGION, ZONE, SUBZONE, NODE];

/// What it matters to a client where endpoints are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalityPolicy<'a> {
    client: &'a Workload,
    rule: Rule<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Rule<'a> {
    /// Nothing.
    Ignored,
    /// Each locality has a share.
    Distribute(&'a Distribute),
    /// The nearest first.
    Failover { labels: Ranks<'a>, regions: Option<&'a [Failover]> },
}

/// Labels by rank.
#[derive(Debug, Clone, Copy)]
enum Ranks<'a> {
    Written(&'a [resources::spec::scalar::Text]),
    Known(&'static [&'static str]),
}

/// What a locality policy compares of an endpoint and of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topology<'a> {
    pub(crate) locality: Option<&'a Locality>,
    pub(crate) labels: &'a Labels,
    /// The name of its node; may be empty.
    pub(crate) node: &'a str,
}

/// The setting that holds for a client: the DestinationRule's, the Service's, the mesh's (DR-13).
pub(crate) fn locality_policy<'a>(
    context: CompileContext<'a>,
    client: &'a Workload,
    backing: Backing<'a>,
    effective: Effective<'a>,
) -> LocalityPolicy<'a> {
    LocalityPolicy { client, rule: rule(context, client, backing, effective) }
}

fn rule<'a>(
    context: CompileContext<'a>,
    client: &Workload,
    backing: Backing<'a>,
    effective: Effective<'a>,
) -> Rule<'a> {
    let own = effective.load_balancer.and_then(|balancer| balancer.locality_lb_setting.as_deref());
    if own.is_none()
        && let Some(ranks) = ranks_of(backing)
    {
        return Rule::Failover { labels: Ranks::Known(ranks), regions: None };
    }
    let setting = own.or(context.settings.mesh.locality_lb_setting.as_deref());
    // Without any, the mesh's default holds, which is on.
    if setting.is_some_and(|setting| setting.enabled == Some(false)) {
        return Rule::Ignored;
    }
    let (distribute, labels, regions) = match setting {
        None => (&[][..], &[][..], &[][..]),
        Some(LocalityBalancer { distribute, failover, failover_priority, .. }) => {
            (&distribute[..], &failover_priority[..], &failover[..])
        }
    };
    if !distribute.is_empty() {
        let own = client.locality.as_ref();
        let from = own.and_then(|own| distribute.iter().find(|distribute| is_in(own, &distribute.from)));
        return from.map_or(Rule::Ignored, Rule::Distribute);
    }
    // Without it nothing is ever found to be unwell, so that all would go to the nearest for ever.
    if effective.outlier_detection.is_none() {
        return Rule::Ignored;
    }
    let regions = (labels.is_empty() || !regions.is_empty()).then_some(regions);
    let regions = regions.filter(|_| client.locality.is_some());
    if labels.is_empty() && regions.is_none() {
        return Rule::Ignored;
    }
    Rule::Failover { labels: Ranks::Written(labels), regions }
}

/// The labels by which the endpoints of a Service or ServiceEntry with `trafficDistribution` are preferred.
fn ranks_of(backing: Backing<'_>) -> Option<&'static [&'static str]> {
    let (written, annotations) = match backing {
        Backing::Service(object) => (&*object.spec.traffic_distribution, &object.meta.annotations),
        Backing::Entry(object) => ("", &object.meta.annotations),
    };
    let written =
        if written.is_empty() { annotations.get(TRAFFIC_DISTRIBUTION).map_or("", |text| &**text) } else { written };
    match written {
        "PreferClose" | "PreferSameZone" => Some(SAME_ZONE),
        "PreferSameNode" => Some(SAME_NODE),
        _ => None,
    }
}

impl LocalityPolicy<'_> {
    /// How near an endpoint is; the lower, the nearer. May have gaps.
    pub(crate) fn priority(&self, topology: Topology<'_>) -> u32 {
        let Rule::Failover { labels, regions } = self.rule else { return 0 };
        let by_labels = match labels {
            Ranks::Written(labels) => self.by_labels(labels.iter().map(|label| &**label), topology),
            Ranks::Known(labels) => self.by_labels(labels.iter().copied(), topology),
        };
        match (regions, self.client.locality.as_ref()) {
            (Some(regions), Some(own)) => by_labels * 5 + by_locality(own, topology.locality, regions),
            _ => by_labels,
        }
    }

    /// The more of the first labels are alike, the nearer.
    fn by_labels<'l>(&self, labels: impl ExactSizeIterator<Item = &'l str>, topology: Topology<'_>) -> u32 {
        let count = labels.len();
        let alike = labels.take_while(|label| self.is_alike(label, topology)).count();
        u32::try_from(count - alike).unwrap_or(u32::MAX)
    }

    /// Whether an endpoint has the value of a label that the client has, or that is written behind the label's name.
    fn is_alike(&self, label: &str, topology: Topology<'_>) -> bool {
        let client = Topology { locality: self.client.locality.as_ref(), labels: &self.client.labels, node: "" };
        let (name, wanted) = match label.split_once('=') {
            Some((name, value)) => (name, value),
            None => (label, client.label(label)),
        };
        match topology.locality {
            Some(locality) if name == REGION => is_in_region(locality, wanted),
            _ => topology.label(name) == wanted,
        }
    }

    /// Where an endpoint of an EndpointSlice or of Endpoints is, empty where that is not known: as its Pod says, else its Node, else the zone
    /// of the slice (DR-13).
    pub(crate) fn of_endpoint(&self, set: &ResourceSet, zone: &str, node: &str, pod: &Labels) -> String {
        if let Some(label) = pod.get(OF_POD).filter(|label| !label.is_empty()) {
            return if label.contains('/') { label.to_string() } else { label.replace('.', "/") };
        }
        match labels_of_node(set, node).and_then(|labels| of_node(labels, zone)) {
            Some(locality) => self.with_region(locality),
            None if zone.is_empty() => String::new(),
            None => self.with_region(format!("/{zone}")),
        }
    }

    /// Where something is of which no region is known, as of an EndpointSlice's zone: in the client's region where its zone tells so.
    fn with_region(&self, locality: String) -> String {
        let known = Locality(locality.into());
        let (own, zone) = (self.client.locality.as_ref(), known.zone());
        let is_own = |own: &&Locality| !zone.is_empty() && (own.zone() == zone || begins_with(zone, own.region()));
        match own.filter(|_| known.region().is_empty()).filter(is_own) {
            Some(own) => format!("{}{}", own.region(), known.0),
            None => known.0.to_string(),
        }
    }

    /// What the cluster's endpoints are chosen by.
    pub(crate) fn localities(&self, endpoints: &EndpointSource) -> Localities {
        match self.rule {
            Rule::Ignored => Localities::Ignored,
            Rule::Failover { .. } => Localities::Failover,
            Rule::Distribute(distribute) => Localities::Distribute(shares(distribute, endpoints).into()),
        }
    }
}

impl<'a> Topology<'a> {
    fn label(&self, name: &str) -> &'a str {
        let part = |part: fn(&'a Locality) -> &'a str| self.locality.map(part).filter(|part| !part.is_empty());
        let known = match name {
            REGION => part(Locality::region),
            ZONE => part(Locality::zone),
            SUBZONE => part(Locality::subzone),
            NODE => Some(self.node).filter(|node| !node.is_empty()),
            _ => None,
        };
        known.or_else(|| self.labels.get(name).map(|value| &**value)).unwrap_or_default()
    }
}

/// Settings whose workloads know where they are, as far as their Nodes tell (DR-14).
pub(crate) fn located<'s>(set: &ResourceSet, settings: &'s Settings) -> Cow<'s, Settings> {
    let mut settings = Cow::Borrowed(settings);
    for at in 0..settings.workloads.len() {
        let Some(workload) = settings.workloads.get(at).filter(|workload| workload.locality.is_none()) else {
            continue;
        };
        let node = workload.node.as_deref().and_then(|node| labels_of_node(set, node));
        let locality = node.and_then(|labels| of_node(labels, "")).map(|locality| Locality(locality.into()));
        if let (Some(_), Some(workload)) = (&locality, settings.to_mut().workloads.get_mut(at)) {
            workload.locality = locality;
        }
    }
    settings
}

fn labels_of_node<'s>(set: &'s ResourceSet, name: &str) -> Option<&'s Labels> {
    if name.is_empty() || set.nodes.is_empty() {
        return None;
    }
    Some(&set.nodes.get(&Key::new("", name))?.meta.labels)
}

/// What the labels of a Node say, with the zone that is known besides; `None`: nothing.
fn of_node(labels: &Labels, zone: &str) -> Option<String> {
    let label = |name: &str| labels.get(name).map_or("", |value| &**value);
    let (region, own_zone, subzone) = (label(REGION), label(ZONE), label(SUBZONE));
    if region.is_empty() && own_zone.is_empty() && subzone.is_empty() {
        return None;
    }
    let zone = if own_zone.is_empty() { zone } else { own_zone };
    Some(format!("{region}/{zone}/{subzone}").trim_end_matches('/').to_owned())
}

/// Whether Nodes with these labels are in the same place.
pub(crate) fn are_alike(one: Option<&Labels>, other: Option<&Labels>) -> bool {
    let label = |labels: Option<&Labels>, name: &str| labels.and_then(|labels| labels.get(name)).cloned();
    [REGION, ZONE, SUBZONE].iter().all(|name| label(one, name) == label(other, name))
}

/// 0 for the same subzone, 1 for the same zone, 2 for the same region, 3 for others, of which those of another region than the one that a
/// region fails over to are 4.
fn by_locality(own: &Locality, other: Option<&Locality>, regions: &[Failover]) -> u32 {
    let Some(other) = other.filter(|other| is_in_region(other, own.region())) else {
        let failover = regions.iter().find(|failover| *failover.from == *own.region());
        let there = |failover: &Failover| other.is_some_and(|other| is_in_region(other, &failover.to));
        return if failover.is_none_or(there) { 3 } else { 4 };
    };
    if own.zone() != other.zone() { 2 } else { u32::from(own.subzone() != other.subzone()) }
}

/// Whether a locality is of a region: as far as is known, where only its zone is.
fn is_in_region(locality: &Locality, region: &str) -> bool {
    locality.region() == region || (locality.region().is_empty() && begins_with(locality.zone(), region))
}

/// Zones are named after their regions by all who have many of them: `us-east-1a`, `europe-west4-b`.
fn begins_with(zone: &str, region: &str) -> bool {
    !region.is_empty() && zone.starts_with(region)
}

/// Whether a locality is one that a rule names: `region/zone/subzone`, or less of it, or `*` for any.
fn is_in(locality: &Locality, pattern: &str) -> bool {
    let mut parts = pattern.splitn(3, '/');
    let region = parts.next().unwrap_or_default();
    let [zone, subzone] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    let is = |part: &str, wanted: &str| matches!(wanted, "*" | "") || part == wanted;
    (region == "*" || is_in_region(locality, region)) && is(locality.zone(), zone) && is(locality.subzone(), subzone)
}

/// The share of each locality that endpoints have. Those that a rule means together divide its share by their weights; those that none
/// means are left out.
fn shares(distribute: &Distribute, endpoints: &EndpointSource) -> Vec<(Option<Locality>, u32)> {
    let mut weights: BTreeMap<Option<&Locality>, u64> = BTreeMap::new();
    let mut add = |locality, weight: u32| *weights.entry(locality).or_default() += u64::from(weight);
    match endpoints {
        EndpointSource::Static(all) => all.iter().for_each(|one| add(one.locality.as_ref(), one.weight)),
        EndpointSource::Dns { names, .. } => names.iter().for_each(|one| add(one.locality.as_ref(), one.weight)),
        EndpointSource::Dynamic(_) | EndpointSource::Never(_) | EndpointSource::Withheld(..) => {}
    }
    let mut shares = Vec::new();
    for (pattern, share) in distribute.to.iter() {
        let is_meant = |locality: &Option<&Locality>| locality.map_or(&**pattern == "*", |one| is_in(one, pattern));
        let meant: Vec<_> = weights.extract_if(.., |locality, _| is_meant(locality)).collect();
        let all: u64 = meant.iter().map(|(_, weight)| weight).sum();
        for (locality, weight) in meant {
            let part = (weight * u64::from(*share)).div_ceil(all.max(1));
            shares.push((locality.cloned(), u32::try_from(part).unwrap_or(u32::MAX)));
        }
    }
    shares.sort();
    shares
}
