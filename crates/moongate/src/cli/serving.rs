//! Where the configuration is in a cluster, and how it is served: flags of `run` and `demo`.

use super::values::{pair, published, range};
use crate::audit::DecisionLogArgs;
use crate::logging;
use crate::output::Output;
use clap::{Args, ValueEnum};
use dataplane::ReasonHeader;
use sources::Published;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A cluster in place of files.
#[derive(Debug, Clone, Args, Default)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct ClusterArgs {
    /// Read the API server of a cluster in place of files: by the account of the Pod, else by $KUBECONFIG or ~/.kube/config
    #[arg(long, env = "MOONGATE_KUBERNETES", conflicts_with = "paths")]
    pub(crate) kubernetes: bool,
    /// The kubeconfig to use
    #[arg(long, env = "MOONGATE_KUBECONFIG", value_name = "FILE", requires = "kubernetes")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use, in place of its current one
    #[arg(long, env = "MOONGATE_CONTEXT", value_name = "NAME", requires = "kubernetes")]
    pub(crate) context: Option<String>,
    /// A folder that keeps what was read, Secrets among it, so that a start without the API server serves it
    #[arg(long, env = "MOONGATE_STATE", value_name = "FOLDER", requires = "kubernetes")]
    pub(crate) state: Option<PathBuf>,
    /// The folder of the certificates that Gateways and DestinationRules of the gateway's namespace may name by path; without it, none are read
    #[arg(long, env = "MOONGATE_CERTIFICATE_FILES", value_name = "FOLDER", requires = "kubernetes")]
    pub(crate) certificate_files: Option<PathBuf>,
    /// Write what was found about Istio's objects into their statuses; of several replicas the one that holds the Lease does
    #[arg(long, env = "MOONGATE_WRITE_STATUS", requires = "kubernetes")]
    pub(crate) write_status: bool,
    /// Address or name that the status of the gateway's Services gets, where no other controller sets one; may be given again
    #[arg(long, env = "MOONGATE_PUBLISH_ADDRESS", value_delimiter = ',', value_name = "IP|HOST", requires = "kubernetes", value_parser = published)]
    pub(crate) publish_address: Vec<Published>,
}

/// How it is served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServeArgs {
    /// Address of the admin pages
    #[arg(long, env = "MOONGATE_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub(crate) admin: SocketAddr,
    /// Address of the readiness page `/healthz/ready`; `[::]` is every address, IPv4 included
    #[arg(long, env = "MOONGATE_READY", value_name = "ADDR", default_value = "[::]:15021")]
    pub(crate) ready: SocketAddr,
    /// Serve the metrics where Istio's scrapers look, too: `/stats/prometheus` on port 15020, with `/healthz/ready`, and on port 15090.
    /// Any client that reaches these ports can read them [without a value: [::]:15020,[::]:15090]
    #[arg(long, env = "MOONGATE_ISTIO_PORTS", value_name = "ADDR,ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "[::]:15020,[::]:15090")]
    pub(crate) istio_ports: Option<IstioPorts>,
    /// Threads that serve [default: one per core]
    #[arg(long, env = "MOONGATE_WORKERS", value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Where a line for each request goes: a file, `-` for the standard output, or `off` [default: `accessLogFile` of the mesh settings]
    #[arg(long, env = "MOONGATE_ACCESS_LOG", value_name = "FILE|-|off")]
    pub(crate) access_log: Option<String>,
    /// The format of these lines [default: `accessLogFormat` and `accessLogEncoding` of the mesh settings]
    #[arg(long, env = "MOONGATE_ACCESS_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) access_log_format: Option<LogStyle>,
    #[command(flatten)]
    pub(crate) decision_log: DecisionLogArgs,
    /// Whether answers of the gateway's own tell why in `x-moongate-reason`: where the request has that header, or always
    #[arg(long, env = "MOONGATE_REASON_HEADER", value_name = "WHEN", default_value = "off")]
    pub(crate) reason_header: Reasons,
    /// Seconds from SIGTERM, which withdraws readiness, until listeners close; load balancers learn of it meanwhile
    #[arg(long, env = "MOONGATE_DRAIN_DELAY", value_name = "SECONDS", default_value_t = 5)]
    pub(crate) drain_delay: u64,
    /// Seconds that connections get to end once listeners are closed
    #[arg(long, env = "MOONGATE_DRAIN", value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
    /// A bound of the data plane by its name in docs/features.md, such as `idle-timeout=10m`; may be given again
    #[arg(long = "limit", env = "MOONGATE_LIMIT", value_delimiter = ',', value_name = "NAME=VALUE", value_parser = pair::<String, String>)]
    pub(crate) limits: Vec<(String, String)>,
    /// Addresses of proxies and load balancers in front, whose connections no limit of an address applies to; `none` for no address
    /// [default: those of this machine and of private networks; all where the mesh settings have `numTrustedProxies`]
    #[arg(long, env = "MOONGATE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR", value_parser = range)]
    pub(crate) trusted_proxies: Vec<Option<ir::IpRange>>,
    /// Name servers in place of those of the system
    #[arg(long, env = "MOONGATE_NAME_SERVERS", value_delimiter = ',', value_name = "ADDR")]
    pub(crate) name_servers: Vec<SocketAddr>,
    /// Addresses and ranges that keys of token issuers, and tokens for destinations, are not fetched from, or `none` [default: those of this machine, and link-local ones]
    #[arg(long, env = "MOONGATE_JWKS_BLOCKED_RANGES", value_delimiter = ',', value_name = "CIDR", value_parser = range)]
    pub(crate) jwks_blocked_ranges: Vec<Option<ir::IpRange>>,
    /// A Unix socket by which a process takes over from the one before it without losing a connection: it takes the sockets of the one
    /// that is found there, and is found there by the next
    #[arg(long, env = "MOONGATE_TAKEOVER", value_name = "PATH")]
    pub(crate) takeover: Option<PathBuf>,
    /// User, and group if it is not the user's own, to run as once the listeners are bound; then ports below 1024 need the right to bind
    #[arg(long, env = "MOONGATE_USER", value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Level of the process's own log: off, error, warn, info, debug or trace; `TARGET=LEVEL` for parts, separated by commas
    #[arg(long, env = "MOONGATE_LOG", value_name = "LEVEL", default_value = "info", value_parser = logging::level)]
    pub(crate) log: String,
    /// Format of the process's own log
    #[arg(long, env = "MOONGATE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Output,
}

/// Where metrics are served as Istio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IstioPorts {
    /// In place of Istio's agent, port 15020 there.
    pub(crate) agent: SocketAddr,
    /// In place of Envoy, port 15090 there.
    pub(crate) proxy: SocketAddr,
}

impl FromStr for IstioPorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (agent, proxy) = text.split_once(',').ok_or("give two addresses, such as `[::]:15020,[::]:15090`")?;
        let address = |text: &str| text.trim().parse().map_err(|error| format!("`{text}`: {error}"));
        Ok(Self { agent: address(agent)?, proxy: address(proxy)? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogStyle {
    /// Istio's default text
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reasons {
    /// Never
    Off,
    /// Where the request has the header, whatever it says
    Asked,
    /// Always
    Always,
}

impl From<Reasons> for ReasonHeader {
    fn from(reasons: Reasons) -> Self {
        match reasons {
            Reasons::Off => Self::Off,
            Reasons::Asked => Self::OnRequest,
            Reasons::Always => Self::Always,
        }
    }
}
