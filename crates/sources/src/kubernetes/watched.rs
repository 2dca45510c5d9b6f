//! What is watched and written in a cluster: the one table for the watches and for the roles that are needed.

use super::page::Part;
use super::references::Reference;
use resources::api::ApiResource;
use resources::key::Kind;
use std::collections::BTreeMap;

/// Where objects of a kind are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// In all namespaces.
    Cluster,
    /// In the namespace of the gateway.
    OwnNamespace,
}

/// When a kind is listed first. What the kinds before refer to is known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Everything is kept.
    Configuration,
    /// What the configuration refers to is kept.
    Referred,
    /// What only some configurations need is known.
    Optional,
}

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The kind.
    pub kind: Kind,
    /// Where.
    pub extent: Extent,
    pub(crate) stage: Stage,
    /// Which objects, by their fields.
    pub(crate) fields: Option<&'static str>,
    /// What of them.
    pub(crate) part: Part,
}

/// Types of Secrets that hold nothing a gateway uses, and that there may be many of.
const SECRETS: &str = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1,type!=kubernetes.io/dockerconfigjson,\
                       type!=kubernetes.io/dockercfg,type!=bootstrap.kubernetes.io/token";
/// Pods that have ended give no endpoints.
const PODS: &str = "status.phase!=Succeeded,status.phase!=Failed";

const fn watched(kind: Kind, extent: Extent, stage: Stage, fields: Option<&'static str>) -> Watched {
    Watched { kind, extent, stage, fields, part: Part::Whole }
}

const fn configuration(kind: Kind) -> Watched {
    watched(kind, Extent::Cluster, Stage::Configuration, None)
}

/// Every kind that is watched.
pub const WATCHED: &[Watched] = &[
    configuration(Kind::Gateway),
    configuration(Kind::VirtualService),
    configuration(Kind::DestinationRule),
    configuration(Kind::ServiceEntry),
    configuration(Kind::WorkloadEntry),
    configuration(Kind::RequestAuthentication),
    configuration(Kind::AuthorizationPolicy),
    configuration(Kind::PeerAuthentication),
    configuration(Kind::Service),
    configuration(Kind::Namespace),
    watched(Kind::ConfigMap, Extent::OwnNamespace, Stage::Configuration, None),
    watched(Kind::Secret, Extent::OwnNamespace, Stage::Referred, Some(SECRETS)),
    watched(Kind::EndpointSlice, Extent::Cluster, Stage::Referred, None),
    watched(Kind::Pod, Extent::Cluster, Stage::Optional, Some(PODS)),
    // Their statuses are large and change often.
    Watched { part: Part::Metadata, ..watched(Kind::Node, Extent::Cluster, Stage::Optional, None) },
];

impl Watched {
    /// How the kind is named in the API.
    pub fn resource(&self) -> Option<&'static ApiResource> {
        ApiResource::of(self.kind)
    }

    /// What has to be referred to for the kind to be watched at all.
    pub(super) fn condition(&self) -> Option<Reference> {
        match self.kind {
            Kind::Pod => Some(Reference::Pods),
            Kind::Node => Some(Reference::Nodes),
            _ => None,
        }
    }

    /// Whether the configuration is complete without the kind where the right to read it is missing: what it tells is a preference alone.
    pub(super) fn is_dispensable(&self) -> bool {
        self.kind == Kind::Node
    }
}

/// What is written besides, by the replica that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// The statuses of Istio's objects.
    pub statuses: bool,
    /// The address in the status of the gateway's Service.
    pub addresses: bool,
}

/// A rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The group; empty for the core group.
    pub group: &'static str,
    /// Resources and subresources, sorted.
    pub resources: Vec<String>,
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// Whether it is for the object alone that has the gateway's name.
    pub is_for_own_name: bool,
}

/// All rights that a gateway needs there: to list and watch what is watched, and to write what is written.
pub fn rules(extent: Extent, written: Written) -> Vec<Rule> {
    let mut by_group: BTreeMap<&'static str, Vec<&'static ApiResource>> = BTreeMap::new();
    for resource in WATCHED.iter().filter(|watched| watched.extent == extent).filter_map(Watched::resource) {
        by_group.entry(resource.group).or_default().push(resource);
    }
    let rule = |group, mut resources: Vec<String>, verbs, is_for_own_name| {
        resources.sort_unstable();
        Rule { group, resources, verbs, is_for_own_name }
    };
    let mut rules = Vec::new();
    for (group, resources) in &by_group {
        let plurals = resources.iter().map(|one| one.plural.to_owned()).collect();
        rules.push(rule(*group, plurals, &["list", "watch"], false));
    }
    for (group, resources) in by_group.iter().filter(|_| written.statuses) {
        let istio = resources.iter().filter(|one| one.is_istio());
        let statuses: Vec<String> = istio.map(|one| format!("{}/status", one.plural)).collect();
        if !statuses.is_empty() {
            // Read anew before it is written.
            rules.push(rule(*group, statuses, &["get", "patch"], false));
        }
    }
    if extent == Extent::OwnNamespace && written != Written::default() {
        let leases = || vec!["leases".to_owned()];
        // What is created has no name yet.
        rules.push(rule("coordination.k8s.io", leases(), &["create"], false));
        rules.push(rule("coordination.k8s.io", leases(), &["get", "update"], true));
        if written.addresses {
            rules.push(rule("", vec!["services/status".to_owned()], &["patch"], true));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_be_written_that_is_not() {
        let all = |written| [Extent::Cluster, Extent::OwnNamespace].map(|extent| rules(extent, written)).concat();
        let writes = |written| all(written).into_iter().filter(|rule| *rule.verbs != ["list", "watch"]).count();
        let [nothing, statuses, addresses] = [(false, false), (true, false), (false, true)]
            .map(|(statuses, addresses)| writes(Written { statuses, addresses }));
        assert_eq!(
            (nothing, statuses, addresses),
            (0, 4, 3),
            "statuses of two groups, two rules for the Lease, Services"
        );
        let everything = all(Written { statuses: true, addresses: true });
        let secrets: Vec<&Rule> =
            everything.iter().filter(|rule| rule.resources.contains(&"secrets".to_owned())).collect();
        assert_eq!((secrets.len(), secrets[0].verbs), (1, &["list", "watch"][..]));
        assert!(
            !rules(Extent::Cluster, Written::default())
                .iter()
                .any(|rule| rule.resources.contains(&"secrets".to_owned()))
        );
    }
}
