//! Which workload a process is: flags of `run`, `check` and `explain`.

use super::values::{locality, pair};
use clap::{Args, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Which workload this process is.
#[derive(Debug, Clone, Args, Default)]
#[command(next_help_heading = "Workload")]
pub(crate) struct WorkloadArgs {
    /// Which of Istio's gateways this is; with both, each has its own listeners
    #[arg(long = "as", env = "MOONGATE_AS", value_delimiter = ',', default_value = "ingress")]
    pub(crate) roles: Vec<Role>,
    /// Labels that Gateways select, in place of the role's; the gateway of Istio's Helm chart has `istio=ingress`
    #[arg(long, env = "MOONGATE_LABELS", value_delimiter = ',', value_name = "KEY=VALUE", value_parser = pair::<String, String>)]
    pub(crate) labels: Vec<(String, String)>,
    /// Namespace of the workload
    #[arg(long, env = "MOONGATE_NAMESPACE", default_value = "istio-system")]
    pub(crate) namespace: String,
    /// Address for servers without `bind` [default: all addresses]
    #[arg(long, env = "MOONGATE_BIND", value_name = "IP")]
    pub(crate) bind: Option<IpAddr>,
    /// The same for the egress gateway, where it is not that of the ingress
    #[arg(long, env = "MOONGATE_EGRESS_BIND", value_name = "IP")]
    pub(crate) egress_bind: Option<IpAddr>,
    /// Ports to bind in place of others, applied last
    #[arg(long, env = "MOONGATE_PORT_MAP", value_delimiter = ',', value_name = "80=8080", value_parser = pair::<u16, u16>)]
    pub(crate) port_map: Vec<(u16, u16)>,
    /// Mesh settings (Istio's MeshConfig) as YAML, watched [default: `mesh.yaml` of a folder, or the ConfigMap `istio`]
    #[arg(long, env = "MOONGATE_MESH_CONFIG", value_name = "FILE")]
    pub(crate) mesh_config: Option<PathBuf>,
    /// Where this process is, as `region/zone/subzone` or less of it: what `localityLbSetting` goes by
    #[arg(long, env = "MOONGATE_LOCALITY", value_name = "REGION/ZONE/SUBZONE", value_parser = locality)]
    pub(crate) locality: Option<String>,
    /// The Node that this process is on, whose labels tell its locality where `--locality` does not
    #[arg(long, env = "MOONGATE_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Whose PROXY headers are believed where the mesh settings ask for one; connections of others are closed [default: everybody's]
    #[arg(long, env = "MOONGATE_PROXY_PROTOCOL_FROM", value_delimiter = ',', value_name = "CIDR")]
    pub(crate) proxy_protocol_from: Vec<ir::IpRange>,
    /// Serve HTTP/1.0 as well; requests that name no host are for HOST if it is given
    #[arg(long, env = "MOONGATE_HTTP10", value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) http10: Option<String>,
    /// Serve a forward proxy (HTTP_PROXY, HTTPS_PROXY) in clear text at this address; ServiceEntries say what its clients may reach
    #[arg(long, env = "MOONGATE_FORWARD_PROXY", value_name = "ADDR")]
    pub(crate) forward_proxy: Option<SocketAddr>,
    /// Report certificates that end within so many days
    #[arg(long, env = "MOONGATE_CERTIFICATE_WARNING", value_name = "DAYS", default_value_t = 30)]
    pub(crate) certificate_warning: u32,
    /// Address of a Service that has no EndpointSlice, in place of DNS; may be given again
    #[arg(long = "endpoint", env = "MOONGATE_ENDPOINT", value_delimiter = ',', value_name = "HOST=ADDR", value_parser = pair::<String, SocketAddr>)]
    pub(crate) endpoints: Vec<(String, SocketAddr)>,
}

impl WorkloadArgs {
    /// How long before its end a certificate is reported.
    pub(crate) fn certificate_warning(&self) -> Duration {
        const DAY: u64 = 86_400;
        Duration::from_secs(u64::from(self.certificate_warning) * DAY)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// `istio-ingressgateway`, labels `istio: ingressgateway`, `app: istio-ingressgateway`
    Ingress,
    /// `istio-egressgateway`, labels `istio: egressgateway`, `app: istio-egressgateway`
    Egress,
}
