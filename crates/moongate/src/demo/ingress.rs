//! Istio's example of the ingress gateway in a folder, two small backends, and a gateway that serves it all.
//!
//! Files that exist in the folder are kept with all edits: their backends then listen where these files have them.

use super::files::{Files, folder, objects};
use super::sockets::{Pages, cause};
use crate::admin::READINESS;
use crate::cli::{DemoArgs, Role, WorkloadArgs};
use crate::start_up::{quoted, url};
use crate::{echo, output, process, run};
use anyhow::{Context, Result, bail};
use dataplane::Inherited;
use resources::key::Key;
use resources::set::ResourceSet;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use tokio::task::JoinSet;

/// The hosts of the example, each with a backend and a file of its name.
const HOSTS: [&str; 2] = ["dev", "test"];

const GATEWAY: &str = "\
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata:
  name: my-gateway
  namespace: default
spec:
  selector:
    istio: ingressgateway
  servers:
  - port:
      number: 80
      name: http
      protocol: HTTP
    hosts:
    - dev.example.com
    - test.example.com
";

/// Ports to try when 80 cannot be bound.
const OTHERS: std::ops::Range<u16> = 8080..8180;

/// Serves the example until the process is asked to end.
pub(super) fn demo(args: &DemoArgs) -> Result<()> {
    let port = port(args.port)?;
    let folder = folder(args.dir.as_deref())?;
    let runtime = process::control_runtime()?;
    let mut backends = JoinSet::new();
    let files = {
        let _inside = runtime.enter();
        Files::prepare(&folder, &mut backends)?
    };
    let mut serve = args.serve.clone();
    let Pages { bound, notes } = Pages::bind(&mut serve)?;
    let bound = Inherited::new(bound).context("the sockets for operators cannot be used")?;
    let workload = WorkloadArgs {
        roles: vec![Role::Ingress],
        namespace: "istio-system".to_owned(),
        port_map: vec![(80, port.number)],
        ..WorkloadArgs::default()
    };
    let welcome = Welcome { folder: folder.clone(), port, files, notes, admin: serve.admin, ready: serve.ready };
    let given = run::Given { access_log: Some("-"), bound };
    run::serve(run::Origin::Files(vec![folder]), &workload, &serve, given, move |open| {
        output::print(&welcome.text(open))
    })
}

impl Files {
    /// Writes the files that do not exist and starts the backends, on the present runtime.
    fn prepare(folder: &Path, backends: &mut JoinSet<()>) -> Result<Self> {
        let objects = objects(folder)?;
        let is_there = |name: &str| folder.join(name).symlink_metadata().is_ok();
        let file_of = |host: &str| format!("{host}.yaml");
        // Backends whose ports are given come first, so that no other gets one of these ports.
        for host in HOSTS {
            if let Some((file, address)) = backend(&objects, host) {
                start_kept(backends, host, &file, address)?;
            }
        }
        let mut files = Self::default();
        files.put(folder, "gateway.yaml", is_there("gateway.yaml"), || Ok(GATEWAY.to_owned()))?;
        for name in HOSTS {
            let file = file_of(name);
            files.put(folder, &file, is_there(&file), || {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .with_context(|| format!("the backend `{name}` cannot listen on {}", Ipv4Addr::LOCALHOST))?;
                Ok(host(name, echo::start(backends, listener, name)?.port()))
            })?;
        }
        Ok(files)
    }
}

/// Where the configuration expects the backend of a host, and the file that says so. `None` where it expects none on this machine.
fn backend(objects: &ResourceSet, host: &str) -> Option<(PathBuf, SocketAddr)> {
    let key = Key::new("default", format!("{host}-1"));
    let slice = objects.endpoint_slices.get(&key)?;
    let ip: IpAddr = slice.spec.endpoints.first()?.addresses.first()?.parse().ok()?;
    let port = slice.spec.ports.first()?.port.filter(|port| *port != 0)?;
    let file = slice.source.as_ref()?.file.to_path_buf();
    ip.is_loopback().then_some((file, SocketAddr::new(ip, port)))
}

/// Starts the backend of a host where a kept file has it. Where it cannot listen there, the demo goes on without it.
fn start_kept(backends: &mut JoinSet<()>, host: &str, file: &Path, address: SocketAddr) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(listener) => echo::start(backends, listener, host).map(|_| ()),
        Err(error) => {
            tracing::warn!("{}", not_started(host, file, address, &error));
            Ok(())
        }
    }
}

fn not_started(host: &str, file: &Path, address: SocketAddr, error: &io::Error) -> String {
    format!(
        "{}: the backend `{host}` of the demo is not started: {}. Free the port and start the demo again, write another port into this \
         file, or delete the file to have it written anew at the next start",
        file.display(),
        cause(&format!("port {} of {}", address.port(), address.ip()), error)
    )
}

/// A host's VirtualService, its Service, and where that one's backend is.
fn host(name: &str, port: u16) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: {name}
  namespace: default
spec:
  hosts:
  - {name}.example.com
  gateways:
  - my-gateway
  http:
  - route:
    - destination:
        host: {name}
        port:
          number: 8000
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
spec:
  ports:
  - name: http
    port: 8000
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: default
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
- name: http
  port: {port}
endpoints:
- addresses:
  - 127.0.0.1
"
    )
}

/// The port to serve on.
#[derive(Debug)]
struct Port {
    number: u16,
    /// Why it is not port 80, if no other port is configured.
    note: Option<String>,
}

/// The port that is asked for, or 80, or one that is free.
fn port(asked: Option<u16>) -> Result<Port> {
    if let Some(number) = asked {
        return match can_bind(number) {
            Ok(()) => Ok(Port { number, note: None }),
            Err(error) => bail!("{}; choose another port with --port", cause(&format!("port {number}"), &error)),
        };
    }
    let Err(error) = can_bind(80) else { return Ok(Port { number: 80, note: None }) };
    match OTHERS.into_iter().find(|port| can_bind(*port).is_ok()) {
        Some(number) => Ok(Port { number, note: Some(instead_of_80(&error, number)) }),
        None => bail!("{}, and no port from 8080 to 8179 is free; choose a port with --port", cause("port 80", &error)),
    }
}

fn instead_of_80(error: &io::Error, number: u16) -> String {
    format!("{}, serving on {number}", cause("port 80", error))
}

/// Whether a listener can have this port of all addresses.
fn can_bind(port: u16) -> io::Result<()> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => return Err(error),
        // Also on a system without IPv6.
        _ => {}
    }
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop)
}

/// What is printed once the first configuration serves.
#[derive(Debug)]
struct Welcome {
    folder: PathBuf,
    port: Port,
    files: Files,
    /// Which other ports were replaced.
    notes: Vec<String>,
    admin: SocketAddr,
    ready: SocketAddr,
}

impl Welcome {
    /// The text, colours included. `open`: the addresses that are listened on.
    fn text(&self, open: &[SocketAddr]) -> String {
        let bold = anstyle::Style::new().bold();
        let port = self.port.number;
        let has_port = open.iter().any(|address| address.port() == port);
        let addresses = || open.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let headline = match open {
            [] => "No listener serves: the configuration has no Gateway.".to_owned(),
            _ if has_port => format!("Moongate serves Istio's example on port {port}."),
            // The Gateway has another port since it was edited.
            _ => format!("Moongate serves the configuration on {}.", addresses()),
        };
        let mut out = format!("\n{bold}{headline}{bold:#}\n");
        for note in self.port.note.iter().filter(|_| has_port).chain(&self.notes) {
            let _ = writeln!(out, "  {note}");
        }
        if has_port {
            let url = if port == 80 { "http://localhost/".to_owned() } else { format!("http://localhost:{port}/") };
            let _ = write!(
                out,
                "
Try it in another terminal:
  curl -H 'Host: dev.example.com' {url}
  curl -H 'Host: test.example.com' {url}
  curl -i -H 'Host: other.example.com' {url}     # 404: no such host
"
            );
        }
        let folder = quoted(&self.folder);
        let _ = writeln!(out, "\nThe configuration is in {}", self.folder.display());
        if !self.files.kept.is_empty() {
            if !self.files.written.is_empty() {
                let _ = writeln!(out, "  written: {}", self.files.written.join(", "));
            }
            let _ = writeln!(out, "  kept as before: {} (a deleted file is written anew)", self.files.kept.join(", "));
        }
        let _ = write!(
            out,
            "\
Edit it there: changes take effect at once, and errors are reported here. To see more:
  moongate check {folder}
  moongate explain http://dev.example.com/ {folder}

Admin pages: {}
Readiness:   {}
Ctrl-C ends the demo.

",
            url(self.admin, "/"),
            url(self.ready, READINESS),
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_replaces_80_is_said() {
        let note = |kind: ErrorKind| instead_of_80(&kind.into(), 8080);
        assert_eq!(note(ErrorKind::AddrInUse), "port 80 is already in use, serving on 8080");
        assert_eq!(
            note(ErrorKind::PermissionDenied),
            "port 80 cannot be bound by this user (permission denied), serving on 8080"
        );
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let welcome = Welcome {
            folder: PathBuf::from("a folder"),
            port: Port { number: 8080, note: Some(note(ErrorKind::AddrInUse)) },
            files: Files::default(),
            notes: vec!["another note".to_owned()],
            admin: address("127.0.0.1:15000"),
            ready: address("0.0.0.0:15021"),
        };
        let text = welcome.text(&[address("[::]:8080")]);
        assert!(
            text.contains("on port 8080.") && text.contains("  port 80 is already in use, serving on 8080\n"),
            "{text}"
        );
        assert!(text.contains("http://localhost:8080/") && text.contains("moongate check 'a folder'\n"), "{text}");
        // The port does not matter to a Gateway that has another.
        let text = welcome.text(&[address("[::]:81")]);
        assert!(!text.contains("8080") && text.contains("  another note\n"), "{text}");
        assert!(welcome.text(&[]).contains("No listener serves"));
    }

    #[test]
    fn backends_are_started_on_this_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dev.yaml");
        let of = |text: &str| {
            std::fs::write(&file, text).unwrap();
            backend(&objects(folder.path()).unwrap(), "dev").map(|(_, address)| address.to_string())
        };
        let text = host("dev", 4000);
        assert_eq!(of(&text).as_deref(), Some("127.0.0.1:4000"));
        assert_eq!(of(&text.replace("127.0.0.1", "10.0.0.1")), None);
        assert_eq!(of(&text.replace("port: 4000", "port: 0")), None);
        assert_eq!(of("not a document of the demo"), None);
    }
}
