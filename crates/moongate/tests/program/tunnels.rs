//! Open tunnels while processes follow one another and the configuration changes: CONNECT to a port of TCP and to one of TLS, and TLS that is passed
//! through by its server name. None is cut, and octets flow in each.

use super::egress::PROGRAM;
use super::takeover::{Line, Process};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use testkit::gateway::{Gateway, Start};
use testkit::ports;
use testkit::wait::{TIMEOUT, until};

/// Processes that follow one another.
const UPGRADES: usize = 20;
const CHANGES: usize = 200;
/// Octets that are sent and come back at once.
const LENGTH: usize = 1000;

/// A backend that sends back what it receives.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    address
}

/// A forward proxy on the port 8080, passthrough on the port 8081, and what may be reached through both.
fn config(echo: SocketAddr, further: &str) -> String {
    let port = echo.port();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: out, namespace: istio-system}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: 8080, name: proxy, protocol: HTTP_PROXY}}\n    hosts: ['*']\n  - port: {{number: 8081, name: tls, protocol: TLS}}\n    hosts: ['*']\n    tls: {{mode: PASSTHROUGH}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: tls, namespace: istio-system}}\nspec:\n  hosts: [echo.test]\n  gateways: [out]\n  tls: [{{match: [{{sniHosts: [echo.test]}}], route: [{{destination: {{host: echo.test, port: {{number: 443}}}}}}]}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: echo, namespace: default}}\nspec:\n  hosts: [echo.test]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n  ports:\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {port}}}\n  - {{number: 7, name: tcp, protocol: TCP, targetPort: {port}}}\n  endpoints: [{{address: 127.0.0.1}}]\n---\n{further}"
    )
}

/// A ClientHello for a name.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut octets = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut octets).unwrap();
    octets
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// The status of CONNECT, and the connection behind the head of the answer.
fn tunnel(proxy: SocketAddr, authority: &str) -> (u16, TcpStream) {
    let mut stream = connect(proxy);
    stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        head.push(octet[0]);
    }
    let head = String::from_utf8(head).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), stream)
}

/// A path to the backend.
struct Tunnel {
    what: &'static str,
    stream: TcpStream,
}

impl Tunnel {
    /// One of each kind.
    fn open_all(proxy: SocketAddr, passthrough: SocketAddr) -> Vec<Self> {
        let opened = |authority: &str| {
            let (status, stream) = tunnel(proxy, authority);
            assert_eq!(status, 200, "{authority}");
            stream
        };
        let mut tunnels = vec![
            Self { what: "CONNECT to TCP", stream: opened("echo.test:7") },
            Self { what: "CONNECT to TLS", stream: opened("echo.test:443") },
            Self { what: "passthrough", stream: connect(passthrough) },
        ];
        for tunnel in &mut tunnels[1..] {
            tunnel.exchange(&hello("echo.test"));
        }
        tunnels
    }

    fn exchange(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let mut back = vec![0; octets.len()];
        self.stream.read_exact(&mut back).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        assert!(back == octets, "{}: other octets came back", self.what);
    }

    /// Sends octets of a number, and receives the same.
    fn say(&mut self, number: usize) {
        let octets: Vec<u8> = (0..LENGTH).map(|at| (at * 7 + number) as u8).collect();
        self.exchange(&octets);
    }
}

#[test]
fn twenty_upgrades_cut_no_tunnel() {
    let second = ports::free();
    let mut line = Line::new(&config(echo(), "").replace("number: 8081", &format!("number: {second}")));
    // Elder processes wait for the tunnels.
    line.args = ["--as", "egress", "--drain", "600"].map(str::to_owned).into();
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let (proxy, passthrough) = (local(line.port), local(second));
    let mut processes: Vec<Process> = vec![line.follow()];
    let mut tunnels = Tunnel::open_all(proxy, passthrough);
    for number in 0..UPGRADES {
        processes.push(line.follow());
        // Through all processes so far; some through this one.
        tunnels.extend(Tunnel::open_all(proxy, passthrough));
        tunnels.iter_mut().for_each(|tunnel| tunnel.say(number));
    }
    assert_eq!(tunnels.len(), 3 * (UPGRADES + 1));
    drop(tunnels);
    // With their tunnels the elder ones end.
    let _last = processes.pop();
    for process in &mut processes {
        assert_eq!(process.end(), Some(0));
    }
}

#[test]
fn two_hundred_changes_cut_no_tunnel() {
    let (folder, echo) = (tempfile::tempdir().unwrap(), echo());
    let path = folder.path().join("a.yaml");
    let entry = |number: usize| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: other, namespace: default}}\nspec:\n  hosts: [n{number}.test]\n  resolution: STATIC\n  ports: [{{number: 7, name: tcp, protocol: TCP, targetPort: {}}}]\n  endpoints: [{{address: 127.0.0.1}}]\n",
            echo.port()
        )
    };
    fs::write(&path, config(echo, &entry(0))).unwrap();
    let args = ["--as", "egress", "--bind", "127.0.0.1"].map(str::to_owned).to_vec();
    let start = Start { program: Path::new(PROGRAM), paths: vec![path.clone()], ports: vec![8080, 8081], args };
    let gateway = Gateway::start(&start).unwrap();
    let (proxy, passthrough) = (gateway.address(8080), gateway.address(8081));
    let mut tunnels = Tunnel::open_all(proxy, passthrough);
    for number in 1..=CHANGES {
        // Each change allows another name. Every tenth one takes what the tunnels went by: rules decide when a tunnel is opened.
        let config = config(echo, &entry(number));
        let is_taken = number % 10 == 0;
        let config = if is_taken { config.replace("echo.test", "gone.test") } else { config };
        let next = folder.path().join("next");
        fs::write(&next, config).unwrap();
        fs::rename(&next, &path).unwrap();
        until("the change is served", || tunnel(proxy, &format!("n{number}.test:7")).0 == 200);
        assert_eq!(tunnel(proxy, &format!("n{}.test:7", number - 1)).0, 403);
        assert_eq!(tunnel(proxy, "echo.test:7").0, if is_taken { 403 } else { 200 });
        tunnels.iter_mut().for_each(|tunnel| tunnel.say(number));
        if number % 50 == 1 {
            tunnels.extend(Tunnel::open_all(proxy, passthrough));
        }
    }
    assert_eq!(tunnels.len(), 15);
}
