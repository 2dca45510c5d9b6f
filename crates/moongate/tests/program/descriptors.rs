//! The program with few descriptors, while clients use all that they may: other clients are still served.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use testkit::client;
use testkit::gateway::{Gateway, Start};
use testkit::wait::{TIMEOUT, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

/// The program, with a limit of descriptors.
fn limited(folder: &Path, descriptors: u32) -> PathBuf {
    let path = folder.join("moongate");
    fs::write(&path, format!("#!/bin/sh\nulimit -n {descriptors} || exit 3\nexec {PROGRAM} \"$@\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A backend that closes each connection after its answer.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            });
        }
    });
    address
}

fn config(backend: SocketAddr, status: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: g, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 80, name: http, protocol: HTTP}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v, namespace: default}}
spec:
  hosts: [a.test]
  gateways: [g]
  http:
  - match: [{{uri: {{prefix: /direct}}}}]
    directResponse: {{status: {status}}}
  - route:
    - destination: {{host: echo.test}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: echo, namespace: default}}
spec:
  hosts: [echo.test]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {}}}}}]
",
        backend.port()
    )
}

fn ask(address: SocketAddr, target: &str) -> u16 {
    client::get(address, "a.test", target).map_or(0, |answer| answer.status)
}

#[test]
fn three_hundred_idle_connections_stop_neither_clients_nor_backends_nor_configuration_nor_probes() {
    let folder = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let backend = backend();
    fs::write(&file, config(backend, 201)).unwrap();
    let program = limited(own.path(), 256);
    let args = ["--bind", "127.0.0.1", "--workers", "2"].map(str::to_owned).to_vec();
    let start = Start { program: &program, paths: vec![folder.path().to_owned()], ports: vec![80], args };
    let gateway = Gateway::start(&start).unwrap();
    let hold = |address: SocketAddr, begun: &[u8]| {
        let all = (0..300).map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(begun);
            stream
        });
        all.collect::<Vec<_>>()
    };
    let traffic = gateway.address(80);
    let mut held = hold(traffic, b"");
    held.extend(hold(traffic, b"GET / HTTP/1.1\r\nHost: a.test\r\nX: "));
    held.extend(hold(gateway.ready, b""));
    held.extend(hold(gateway.admin, b"GET / HTTP/1.1\r\nHost: localhost\r\n"));
    for _ in 0..50 {
        assert_eq!(ask(traffic, "/"), 200, "a backend is reached");
        assert_eq!(ask(traffic, "/direct"), 201);
        assert_eq!(gateway.get(gateway.ready, "/healthz/ready").unwrap().0, 200);
    }
    fs::write(&file, config(backend, 202)).unwrap();
    until("the edit shows", || ask(traffic, "/direct") == 202);
    let metrics = gateway.get(gateway.admin, "/metrics").unwrap().1;
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(value("moongate_accept_errors_total"), 0.0);
    assert!(value("process_open_fds") < 256.0 - 32.0, "some are left for files");
    assert!(value("moongate_downstream_connections_evicted_total{waiting_for=\"idle\"}") > 200.0);
    assert_eq!(value("moongate_downstream_connections_refused_total{cause=\"limit\"}"), 0.0);
    let log = gateway.log();
    assert!(!log.contains("Too many open files"), "{log}");
    assert!(log.contains("idle connections were closed"), "{log}");
    drop(held);
}

/// Somebody else takes descriptors away, or the limit is lowered while the process runs.
#[test]
fn without_descriptors_accepting_pauses_and_goes_on() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.yaml"), config(backend(), 201)).unwrap();
    let args = ["--bind", "127.0.0.1", "--workers", "1"].map(str::to_owned).to_vec();
    let start = Start { program: Path::new(PROGRAM), paths: vec![folder.path().to_owned()], ports: vec![80], args };
    let gateway = Gateway::start(&start).unwrap();
    let pid = Pid::from_raw(i32::try_from(gateway.pid()).unwrap());
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let set = |most: u64| prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
    let open = || fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count() as u64;
    let mut idle: Vec<_> = (0..20).map(|_| TcpStream::connect(gateway.address(80)).unwrap()).collect();
    until("they are accepted", || open() >= 20 && ask(gateway.address(80), "/direct") == 201);
    let before = set(open());
    // In place of one that is idle.
    assert_eq!(ask(gateway.address(80), "/direct"), 201);
    until("it is logged", || gateway.log().contains("connections could not be accepted"));
    let lines = gateway.log().matches("connections could not be accepted").count();
    assert!(lines < 20, "{lines}");
    prlimit(pid, Resource::Nofile, before).unwrap();
    assert_eq!(ask(gateway.address(80), "/direct"), 201);
    idle[0].set_read_timeout(Some(TIMEOUT)).unwrap();
    assert!(!matches!(idle[0].read(&mut [0; 8]), Ok(1..)), "the oldest was closed");
}
