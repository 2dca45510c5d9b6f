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

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];
const V1: &[&str] = &["v1"];

/// Whether objects of the kind belong to no namespace.
pub(crate) const fn is_cluster_wide(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace | Kind::Node)
}

const fn resource(
    kind: Kind,
    (group, versions): (&'static str, &'static [&'static str]),
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
) -> ApiResource {
    ApiResource { kind, group, versions, plural, singular, short, namespaced: !is_cluster_wide(kind) }
}

/// Every kind that is read.
pub const ALL: &[ApiResource] = &[
    resource(Kind::Gateway, (NETWORKING, NETWORKING_VERSIONS), "gateways", "gateway", &["gw"]),
    resource(Kind::VirtualService, (NETWORKING, NETWORKING_VERSIONS), "virtualservices", "virtualservice", &["vs"]),
    resource(Kind::DestinationRule, (NETWORKING, NETWORKING_VERSIONS), "destinationrules", "destinationrule", &["dr"]),
    resource(Kind::ServiceEntry, (NETWORKING, NETWORKING_VERSIONS), "serviceentries", "serviceentry", &["se"]),
    resource(Kind::WorkloadEntry, (NETWORKING, NETWORKING_VERSIONS), "workloadentries", "workloadentry", &["we"]),
    resource(
        Kind::RequestAuthentication,
        (SECURITY, SECURITY_VERSIONS),
        "requestauthentications",
        "requestauthentication",
        &["ra"],
    ),
    resource(
        Kind::AuthorizationPolicy,
        (SECURITY, SECURITY_VERSIONS),
        "authorizationpolicies",
        "authorizationpolicy",
        &["ap"],
    ),
    resource(
        Kind::PeerAuthentication,
        (SECURITY, SECURITY_VERSIONS),
        "peerauthentications",
        "peerauthentication",
        &["pa"],
    ),
    resource(Kind::Service, ("", V1), "services", "service", &["svc"]),
    resource(Kind::Endpoints, ("", V1), "endpoints", "endpoints", &["ep"]),
    resource(Kind::Pod, ("", V1), "pods", "pod", &["po"]),
    resource(Kind::Node, ("", V1), "nodes", "node", &["no"]),
    resource(Kind::Secret, ("", V1), "secrets", "secret", &[]),
    resource(Kind::Namespace, ("", V1), "namespaces", "namespace", &["ns"]),
    resource(Kind::ConfigMap, ("", V1), "configmaps", "configmap", &["cm"]),
    resource(Kind::EndpointSlice, ("discovery.k8s.io", &["v1", "v1beta1"]), "endpointslices", "endpointslice", &[]),
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
