//! What `manifests` prints: its flags.

use super::values::published;
use super::workload::Role;
use clap::builder::RangedI64ValueParser;
use clap::{Args, value_parser};
use sources::Published;
use std::num::NonZeroU32;
use std::str::FromStr;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  moongate manifests --image registry.example.com/moongate:1 | kubectl apply -f -
  moongate manifests --as ingress,egress -n gateways
  moongate manifests --drain 300 -- --limit idle-timeout=10m")]
pub(crate) struct ManifestsArgs {
    /// The gateways to run
    #[arg(long = "as", value_delimiter = ',', default_value = "ingress")]
    pub(crate) roles: Vec<Role>,
    /// The namespace to run them in
    #[arg(long, short, default_value = "istio-system")]
    pub(crate) namespace: String,
    /// Leave out the Namespace
    #[arg(long)]
    pub(crate) without_namespace: bool,
    /// Address or name to publish as that of the Service, for clusters in which no other controller does; may be given again
    #[arg(long, value_delimiter = ',', value_name = "IP|HOST", value_parser = published)]
    pub(crate) publish_address: Vec<Published>,
    /// What the autoscaler aims at for each Pod: `cpu=PERCENT` of the CPU that the Pods request, `requests=N` in a second, `connections=N` that are open;
    /// with several of them the one that asks for most replicas decides
    #[arg(long, value_delimiter = ',', value_name = "METRIC=N", default_value = "cpu=80")]
    pub(crate) autoscale: Vec<AutoscaleTarget>,
    /// Seconds from the SIGTERM of a Pod, which withdraws readiness, until its listeners close; every node and load balancer learns meanwhile that the
    /// Pod is no endpoint any more
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN_DELAY, value_parser = seconds())]
    pub(crate) drain_delay: u32,
    /// Seconds that connections get to end once the listeners of a Pod are closed
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN, value_parser = seconds())]
    pub(crate) drain: u32,
    /// More arguments for `moongate run`, after `--`
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) run: Vec<String>,
    /// The templates of the Helm chart in `deploy/helm`
    #[arg(long, hide = true)]
    pub(crate) chart: bool,
    /// The image of the container
    #[arg(long, value_name = "IMAGE", default_value = concat!("moongate:", env!("CARGO_PKG_VERSION")))]
    pub(crate) image: String,
}

/// What removes an endpoint takes some seconds in a cluster with much to do, more than what `run` has without a flag.
pub(crate) const DRAIN_DELAY: u32 = 15;
/// As `run` has it.
pub(crate) const DRAIN: u32 = 30;

/// At most a day each: their sum is the time that the kubelet waits.
fn seconds() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(..=86_400)
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
