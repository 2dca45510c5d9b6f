//! `MeshConfig`, as far as it changes a gateway (MC-01 to MC-05, PC-02). It is no object: it comes from a file of its own.

use super::scalar::{Duration, Text, api_enum};
use serde::{Deserialize, Serialize};

/// Settings of the whole mesh. Fields that are not here are left unread.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// How paths are normalised (MC-02).
    pub path_normalization: PathNormalizationSetting,
    /// Who sees VirtualServices without `exportTo` (VS-03).
    pub default_virtual_service_export_to: Vec<Text>,
    /// Who sees Services and ServiceEntries without `exportTo` (SE-12).
    pub default_service_export_to: Vec<Text>,
    /// Who sees DestinationRules without `exportTo` (DR-03).
    pub default_destination_rule_export_to: Vec<Text>,
    /// `istio-system` when empty.
    pub root_namespace: Text,
    /// `cluster.local` when empty.
    pub trust_domain: Text,
    /// 10 s when absent (DR-20).
    pub connect_timeout: Option<Duration>,
    /// Settings of proxies.
    pub default_config: ProxyConfig,
}

/// Settings of proxies.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// What stands in front of gateways (PC-02).
    pub gateway_topology: GatewayTopology,
}

/// What stands in front of gateways.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTopology {
    /// How many proxies are trusted (S-111).
    pub num_trusted_proxies: u32,
}

/// How paths are normalised.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalizationSetting {
    /// `DEFAULT` when absent.
    pub normalization: Option<Normalization>,
}

api_enum! {
    /// How paths are normalised.
    Normalization {
        Default = 0 "DEFAULT",
        None = 1 "NONE",
        Base = 2 "BASE",
        MergeSlashes = 3 "MERGE_SLASHES",
        DecodeAndMergeSlashes = 4 "DECODE_AND_MERGE_SLASHES",
    }
}
