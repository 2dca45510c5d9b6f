//! `moongate demo`: Istio's example in a folder, two small backends, and a gateway that serves it all.

use crate::cli::{DemoArgs, Role, WorkloadArgs};
use crate::{echo, logging, output, process, run};
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

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

/// Ports to try when 80 is not to be had.
const OTHERS: std::ops::Range<u16> = 8080..8180;

/// Serves the example until the process is asked to end.
pub(crate) fn demo(args: &DemoArgs) -> Result<()> {
    logging::start(if args.serve.log == "info" { "warn" } else { &args.serve.log }, args.serve.log_format)?;
    let runtime = process::control_runtime()?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (dev, test) =
        runtime.block_on(async { anyhow::Ok((echo::start(any, "dev").await?, echo::start(any, "test").await?)) })?;
    let folder = folder(args.dir.as_deref())?;
    write(&folder, dev.port(), test.port())?;
    let port = port(args.port)?;
    let mut serve = args.serve.clone();
    // The demo is to run beside whatever else does: its pages go elsewhere when their ports are taken.
    serve.admin = free_or_any(serve.admin);
    serve.ready = free_or_any(serve.ready);
    let workload = WorkloadArgs {
        roles: vec![Role::Ingress],
        namespace: "istio-system".to_owned(),
        port_map: vec![(80, port)],
        ..WorkloadArgs::default()
    };
    let welcome = welcome(&folder, port, &serve.admin);
    run::serve(&[folder], &workload, &serve, "-", move |_| output::print(&format!("{welcome}\n")))
}

fn folder(given: Option<&Path>) -> Result<PathBuf> {
    let folder = given
        .map_or_else(|| std::env::temp_dir().join(format!("moongate-demo-{}", std::process::id())), Path::to_owned);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}

fn write(folder: &Path, dev: u16, test: u16) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    put("gateway.yaml", GATEWAY)?;
    put("dev.yaml", &host("dev", dev))?;
    put("test.yaml", &host("test", test))
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

/// The port that is asked for, or 80, or one that is free.
fn port(asked: Option<u16>) -> Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    match asked {
        Some(port) if free(port) => Ok(port),
        Some(port) => bail!("port {port} is not to be had; choose another with --port"),
        None if free(80) => Ok(80),
        None => OTHERS
            .into_iter()
            .find(|port| free(*port))
            .context("no port from 8080 to 8179 is free; choose one with --port"),
    }
}

fn free_or_any(address: SocketAddr) -> SocketAddr {
    if TcpListener::bind(address).is_ok() {
        return address;
    }
    let any = TcpListener::bind((address.ip(), 0)).and_then(|listener| listener.local_addr());
    any.unwrap_or(address)
}

fn welcome(folder: &Path, port: u16, admin: &SocketAddr) -> String {
    let url = if port == 80 { "http://localhost/".to_owned() } else { format!("http://localhost:{port}/") };
    let bold = anstyle::Style::new().bold();
    let why =
        if port == 80 { String::new() } else { "\n  (port 80 is taken, or may not be bound by this user)".to_owned() };
    format!(
        "
{bold}Moongate serves Istio's example on port {port}.{bold:#}{why}

Try it in another terminal:
  curl -H 'Host: dev.example.com' {url}
  curl -H 'Host: test.example.com' {url}
  curl -i -H 'Host: other.example.com' {url}     # 404: no such host

The configuration is in {}
Edit it there: changes show at once. What is wrong is said here, and with lines by
  moongate check {}
  moongate explain http://dev.example.com/ {}

Pages for operators: http://{admin}/            Ctrl-C ends it.
",
        folder.display(),
        folder.display(),
        folder.display(),
    )
}
