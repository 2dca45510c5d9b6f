//! `moongate demo --egress`: one of the examples of the egress gateway in a folder, local destinations for all names, and a gateway that serves it
//! and shows each decision.

mod examples;

use super::authority::Authority;
use super::files::{Files, folder, objects};
use super::sockets::{Pages, cause};
use super::{decisions, destinations, names};
use crate::cli::{DemoArgs, Role, WorkloadArgs};
use crate::start_up::{quoted, url};
use crate::{output, process, run};
use anyhow::{Context, Result, bail, ensure};
use dataplane::Inherited;
use examples::{EXAMPLES, Example};
use resources::set::ResourceSet;
use resources::spec::service_entry::Resolution;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::task::JoinSet;

/// The port of the destinations in the files of examples, which stands for another one where it is taken.
const DESTINATIONS: u16 = 9443;
/// Names of destinations that no ServiceEntry of an example has: some that are denied, and a Service without endpoints.
const FURTHER: [&str; 3] = ["news.example.com", "example.org", "my-nginx.mesh-external.svc.cluster.local"];
/// Where a port below 1024 is bound.
const ABOVE: u16 = 8000;
/// Where OpenSSL and the gateway look for the authorities that the system trusts.
const TRUST: &str = "SSL_CERT_FILE";

/// Serves an example until the process is asked to end.
pub(super) fn demo(args: &DemoArgs) -> Result<()> {
    if args.example == "list" {
        return output::print(&list());
    }
    let example = example(&args.example)?;
    let Some(state) = &args.state else { return Err(start_trusting()) };
    let config = args.dir.clone().unwrap_or_else(|| state.join("config"));
    let config = folder(Some(&config))?;
    let runtime = process::control_runtime()?;
    let mut tasks = JoinSet::new();
    let inside = runtime.enter();
    let authority = Authority::open(state)?;
    let (destinations, mut notes) = bind(DESTINATIONS)?;
    let files = write(example, &config, &authority, destinations.local_addr()?.port())?;
    let destinations = destinations::start(&mut tasks, destinations, authority)?;
    let objects = objects(&config)?;
    let mut serve = args.serve.clone();
    serve.name_servers = vec![names::start(&mut tasks)?];
    drop(inside);
    let servers = Servers::bind(&objects, args.port)?;
    let Pages { mut bound, notes: of_pages } = Pages::bind(&mut serve)?;
    notes.extend(servers.notes.iter().chain(&of_pages).cloned());
    let workload = WorkloadArgs {
        roles: vec![Role::Egress],
        namespace: "istio-system".to_owned(),
        bind: Some(Ipv4Addr::LOCALHOST.into()),
        port_map: servers.ports.iter().map(|(port, address)| (*port, address.port())).collect(),
        endpoints: hosts(&objects).into_iter().map(|host| (host, destinations)).collect(),
        ..WorkloadArgs::default()
    };
    let log = serve.decision_log.or_file(&state.join("decisions.log"));
    bound.extend(servers.sockets);
    let bound = Inherited::new(bound).context("the sockets of the gateway cannot be used")?;
    let welcome = Welcome {
        example,
        certificate: state.join("ca.crt"),
        config: config.clone(),
        files,
        notes,
        ports: servers.ports,
        proxy: servers.proxy,
        log: log.clone(),
        admin: serve.admin,
    };
    let given = run::Given { access_log: None, bound };
    run::serve(run::Origin::Files(vec![config]), &workload, &serve, given, move |_| {
        output::print(&welcome.text())?;
        decisions::follow(&log).with_context(|| format!("cannot read {}", log.display()))?;
        if let Some(proxy) = welcome.proxy {
            std::thread::Builder::new().name("questions".to_owned()).spawn(move || ask(proxy, welcome.example))?;
        }
        Ok(())
    })
}

/// Makes the authority and starts the program anew, so that its gateway trusts the authority as it trusts those of the system; returns only where
/// that fails.
fn start_trusting() -> anyhow::Error {
    let started = || -> Result<std::io::Error> {
        let state = folder(None)?;
        let authority = Authority::make(&state)?;
        let mut program = Command::new(std::env::current_exe().context("the program does not know its own file")?);
        program.args(std::env::args_os().skip(1)).arg("--state").arg(&state).env(TRUST, &authority.file);
        Ok(program.env_remove("SSL_CERT_DIR").exec())
    };
    match started() {
        Ok(error) => anyhow::Error::new(error).context("the demo cannot start itself with its authority"),
        Err(error) => error,
    }
}

fn example(name: &str) -> Result<&'static Example> {
    match EXAMPLES.iter().find(|example| example.name == name) {
        Some(example) => Ok(example),
        None => bail!("there is no example `{name}`. The examples are:\n{}", list()),
    }
}

fn list() -> String {
    EXAMPLES.iter().fold(String::new(), |mut out, example| {
        let _ = writeln!(out, "  {:<28} {}", example.name, example.title());
        out
    })
}

/// Writes the files that do not exist, and the certificates that they name.
fn write(example: &Example, config: &Path, authority: &Authority, destinations: u16) -> Result<Files> {
    authority.write_certificates(config)?;
    let mut files = Files::default();
    for (name, text) in example.files {
        let is_there = config.join(name).symlink_metadata().is_ok();
        let text = text.replace(&format!("targetPort: {DESTINATIONS}"), &format!("targetPort: {destinations}"));
        files.put(config, name, is_there, || Ok(text))?;
    }
    Ok(files)
}

/// Names whose ServiceEntries leave it to DNS where they are, and further ones.
fn hosts(objects: &ResourceSet) -> Vec<String> {
    let entries = objects.service_entries.values();
    let of_dns = entries.filter(|entry| {
        let by_name = matches!(entry.spec.resolution, Some(Resolution::Dns | Resolution::DnsRoundRobin));
        by_name && entry.spec.endpoints.is_empty()
    });
    let named = of_dns.flat_map(|entry| entry.spec.hosts.iter()).map(ToString::to_string);
    named.chain(FURTHER.map(str::to_owned)).collect()
}

/// The sockets of the servers of all Gateways.
struct Servers {
    sockets: Vec<TcpListener>,
    /// By the port in the Gateway.
    ports: BTreeMap<u16, SocketAddr>,
    /// The forward proxy in clear text, if there is one.
    proxy: Option<SocketAddr>,
    notes: Vec<String>,
}

impl Servers {
    /// Binds the ports of the Gateways, or others in their place. `first` is the port for the first server.
    fn bind(objects: &ResourceSet, first: Option<u16>) -> Result<Self> {
        let mut found = Self { sockets: Vec::new(), ports: BTreeMap::new(), proxy: None, notes: Vec::new() };
        let mut first = first;
        for server in objects.gateways.values().flat_map(|gateway| gateway.spec.servers.iter()) {
            let Some(port) = &server.port else { continue };
            let Ok(number) = u16::try_from(port.number) else { continue };
            if !found.ports.contains_key(&number) {
                let socket = match first.take() {
                    Some(asked) => TcpListener::bind((Ipv4Addr::LOCALHOST, asked)).map_err(|error| {
                        anyhow::anyhow!("{}; choose another port with --port", cause(&format!("port {asked}"), &error))
                    })?,
                    None => {
                        let (socket, notes) = bind(if number < 1024 { number + ABOVE } else { number })?;
                        found.notes.extend(notes);
                        socket
                    }
                };
                found.ports.insert(number, socket.local_addr()?);
                found.sockets.push(socket);
            }
            if found.proxy.is_none() && server.tls.is_none() && &*port.protocol == "HTTP_PROXY" {
                found.proxy = found.ports.get(&number).copied();
            }
        }
        ensure!(!found.ports.is_empty(), "the folder has no Gateway with a server");
        Ok(found)
    }
}

/// A socket at this port or another one, with a note of it.
fn bind(port: u16) -> Result<(TcpListener, Vec<String>)> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let Err(error) = bound else { return Ok((bound?, Vec::new())) };
    let why = cause(&format!("port {port}"), &error);
    let socket =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).with_context(|| format!("{why}, and no other one can be"))?;
    let note = format!("{why}, {} in its place", socket.local_addr()?.port());
    Ok((socket, vec![note]))
}

/// Asks the proxy for what the example's first requests ask for, so that their decisions are seen at once.
fn ask(proxy: SocketAddr, example: &Example) {
    for url in example.asked {
        let host = url.split('/').nth(2).unwrap_or_default();
        let sent = TcpStream::connect(proxy).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
            // The decision is logged when the answer has ended.
            stream.read_to_end(&mut Vec::new())
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "the demo cannot ask its own proxy for {url}");
        }
    }
}

/// What is printed once the first configuration serves.
#[derive(Debug)]
struct Welcome {
    example: &'static Example,
    certificate: PathBuf,
    config: PathBuf,
    files: Files,
    notes: Vec<String>,
    ports: BTreeMap<u16, SocketAddr>,
    proxy: Option<SocketAddr>,
    log: PathBuf,
    admin: SocketAddr,
}

impl Welcome {
    /// The variables that the commands of an example use.
    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        if let Some(proxy) = self.proxy {
            variables.push(("http_proxy".to_owned(), format!("http://{proxy}")));
            variables.push(("https_proxy".to_owned(), format!("http://{proxy}")));
        }
        variables.push(("CURL_CA_BUNDLE".to_owned(), quoted(&self.certificate)));
        variables.push(("DEMO".to_owned(), quoted(&self.config)));
        variables.push(("DECISIONS".to_owned(), quoted(&self.log)));
        variables.extend(self.ports.iter().map(|(port, address)| (format!("GATEWAY_{port}"), address.to_string())));
        variables
    }

    /// The text, colours included.
    fn text(&self) -> String {
        let bold = anstyle::Style::new().bold();
        let mut out = match self.proxy {
            Some(proxy) => format!("\n{bold}Moongate is a forward proxy on {proxy}.{bold:#}\n"),
            None => format!("\n{bold}Moongate is an egress gateway.{bold:#}\n"),
        };
        let _ = writeln!(out, "{}: {}\n", self.example.name, self.example.title());
        for note in &self.notes {
            let _ = writeln!(out, "  {note}");
        }
        out.push_str("Try it in another terminal:\n  export");
        for (name, value) in self.variables() {
            let _ = write!(out, " {name}={value}");
        }
        out.push('\n');
        for command in self.example.commands() {
            let _ = writeln!(out, "  {command}");
        }
        let _ = writeln!(out, "\nThe configuration is in {}", self.config.display());
        if !self.files.kept.is_empty() {
            let _ = writeln!(out, "  kept as before: {} (a deleted file is written anew)", self.files.kept.join(", "));
        }
        let _ = write!(
            out,
            "\
Edit it there: changes take effect at once, and errors are reported here. All names lead to local destinations.

Admin pages: {}
Ctrl-C ends the demo. Decisions, as they are logged in {}:

",
            url(self.admin, "/"),
            self.log.display(),
        );
        out
    }
}
