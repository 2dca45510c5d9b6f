//! Clients that do not know of the gateway (E-44), in network namespaces that the test makes: connections to addresses of the internet are sent to the
//! gateway by the rules of a firewall, by a translation of addresses and as they are, and by a proxy in front.

use super::egress::authority;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use testkit::backend::{Backend, Seen};
use testkit::gateway::{Gateway, Start};
use testkit::name_server::NameServer;
use testkit::secured::Certificates;
use testkit::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
/// The port of the Gateway's server.
const TRANSPARENT: u16 = 15_001;
/// What clients connect to. No machine has this address, and nothing leaves the namespaces.
const SOMEWHERE: &str = "198.41.0.4";

/// Two network namespaces: that of the gateway, its backends and its name server, which is the router of that of the client.
struct Network {
    gateway: String,
    client: String,
}

/// Runs a test in a thread of its own, which takes part in another namespace.
fn apart(name: &'static str, test: fn(&Network)) {
    let tested = std::thread::spawn(move || {
        if let Some(network) = Network::new(name) {
            test(&network);
        }
    });
    if let Err(panic) = tested.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(program: &str, args: &str) -> Output {
    Command::new(program).args(args.split_whitespace()).output().unwrap()
}

fn must(program: &str, args: &str) {
    let output = run(program, args);
    assert!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Network {
    /// `None`, with one line that says so, where this cannot be tried; an error in CI.
    fn new(name: &str) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let lacks = |program: &str| Command::new(program).arg("--version").output().is_err();
        let missing = ["iptables", "curl"].into_iter().find(|program| lacks(program));
        if !is_root || missing.is_some() || Command::new("ip").arg("-V").output().is_err() {
            let why = missing
                .map_or("root and `ip` are needed".to_owned(), |program| format!("`{program}` is not installed"));
            testkit::not_run(&why).unwrap();
            return None;
        }
        let suffix = format!("{name}{}", std::process::id());
        let network = Self { gateway: format!("mgg{suffix}"), client: format!("mgc{suffix}") };
        let Self { gateway, client } = &network;
        must("ip", &format!("netns add {gateway}"));
        must("ip", &format!("netns add {client}"));
        must("ip", &format!("-n {gateway} link add inside type veth peer name outside netns {client}"));
        for (namespace, device, address) in [(gateway, "inside", "10.77.0.1/24"), (client, "outside", "10.77.0.2/24")] {
            must("ip", &format!("-n {namespace} link set lo up"));
            must("ip", &format!("-n {namespace} addr add {address} dev {device}"));
            must("ip", &format!("-n {namespace} link set {device} up"));
        }
        must("ip", &format!("-n {client} route add default via 10.77.0.1"));
        must("ip", &format!("netns exec {gateway} sysctl -qw net.ipv4.ip_forward=1"));
        // Sockets of this thread, and of those that it starts, belong to the gateway's namespace from now on.
        let namespace = fs::File::open(Path::new("/run/netns").join(gateway)).unwrap();
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).unwrap();
        Some(network)
    }

    fn firewall(&self, rule: &str) {
        must("ip", &format!("netns exec {} iptables {rule}", self.gateway));
    }

    /// What a client in its namespace gets for a URL whose name it believes to be at [`SOMEWHERE`].
    fn curl(&self, url: &str, args: &[&str]) -> (Option<i32>, String) {
        let (_, rest) = url.split_once("://").unwrap();
        let default = if url.starts_with("https") { 443 } else { 80 };
        let authority_part = rest.split('/').next().unwrap();
        let (host, port) = authority_part.split_once(':').unwrap_or((authority_part, ""));
        let port = port.parse().unwrap_or(default);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.client, "curl", "-sS", "--max-time", "20", "--cacert"]).arg(authority());
        command.args(["--resolve", &format!("{host}:{port}:{SOMEWHERE}"), "-w", "\n%{http_code}", url]).args(args);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }

    /// What a client gets that sends octets to an address.
    fn send(&self, address: &str, port: u16, octets: &str) -> String {
        let script = format!("exec 3<>/dev/tcp/{address}/{port}; printf '{octets}' >&3; timeout 20 cat <&3");
        let output = Command::new("ip").args(["netns", "exec", &self.client, "bash", "-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.gateway] {
            run("ip", &format!("netns del {namespace}"));
        }
    }
}

/// The destinations, in the gateway's namespace, and what the gateway is told of them.
struct World {
    folder: tempfile::TempDir,
    names: NameServer,
    clear: Backend,
    secured: Backend,
    greeting: TcpListener,
}

impl World {
    fn new() -> Self {
        let certificates = Certificates::of_project().unwrap();
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            names: NameServer::start().unwrap(),
            clear: Backend::start(9001, None).unwrap(),
            secured: Backend::start(9011, Some(certificates.backend("back0", None).unwrap())).unwrap(),
            greeting: TcpListener::bind("127.0.0.1:0").unwrap(),
        };
        for name in ["api.test", "en.wiki.test", "evil.test"] {
            world.names.set(name, &[[127, 0, 0, 1]]);
        }
        world.names.set("internal.test", &[[10, 77, 0, 2]]);
        let greeting = world.greeting.try_clone().unwrap();
        // The server is the first to send.
        std::thread::spawn(move || {
            for stream in greeting.incoming() {
                let Ok(mut stream) = stream else { return };
                let _ = stream.write_all(b"220 hello\r\n");
                let mut octets = [0; 64];
                let read = stream.read(&mut octets).unwrap_or(0);
                let _ = stream.write_all(&octets[..read]);
            }
        });
        world
    }

    fn config(&self, source: &str) -> String {
        let (http, https) = (self.clear.address.port(), self.secured.address.port());
        let greeting = self.greeting.local_addr().unwrap().port();
        let allowed = "annotations: {moongate.dev/allowed-addresses: 127.0.0.0/8}";
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: out, namespace: istio-system, annotations: {{moongate.dev/original-destination: {source}}}}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: {TRANSPARENT}, name: transparent, protocol: HTTP_PROXY}}\n    hosts: ['*']\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: api, namespace: default, {allowed}}}\nspec:\n  hosts: [api.test]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports:\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}\n  - {{number: 8080, name: http-alt, protocol: HTTP, targetPort: {http}}}\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {https}}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: wiki, namespace: default, {allowed}}}\nspec:\n  hosts: ['*.wiki.test']\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n  ports: [{{number: 443, name: tls, protocol: TLS, targetPort: {https}}}]\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: internal, namespace: default}}\nspec:\n  hosts: [internal.test]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports: [{{number: 443, name: tls, protocol: TLS}}]\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: mail, namespace: default}}\nspec:\n  hosts: [mail.test]\n  addresses: [{SOMEWHERE}]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n  ports: [{{number: 25, name: tcp, protocol: TCP, targetPort: {greeting}}}]\n  endpoints: [{{address: 127.0.0.1}}]\n---\n\
             apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: out, namespace: istio-system}}\nspec:\n  action: DENY\n  rules:\n  - to: [{{operation: {{hosts: ['secret.wiki.test:443']}}}}]\n  - to: [{{operation: {{hosts: [api.test], paths: [/secret]}}}}]\n"
        )
    }

    fn start(&self, config: &str, args: &[&str]) -> Gateway {
        fs::write(self.folder.path().join("a.yaml"), config).unwrap();
        let names = self.names.address.to_string();
        let log = self.log().display().to_string();
        let usual = ["--as", "egress", "--bind", "0.0.0.0", "--name-servers", &names, "--access-log", &log];
        let args = usual.iter().chain(args).map(|text| (*text).to_owned()).collect();
        let paths = vec![self.folder.path().join("a.yaml")];
        Gateway::start(&Start { program: Path::new(PROGRAM), paths, ports: vec![TRANSPARENT], args }).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }
}

fn seen(answer: &(Option<i32>, String)) -> Seen {
    let body = answer.1.rsplit_once('\n').map_or("", |(body, _)| body);
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// What every source of destinations has in common.
fn check(network: &Network, world: &World) {
    // Requests in clear text, by `Host`.
    let plain = network.curl("http://api.test/a?b=c", &["-H", "X-Mine: 1"]);
    let request = seen(&plain);
    assert_eq!((request.path.as_str(), request.backend), ("/a?b=c", 9001));
    assert_eq!(request.header("host").as_deref(), Some("api.test"));
    assert_eq!(seen(&network.curl("http://api.test:8080/", &[])).header("host").as_deref(), Some("api.test:8080"));
    for (url, args, status) in [
        ("http://evil.test/", &[][..], "403"),
        ("http://api.test:81/", &[], "403"),
        ("http://api.test/secret", &[], "403"),
        // `Host` names another port than the one that was connected to, or no destination.
        ("http://api.test:8080/", &["-H", "Host: api.test"], "400"),
        ("http://api.test/", &["-H", "Host: api.test:8080"], "400"),
        ("http://api.test/", &["-H", "Host: 2130706433"], "400"),
        ("http://evil.test/", &["-H", "Host: evil.test:80"], "403"),
    ] {
        let refused = network.curl(url, args);
        assert!(refused.1.contains(&format!("\n{status}")), "{url} {args:?}: {refused:?}");
    }
    let forged = network.curl("http://evil.test/", &["-H", "Host: api.test"]);
    assert_eq!(seen(&forged).backend, 9001, "the name is what is resolved and connected to, not the address");
    assert!(
        network
            .send(SOMEWHERE, 80, "CONNECT api.test:443 HTTP/1.1\\r\\nHost: api.test:443\\r\\n\\r\\n")
            .starts_with("HTTP/1.1 400")
    );
    // TLS, by the SNI.
    for name in ["api.test", "en.wiki.test"] {
        assert_eq!(seen(&network.curl(&format!("https://{name}/"), &["-k"])).sni.as_deref(), Some(name));
    }
    for url in ["https://evil.test/", "https://secret.wiki.test/", "https://internal.test/", "https://gone.wiki.test/"]
    {
        let (code, said) = network.curl(url, &["-k"]);
        assert!(code == Some(35) && said.contains("access denied"), "{url}: {code:?} {said}");
    }
    // Without a name: only addresses that are named.
    assert_ne!(network.curl(&format!("https://{SOMEWHERE}/"), &["-k"]).0, Some(0));
    assert_eq!(network.send(SOMEWHERE, 25, "EHLO\\n"), "220 hello\r\nEHLO\n");
    assert_eq!(network.send(SOMEWHERE, 2525, "EHLO\\n"), "");
    until("the log has every way", || {
        let log = fs::read_to_string(world.log()).unwrap_or_default();
        [
            "\"en.wiki.test:443\"",
            "\"198.41.0.4:25\"",
            "egress_denied{not_listed}",
            "egress_denied{address}",
            "egress_unresolved",
            "egress_port_mismatch",
            "rbac_access_denied",
        ]
        .iter()
        .all(|text| log.contains(text))
    });
}

#[test]
fn e_44_connections_whose_address_was_translated_go_where_their_names_say() {
    apart("r", connections_whose_address_was_translated_go_where_their_names_say);
}

fn connections_whose_address_was_translated_go_where_their_names_say(network: &Network) {
    let world = World::new();
    let gateway = world.start(&world.config("REDIRECT"), &[]);
    let port = gateway.address(TRANSPARENT).port();
    network.firewall(&format!("-t nat -A PREROUTING -i inside -p tcp ! -d 10.77.0.1 -j REDIRECT --to-ports {port}"));
    check(network, &world);
    // What comes to the gateway itself would be sent to the gateway.
    assert_eq!(network.send("10.77.0.1", port, "GET / HTTP/1.1\\r\\nHost: api.test\\r\\n\\r\\n"), "");
    until("the connection is logged", || {
        fs::read_to_string(world.log()).unwrap_or_default().contains("tls_handshake_failed{not_redirected}")
    });
}

#[test]
fn e_44_connections_that_come_as_they_are_go_where_their_names_say() {
    apart("t", connections_that_come_as_they_are_go_where_their_names_say);
}

fn connections_that_come_as_they_are_go_where_their_names_say(network: &Network) {
    let world = World::new();
    let gateway = world.start(&world.config("TPROXY"), &[]);
    let port = gateway.address(TRANSPARENT).port();
    must("ip", &format!("-n {} rule add fwmark 1 lookup 100", network.gateway));
    must("ip", &format!("-n {} route add local 0.0.0.0/0 dev lo table 100", network.gateway));
    network.firewall(&format!(
        "-t mangle -A PREROUTING -i inside -p tcp ! -d 10.77.0.1 -j TPROXY --on-port {port} --tproxy-mark 1"
    ));
    check(network, &world);
    assert_eq!(network.send("10.77.0.1", port, "GET / HTTP/1.1\\r\\nHost: api.test\\r\\n\\r\\n"), "");
}

#[test]
fn e_44_a_proxy_in_front_names_the_destination() {
    apart("p", a_proxy_in_front_names_the_destination);
}

fn a_proxy_in_front_names_the_destination(_: &Network) {
    let world = World::new();
    let mesh = world.folder.path().join("mesh.yaml");
    fs::write(&mesh, "defaultConfig: {gatewayTopology: {proxyProtocol: {}}}\n").unwrap();
    let gateway = world.start(&world.config("PROXY_PROTOCOL"), &["--mesh-config", &mesh.display().to_string()]);
    let address: SocketAddr = gateway.address(TRANSPARENT);
    let ask = |header: &str, request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(format!("{header}{request}").as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let request = "GET /x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n";
    let answer = ask("PROXY TCP4 10.77.0.9 198.41.0.4 40000 80\r\n", request);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"backend\":9001"), "{answer}");
    assert!(ask("PROXY TCP4 10.77.0.9 198.41.0.4 40000 81\r\n", request).starts_with("HTTP/1.1 400"));
    assert!(ask("PROXY TCP4 10.77.0.9 198.41.0.4 40000 25\r\n", "EHLO\n").starts_with("220 hello"));
    // Without a destination there is none.
    assert_eq!(ask("PROXY UNKNOWN\r\n", request), "");
    assert_eq!(ask("", request), "");
}
