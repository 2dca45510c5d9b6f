//! What the compiler is told besides the objects: which workloads this process is, and the mesh's settings. Nothing here is
//! read from an environment or a file; the program fills it in.

use ir::{Http10, IpRange, Locality, WorkloadName};
use resources::spec::mesh_config::MeshConfig;
use resources::spec::text_match::Labels;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Everything a compilation depends on besides the set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The workloads, never merged; where two claim one address, the one that stands first here keeps it.
    pub workloads: Vec<Workload>,
    /// Ports that are bound in place of others; applied last (`--port-map`).
    pub port_map: BTreeMap<u16, u16>,
    /// Settings of the mesh.
    pub mesh: MeshConfig,
    /// The cluster's domain.
    pub domain: Arc<str>,
    /// Addresses of hosts that have no endpoints of their own (`--endpoint host=addr`), by the host's full name. They win
    /// over DNS, never over EndpointSlices.
    pub endpoints: BTreeMap<Arc<str>, Vec<SocketAddr>>,
    /// Whose PROXY headers are believed, where connections begin with one (S-112); none is everybody's (`--proxy-protocol-from`).
    pub proxy_protocol_from: Vec<IpRange>,
    /// Set where HTTP/1.0 is served whatever the mesh says (S-120, `--http10`).
    pub http10: Option<Http10>,
    /// Where a forward proxy listens that no Gateway has (`--forward-proxy`).
    pub forward_proxy: Option<SocketAddr>,
}

/// One gateway workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Its name.
    pub name: WorkloadName,
    /// Its namespace, by which visibility is judged (VS-03, DR-02, SE-12).
    pub namespace: Arc<str>,
    /// Its labels, which Gateways select (S-01).
    pub labels: Labels,
    /// What servers without `bind` are bound to.
    pub bind: IpAddr,
    /// Where it is; endpoints near it are not preferred while that is not known (DR-14).
    pub locality: Option<Locality>,
    /// The name of the Node that it is on, whose labels tell where it is unless `locality` does.
    pub node: Option<Arc<str>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workloads: vec![Workload::ingress()],
            port_map: BTreeMap::new(),
            mesh: MeshConfig::default(),
            domain: "cluster.local".into(),
            endpoints: BTreeMap::new(),
            proxy_protocol_from: Vec::new(),
            http10: None,
            forward_proxy: None,
        }
    }
}

impl Settings {
    /// An entry of the metadata of proxies.
    pub(crate) fn metadata(&self, name: &str) -> Option<&str> {
        self.mesh.default_config.proxy_metadata.get(name).map(|value| &**value)
    }

    /// Whether they are the same but for where the workloads are.
    pub(crate) fn are_alike_elsewhere(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let mut moved = self.clone();
        for (workload, elsewhere) in moved.workloads.iter_mut().zip(&other.workloads) {
            workload.locality.clone_from(&elsewhere.locality);
        }
        moved == *other
    }

    /// The namespace of policies for everybody (DR-02).
    pub(crate) fn root_namespace(&self) -> &str {
        if self.mesh.root_namespace.is_empty() { "istio-system" } else { &self.mesh.root_namespace }
    }
}

impl Workload {
    /// Istio's ingress gateway, in `istio-system`, on every address.
    pub fn ingress() -> Self {
        Self::istio("ingress", "ingressgateway")
    }

    /// Istio's egress gateway, in `istio-system`, on every address.
    pub fn egress() -> Self {
        Self::istio("egress", "egressgateway")
    }

    fn istio(name: &str, label: &str) -> Self {
        let labels = [("app", format!("istio-{label}")), ("istio", label.to_owned())];
        Self {
            name: WorkloadName(name.into()),
            namespace: "istio-system".into(),
            labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            locality: None,
            node: None,
        }
    }
}
