//! `ServiceEntry` of networking.istio.io (SE-01 to SE-16).

use super::scalar::{Text, api_enum};
use super::text_match::WorkloadSelector;
use super::workload_entry::WorkloadEntry;
use serde::{Deserialize, Serialize};

/// Hosts that are not in the cluster, or not as Services.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceEntry {
    /// The hosts.
    pub hosts: Box<[Text]>,
    /// Virtual addresses; act at sidecars alone (SE-02).
    pub addresses: Box<[Text]>,
    /// The ports.
    pub ports: Box<[ServicePort]>,
    /// Inside or outside of the mesh.
    pub location: Option<Location>,
    /// How endpoints are found.
    pub resolution: Option<Resolution>,
    /// The endpoints.
    pub endpoints: Box<[WorkloadEntry]>,
    /// Namespaces that see it.
    #[serde(alias = "export_to")]
    pub export_to: Box<[Text]>,
    /// Names of the servers' certificates.
    #[serde(alias = "subject_alt_names")]
    pub subject_alt_names: Box<[Text]>,
    /// WorkloadEntries that are its endpoints.
    #[serde(alias = "workload_selector")]
    pub workload_selector: Option<Box<WorkloadSelector>>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServicePort {
    /// 1 to 65535.
    pub number: u32,
    /// HTTP, TLS, TCP, …
    pub protocol: Text,
    /// Unique in its object.
    pub name: Text,
    /// The port of endpoints; the number when 0.
    #[serde(alias = "target_port")]
    pub target_port: u32,
}

api_enum! {
    /// Inside or outside of the mesh.
    Location {
        MeshExternal = 0 "MESH_EXTERNAL",
        MeshInternal = 1 "MESH_INTERNAL",
    }
}

api_enum! {
    /// How endpoints are found.
    Resolution {
        None = 0 "NONE",
        Static = 1 "STATIC",
        Dns = 2 "DNS",
        DnsRoundRobin = 3 "DNS_ROUND_ROBIN",
        DynamicDns = 4 "DYNAMIC_DNS",
    }
}
