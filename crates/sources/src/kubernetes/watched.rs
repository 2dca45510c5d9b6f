//! What is watched in a cluster: the one table for the watches and for the roles that they need.

use resources::api::ApiResource;
use resources::key::Kind;

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
    /// What EndpointSlices refer to is kept, where there are subsets.
    Labels,
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
}

/// Types of Secrets that hold nothing a gateway uses, and that there may be many of.
const SECRETS: &str = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1,type!=kubernetes.io/dockerconfigjson,\
                       type!=kubernetes.io/dockercfg,type!=bootstrap.kubernetes.io/token";
/// Pods that have ended give no endpoints.
const PODS: &str = "status.phase!=Succeeded,status.phase!=Failed";

const fn watched(kind: Kind, extent: Extent, stage: Stage, fields: Option<&'static str>) -> Watched {
    Watched { kind, extent, stage, fields }
}

const fn configuration(kind: Kind) -> Watched {
    watched(kind, Extent::Cluster, Stage::Configuration, None)
}

/// Every kind that is watched. Reading is all that is done: `list` and `watch` are the verbs.
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
    watched(Kind::Pod, Extent::Cluster, Stage::Labels, Some(PODS)),
];

impl Watched {
    /// How the kind is named in the API.
    pub fn resource(&self) -> Option<&'static ApiResource> {
        ApiResource::of(self.kind)
    }
}
