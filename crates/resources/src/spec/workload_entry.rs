//! `WorkloadEntry` of networking.istio.io (WE-01), which is also the form of a ServiceEntry's endpoints (SE-10).

use super::pairs::Pairs;
use super::scalar::Text;
use super::text_match::Labels;
use serde::{Deserialize, Serialize};

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadEntry {
    /// An IP address, a name, or `unix://` and a path.
    pub address: Text,
    /// Its ports by the names of the service's.
    pub ports: Pairs<u32>,
    /// Labels.
    pub labels: Labels,
    /// A network, for multi-network meshes.
    pub network: Text,
    /// `region/zone/subzone`.
    pub locality: Text,
    /// Its share; 1 when 0.
    pub weight: u32,
    /// Its identity.
    #[serde(alias = "service_account")]
    pub service_account: Text,
}
