//! `Pod`. What endpoints need of it is compared: the labels that subsets select are in its metadata, its addresses in its status. The rest
//! is what tables show of it.

use super::scalar::Text;
use crate::shown::Shown;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `Pod`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// What was asked for.
    pub spec: PodSpec,
    /// What became of it.
    pub status: PodStatus,
    /// When it was asked to end.
    #[serde(skip)]
    pub ends: Shown<Option<Timestamp>>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Whether it has the address of its node, which is also that of others.
    pub host_network: bool,
    /// The node that it is on.
    pub node_name: Shown<Text>,
    /// What runs in it.
    pub containers: Shown<Box<[Container]>>,
    /// What runs before, or beside it all along.
    pub init_containers: Shown<Box<[Container]>>,
    /// Conditions without which it is not ready.
    pub readiness_gates: Shown<Box<[ReadinessGate]>>,
}

/// A container that was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: Text,
    /// `Always`: of those that run before, one that runs beside the others.
    pub restart_policy: Text,
}

/// A condition without which a Pod is not ready.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessGate {
    /// Which.
    pub condition_type: Text,
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
    /// Why it is in its phase.
    pub reason: Shown<Text>,
    /// The node that others are to make room on for it.
    pub nominated_node_name: Shown<Text>,
    /// What holds of it.
    pub conditions: Shown<Box<[PodCondition]>>,
    /// What became of its containers.
    pub container_statuses: Shown<Box<[ContainerStatus]>>,
    /// What became of those that run before.
    pub init_container_statuses: Shown<Box<[ContainerStatus]>>,
}

/// An address of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// The address.
    pub ip: Text,
}

/// Something that holds of a Pod or does not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// What.
    #[serde(rename = "type")]
    pub kind: Text,
    /// `True`, `False`, `Unknown`.
    pub status: Text,
    /// Why.
    pub reason: Text,
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name.
    pub name: Text,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it has started.
    pub started: Option<bool>,
    /// How often it was started again.
    pub restart_count: u32,
    /// What it does.
    pub state: ContainerState,
    /// What it did before it was started again.
    pub last_state: ContainerState,
}

/// One of the three is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    /// It runs.
    pub running: Option<Running>,
    /// It waits.
    pub waiting: Option<Box<Waiting>>,
    /// It has ended.
    pub terminated: Option<Box<Terminated>>,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Running {}

/// A container that waits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// What for.
    pub reason: Text,
}

/// A container that has ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// What it said.
    pub exit_code: i32,
    /// The signal that ended it; 0: none.
    pub signal: i32,
    /// Why.
    pub reason: Text,
    /// When.
    pub finished_at: Option<Timestamp>,
}

impl Pod {
    /// The addresses that are its own: none once it has ended, when others may have them.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let PodStatus { phase, pod_ip, pod_ips, .. } = &self.status;
        let own = !self.spec.host_network && !matches!(&**phase, "Succeeded" | "Failed");
        let several = pod_ips.iter().map(|one| &*one.ip).filter(move |ip| *ip != &**pod_ip);
        std::iter::once(&**pod_ip).chain(several).filter(move |ip| own && !ip.is_empty())
    }
}

impl PodSpec {
    pub(crate) fn shows_the_same(&self, other: &Self) -> bool {
        self.node_name.shows(&other.node_name)
            && self.containers.shows(&other.containers)
            && self.init_containers.shows(&other.init_containers)
            && self.readiness_gates.shows(&other.readiness_gates)
    }
}

impl PodStatus {
    pub(crate) fn shows_the_same(&self, other: &Self) -> bool {
        self.reason.shows(&other.reason)
            && self.nominated_node_name.shows(&other.nominated_node_name)
            && self.conditions.shows(&other.conditions)
            && self.container_statuses.shows(&other.container_statuses)
            && self.init_container_statuses.shows(&other.init_container_statuses)
    }
}
