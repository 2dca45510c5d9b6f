//! What `manifests` prints: its flags.

use super::values::published;
use super::workload::Role;
use clap::Args;
use sources::Published;
use std::num::NonZeroU32;
use std::str::FromStr;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  moongate manifests --image registry.example.com/moongate:1 | kubectl apply -f -
  moongate manifests --as ingress,egress -n gateways")]
pub(crate) struct ManifestsArgs {
    /// The gateways to run
    #[arg(long = "as", value_delimiter = ',', default_value = "ingress")]
    pub(crate) roles: Vec<Role>,
    /// The namespace to run them in
    #[arg(long, short, default_value = "istio-system")]
    pub(crate) namespace: String,
    /// Address or name to publish as that of the Service, for clusters in which no other controller does; may be given again
    #[arg(long, value_delimiter = ',', value_name = "IP|HOST", value_parser = published)]
    pub(crate) publish_address: Vec<Published>,
    /// What the autoscaler aims at for each Pod: `cpu=PERCENT` of the CPU that the Pods request, `requests=N` in a second, `connections=N` that are open;
    /// with several of them the one that asks for most replicas decides
    #[arg(long, value_delimiter = ',', value_name = "METRIC=N", default_value = "cpu=80")]
    pub(crate) autoscale: Vec<AutoscaleTarget>,
    /// The templates of the Helm chart in `deploy/helm`
    #[arg(long, hide = true)]
    pub(crate) chart: bool,
    /// The image of the container
    #[arg(long, value_name = "IMAGE", default_value = concat!("moongate:", env!("CARGO_PKG_VERSION")))]
    pub(crate) image: String,
}

/// What the autoscaler of a gateway looks at, and how much of it a Pod is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AutoscaleTarget {
    /// The metric.
    pub(crate) metric: AutoscaleMetric,
    /// Percent, or a number for each Pod.
    pub(crate) value: NonZeroU32,
}

/// A metric that is known to follow the load of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutoscaleMetric {
    /// The share of the requested CPU that is used.
    Cpu,
    /// Requests in a second.
    Requests,
    /// Open connections of clients.
    Connections,
}

impl FromStr for AutoscaleTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (metric, value) = text.split_once('=').ok_or("give a metric and a number, such as `cpu=80`")?;
        let metric = match metric {
            "cpu" => AutoscaleMetric::Cpu,
            "requests" => AutoscaleMetric::Requests,
            "connections" => AutoscaleMetric::Connections,
            other => return Err(format!("`{other}` is not a metric; there are cpu, requests and connections")),
        };
        let value = value.parse().map_err(|error| format!("`{value}`: {error}"))?;
        Ok(Self { metric, value })
    }
}
