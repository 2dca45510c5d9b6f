//! The command line: what can be asked, and how it is explained.

use crate::audit::{AuditCommand, DecisionLogArgs};
use crate::egress::EgressCommand;
use crate::logging;
use crate::output::Output;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dataplane::ReasonHeader;
use sources::Published;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Istio's ingress and egress gateway as one program.
///
/// Reads Istio's and Kubernetes' YAML from files and folders, serves traffic by it, and tells why.
#[derive(Debug, Parser)]
#[command(version, styles = STYLES, propagate_version = true, after_help = "\
Examples:
  moongate demo                                    a gateway to send requests to, in a minute
  moongate demo --egress                           the same for outgoing traffic
  moongate run ./config                            serve by the YAML of a folder, and watch it
  moongate check ./config                          what is wrong, in which line
  moongate explain http://dev.example.com/ ./config    where a request would go, and why
  moongate get svc -n istio-system                 the running gateway's Service, as kubectl shows it")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve traffic by the configuration in files and folders, which are watched
    Run(Box<RunArgs>),
    /// Report what is wrong or worth knowing, with file and line; fails when there are errors
    #[command(alias = "analyze")]
    Check(CheckArgs),
    /// Tell where a request would go, and why
    Explain(Box<ExplainArgs>),
    /// Check decision logs
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Tell what an egress gateway denied, and what would allow it
    Egress {
        #[command(subcommand)]
        command: EgressCommand,
    },
    /// Show objects in kubectl's manner, of files and folders or of a running gateway
    Get(GetArgs),
    /// Print the objects that run the gateway in a cluster
    Manifests(ManifestsArgs),
    /// Print the definitions of Istio's kinds, for clusters without Istio's
    Crds,
    /// Serve Istio's example with two small backends, or an example of the egress gateway, from a folder to play with
    Demo(Box<DemoArgs>),
    /// A backend that answers with what it received
    Echo(EchoArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What the configuration is read from, and for whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Files and folders with YAML or JSON; `-` is standard input, which, like a pipe, is read once
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
}

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

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Every flag can be set by the environment variable named beside it.

Examples:
  moongate run ./config --port-map 80=8080,443=8443     without the right to bind low ports
  moongate run ./config --access-log -                  requests on the standard output
  moongate run ./config --as ingress,egress --egress-bind 10.0.0.2
  moongate run --kubernetes --state /var/lib/moongate   by the objects of a cluster")]
pub(crate) struct RunArgs {
    /// Files and folders with YAML or JSON; `-` is standard input, which, like a pipe, is read once
    #[arg(required_unless_present = "kubernetes", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

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
    /// Address of the readiness page `/healthz/ready`
    #[arg(long, env = "MOONGATE_READY", value_name = "ADDR", default_value = "0.0.0.0:15021")]
    pub(crate) ready: SocketAddr,
    /// Serve the metrics where Istio's scrapers look, too: `/stats/prometheus` on port 15020, with `/healthz/ready`, and on port 15090.
    /// Any client that reaches these ports can read them [without a value: 0.0.0.0:15020,0.0.0.0:15090]
    #[arg(long, env = "MOONGATE_ISTIO_PORTS", value_name = "ADDR,ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "0.0.0.0:15020,0.0.0.0:15090")]
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
        let (agent, proxy) = text.split_once(',').ok_or("give two addresses, such as `0.0.0.0:15020,0.0.0.0:15090`")?;
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

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit code: 0 without errors, 1 with errors, 2 when the command itself failed.

Examples:
  moongate check ./config
  kubectl get gateways,virtualservices -A -o yaml | moongate check -
  moongate check ./config --output json | jq '.[] | select(.severity == \"error\")'")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How the report looks
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
    /// Leave out what is only good to know
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The URL's port is the number of the server (80 unless given). Time and chance are left out: ids are shown as
placeholders, and of a weighted route all targets are.

Examples:
  moongate explain http://dev.example.com/api?v=1 ./config
  moongate explain POST http://dev.example.com:8080/ -H 'x-user: alice' ./config
  moongate explain -X DELETE http://dev.example.com/ ./config --output json
  moongate explain --as egress --proxy http://proxy:3128 https://api.example.com/ ./config
  moongate explain --as egress --connected-to 198.41.0.4:443 https://api.example.com/ ./config")]
pub(crate) struct ExplainArgs {
    /// The method [default: GET]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// A header line; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// A file with a token, which is sent as `Authorization: Bearer`
    #[arg(long, value_name = "FILE")]
    pub(crate) jwt: Option<PathBuf>,
    /// The name that the client asks for in TLS, in place of the URL's host; empty for none
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// A protocol that the client's TLS offers (ALPN); may be given again
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) alpn: Vec<String>,
    /// The forward proxy that the client uses, as its URL (`http://127.0.0.1:3128`)
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// The address that a client has connected to that does not know of the gateway (`moongate.dev/original-destination`): the URL is what it
    /// says then, `https:` for the server name, `http:` for a request in clear text, `tcp://ANY` for other octets or none
    #[arg(long, value_name = "ADDR", conflicts_with = "proxy")]
    pub(crate) connected_to: Option<SocketAddr>,
    /// The address of the client
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) from: IpAddr,
    /// The name in the client's certificate, such as spiffe://cluster.local/ns/default/sa/app
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// `[METHOD] URL PATH…`: the request, then files and folders with the configuration
    #[arg(required = true, num_args = 1.., value_names = ["[METHOD] URL PATH"])]
    pub(crate) words: Vec<String>,
    /// How the answer looks
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Without -f, a running gateway is asked at its admin address. The Service of the gateway is shown as a cluster would have it, also
where no file has one. Exit code: 0, 1 when something that is named is not there, 2 when the command itself failed.

Examples:
  moongate get svc -n istio-system -f ./config      the gateway's Service with its ports
  moongate get gateways,virtualservices -A          of the running gateway
  moongate get vs reviews -o yaml -f ./config")]
pub(crate) struct GetArgs {
    /// Kinds (`svc`, `gateways`, `gw,vs`, `all`, `istio-io`) and names, or `KIND/NAME`
    #[arg(required = true, value_name = "KIND [NAME]")]
    pub(crate) resources: Vec<String>,
    /// Namespace to look into
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// Look into all namespaces
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
    /// `wide`, `json`, `yaml` or `name` in place of the usual table
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<String>,
    /// Only objects with these labels: `key=value`, `key!=value`, `key`, `!key`, separated by commas
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Leave out the names of the columns
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Show all labels in a last column
    #[arg(long)]
    pub(crate) show_labels: bool,
    /// File or folder with the objects, `-` for the standard input; may be given again [default: ask the running gateway]
    #[arg(long = "filename", short = 'f', value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Address of the admin pages of the running gateway
    #[arg(long, env = "MOONGATE_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub(crate) admin: SocketAddr,
    /// Of which gateways the Services are shown, with -f
    #[arg(long = "as", env = "MOONGATE_AS", value_delimiter = ',', default_value = "ingress")]
    pub(crate) roles: Vec<Role>,
    /// Namespace of these gateways
    #[arg(long, env = "MOONGATE_NAMESPACE", value_name = "NAMESPACE", default_value = "istio-system")]
    pub(crate) workload_namespace: String,
}

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

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  moongate demo                             Istio's example of the ingress gateway
  moongate demo --egress                    a forward proxy with an allow-list
  moongate demo --egress --example list     the patterns of the egress gateway")]
pub(crate) struct DemoArgs {
    /// The folder to write the example to and to watch; files that exist there are kept [default: a new one]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// The port to listen on, with --egress that of the first server [default: 80, or the first free one from 8080 where 80 cannot be bound]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Be an egress gateway, with local destinations in HTTP and HTTPS, and show each decision
    #[arg(long)]
    pub(crate) egress: bool,
    /// The example of the egress gateway to serve: a folder of `examples/egress`, all of which are in the program; `list` lists them
    #[arg(long, value_name = "NAME", requires = "egress", default_value = "allow-list")]
    pub(crate) example: String,
    /// Where the authority of --egress is, and its decision log
    #[arg(long, hide = true, requires = "egress")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EchoArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The name that it gives in its answers
    #[arg(long, default_value = "echo")]
    pub(crate) name: String,
}

/// `region/zone/subzone`, or less of it at the end.
fn locality(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains('*')) {
        return Err(format!("`{text}` is not of the form `region/zone/subzone`"));
    }
    Ok(text.to_owned())
}

/// An address, or a name in DNS.
fn published(text: &str) -> Result<Published, String> {
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..64).contains(&label.len())
            && label.chars().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let published = Published::parse(text);
    match &published {
        Published::Host(host) if host.len() > 253 || !host.split('.').all(is_label) => {
            Err(format!("`{text}` is neither an IP address nor a name in DNS"))
        }
        _ => Ok(published),
    }
}

/// A range of addresses, or `none`.
fn range(text: &str) -> Result<Option<ir::IpRange>, ir::InvalidIpRange> {
    if text == "none" { Ok(None) } else { text.parse().map(Some) }
}

/// `key=value`, both of some type.
fn pair<K, V>(text: &str) -> Result<(K, V), String>
where
    K: std::str::FromStr<Err: std::fmt::Display>,
    V: std::str::FromStr<Err: std::fmt::Display>,
{
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form `key=value`"))?;
    let key = key.trim().parse().map_err(|error| format!("`{key}`: {error}"))?;
    let value = value.trim().parse().map_err(|error| format!("`{value}`: {error}"))?;
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn dr_14_a_locality_has_up_to_three_parts() {
        assert!(["eu", "eu/a", "eu/a/1"].iter().all(|text| locality(text).is_ok()));
        assert!(["", "eu/", "/a", "eu/*", "a/b/c/d"].iter().all(|text| locality(text).is_err()));
    }

    #[test]
    fn an_address_to_publish_is_an_ip_address_or_a_name() {
        assert!(["192.0.2.1", "2001:db8::1", "lb.example.com", "a"].iter().all(|text| published(text).is_ok()));
        assert!(["", "a..b", "-a", "A", "a:80", "http://a", "1.2.3.4/8"].iter().all(|text| published(text).is_err()));
    }

    #[test]
    fn istio_ports_are_istios_own_unless_two_addresses_are_given() {
        let ports = |args: &[&str]| {
            let cli = Cli::try_parse_from(["moongate", "run", "config"].iter().chain(args));
            let Ok(Cli { command: Command::Run(args) }) = cli else { return Err(()) };
            Ok(args.serve.istio_ports.map(|ports| [ports.agent, ports.proxy].map(|one| one.to_string())))
        };
        let two = |agent: &str, proxy: &str| Ok(Some([agent.to_owned(), proxy.to_owned()]));
        assert_eq!(ports(&[]), Ok(None));
        assert_eq!(ports(&["--istio-ports"]), two("0.0.0.0:15020", "0.0.0.0:15090"));
        assert_eq!(ports(&["--istio-ports=127.0.0.1:1,[::1]:2"]), two("127.0.0.1:1", "[::1]:2"));
        assert!(ports(&["--istio-ports=127.0.0.1:1"]).is_err() && ports(&["--istio-ports=15020,15090"]).is_err());
    }

    #[test]
    fn pairs_tell_what_is_wrong() {
        assert_eq!(pair::<u16, u16>("80=8080"), Ok((80, 8080)));
        assert!(pair::<u16, u16>("80").unwrap_err().contains("key=value"));
        assert!(pair::<u16, u16>("80=x").unwrap_err().starts_with("`x`: "));
    }
}
