//! The command line: what can be asked, and how it is explained.

mod manifests;
mod serving;
mod values;
mod workload;

pub(crate) use manifests::{AutoscaleMetric, AutoscaleTarget, DRAIN, DRAIN_DELAY, ManifestsArgs};
pub(crate) use serving::{ClusterArgs, IstioPorts, LogStyle, ServeArgs};
pub(crate) use workload::{Role, WorkloadArgs};

use crate::audit::AuditCommand;
use crate::egress::EgressCommand;
use crate::output::Output;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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
    /// The number of the port that the connection is redirected to, where several servers take redirected connections
    #[arg(long, value_name = "PORT", requires = "connected_to")]
    pub(crate) redirected_to: Option<u16>,
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
    /// Only objects with these labels: `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key`, `!key`, separated by commas
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
        assert_eq!(ports(&["--istio-ports"]), two("[::]:15020", "[::]:15090"));
        assert_eq!(ports(&["--istio-ports=127.0.0.1:1,[::1]:2"]), two("127.0.0.1:1", "[::1]:2"));
        assert!(ports(&["--istio-ports=127.0.0.1:1"]).is_err() && ports(&["--istio-ports=15020,15090"]).is_err());
    }
}
