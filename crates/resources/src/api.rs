//! How the kinds are named in the API: group, versions, plural, short names. The one table for reading documents, for paths of an API
//! server and the roles that they need, and for `moongate get`.

use crate::key::Kind;

/// A kind as a resource of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiResource {
    /// The kind.
    pub kind: Kind,
    /// The group; empty for the core group.
    pub group: &'static str,
    /// Versions that are read, the preferred one first.
    pub versions: &'static [&'static str],
    /// The name in paths.
    pub plural: &'static str,
    /// The name of one.
    pub singular: &'static str,
    /// Short names.
    pub short: &'static [&'static str],
    /// Whether objects belong to a namespace.
    pub namespaced: bool,
}

/// A group and its versions, the preferred first.
struct Group {
    name: &'static str,
    versions: &'static [&'static str],
}

const CORE: Group = Group { name: "", versions: &["v1"] };
const DISCOVERY: Group = Group { name: "discovery.k8s.io", versions: &["v1", "v1beta1"] };
const NETWORKING: Group = Group { name: "networking.istio.io", versions: &["v1", "v1beta1", "v1alpha3"] };
const SECURITY: Group = Group { name: "security.istio.io", versions: &["v1", "v1beta1"] };

/// Whether objects of the kind belong to no namespace.
pub(crate) const fn is_cluster_wide(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace | Kind::Node)
}

const fn resource(
    kind: Kind,
    group: Group,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
) -> ApiResource {
    let Group { name: group, versions } = group;
    ApiResource { kind, group, versions, plural, singular, short, namespaced: !is_cluster_wide(kind) }
}

/// Every kind that is read.
pub const ALL: &[ApiResource] = &[
    resource(Kind::Gateway, NETWORKING, "gateways", "gateway", &["gw"]),
    resource(Kind::VirtualService, NETWORKING, "virtualservices", "virtualservice", &["vs"]),
    resource(Kind::DestinationRule, NETWORKING, "destinationrules", "destinationrule", &["dr"]),
    resource(Kind::ServiceEntry, NETWORKING, "serviceentries", "serviceentry", &["se"]),
    resource(Kind::WorkloadEntry, NETWORKING, "workloadentries", "workloadentry", &["we"]),
    resource(Kind::RequestAuthentication, SECURITY, "requestauthentications", "requestauthentication", &["ra"]),
    resource(Kind::AuthorizationPolicy, SECURITY, "authorizationpolicies", "authorizationpolicy", &["ap"]),
    resource(Kind::PeerAuthentication, SECURITY, "peerauthentications", "peerauthentication", &["pa"]),
    resource(Kind::Service, CORE, "services", "service", &["svc"]),
    resource(Kind::Endpoints, CORE, "endpoints", "endpoints", &["ep"]),
    resource(Kind::Pod, CORE, "pods", "pod", &["po"]),
    resource(Kind::Node, CORE, "nodes", "node", &["no"]),
    resource(Kind::Secret, CORE, "secrets", "secret", &[]),
    resource(Kind::Namespace, CORE, "namespaces", "namespace", &["ns"]),
    resource(Kind::ConfigMap, CORE, "configmaps", "configmap", &["cm"]),
    resource(Kind::EndpointSlice, DISCOVERY, "endpointslices", "endpointslice", &[]),
];

impl ApiResource {
    /// The resource of a kind.
    pub fn of(kind: Kind) -> Option<&'static Self> {
        ALL.iter().find(|resource| resource.kind == kind)
    }

    /// The resource that an object of this group and kind belongs to.
    pub fn named(group: &str, kind: &str) -> Option<&'static Self> {
        ALL.iter().find(|resource| resource.group == group && resource.kind.as_str() == kind)
    }

    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// `plural.group`, or the plural alone in the core group.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether it is one of Istio's kinds.
    pub fn is_istio(&self) -> bool {
        self.group.ends_with(".istio.io")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_resource_and_names_are_unambiguous() {
        let mut names: Vec<&str> = ALL.iter().flat_map(|one| one.short.iter().copied().chain([one.plural])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let mut kinds: Vec<Kind> = ALL.iter().map(|one| one.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), ALL.len());
        assert_eq!(
            ApiResource::of(Kind::Gateway).map(ApiResource::full_name).as_deref(),
            Some("gateways.networking.istio.io")
        );
    }
}
