//! `Pod`, as far as endpoints need it: the labels that subsets select are in its metadata, its addresses in its status.

use super::scalar::Text;
use serde::{Deserialize, Serialize};

/// `Pod`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// What was asked for.
    pub spec: PodSpec,
    /// What became of it.
    pub status: PodStatus,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Whether it has the address of its node, which is also that of others.
    pub host_network: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: Text,
    /// Its address.
    #[serde(rename = "podIP")]
    pub pod_ip: Text,
    /// Its addresses, one of each family.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
}

/// An address of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// The address.
    pub ip: Text,
}

impl Pod {
    /// The addresses that are its own: none once it has ended, when others may have them.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let PodStatus { phase, pod_ip, pod_ips } = &self.status;
        let own = !self.spec.host_network && !matches!(&**phase, "Succeeded" | "Failed");
        let several = pod_ips.iter().map(|one| &*one.ip).filter(move |ip| *ip != &**pod_ip);
        std::iter::once(&**pod_ip).chain(several).filter(move |ip| own && !ip.is_empty())
    }
}
