//! The forward proxy with real clients, servers in TLS with an authority of their own, and a name server (E-40 to E-43). Here is what the tests have in
//! common.

mod allow_any;
mod allow_list;
mod binding;
mod clients;
mod dynamic;
mod explained;
mod identities;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use testkit::backend::{Backend, Seen};
use testkit::gateway::{Gateway, Start};
use testkit::name_server::NameServer;
use testkit::secured::Certificates;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
/// The port of the Gateway's server.
pub(super) const PROXY: u16 = 3128;

pub(super) fn authority() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle/certs/ca.crt")
}

/// A gateway with a forward proxy, two backends, and a name server that says that everything is on this machine.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) names: NameServer,
    pub(super) clear: Backend,
    pub(super) secured: Backend,
}

impl World {
    pub(super) fn new() -> Self {
        let certificates = Certificates::of_project().unwrap();
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            names: NameServer::start().unwrap(),
            clear: Backend::start(9001, None).unwrap(),
            secured: Backend::start(9011, Some(certificates.backend("back0", None).unwrap())).unwrap(),
        };
        for name in ["api.test", "en.wiki.test", "wiki.test", "evil.test", "internal.test"] {
            world.names.set(name, &[[127, 0, 0, 1]]);
        }
        world
    }

    /// The Gateway, and ServiceEntries: a name, a wildcard, and a name whose addresses are not allowed.
    pub(super) fn config(&self, server: &str, further: &str) -> String {
        let (http, https) = (self.clear.address.port(), self.secured.address.port());
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: out, namespace: istio-system}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: {PROXY}, name: proxy, protocol: HTTP_PROXY}}\n    hosts: ['*']\n{server}---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: api\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: [api.test]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports:\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {https}}}\n  - {{number: 9024, name: nobody, protocol: HTTP}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: wiki\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: ['*.wiki.test']\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n  ports: [{{number: 443, name: tls, protocol: TLS, targetPort: {https}}}]\n---\n\
             apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: internal, namespace: default}}\nspec:\n  hosts: [internal.test, rebound.test, alias.test, gone.test]\n  location: MESH_EXTERNAL\n  resolution: NONE\n  ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 443, name: tls, protocol: TLS}}]\n---\n{further}"
        )
    }

    pub(super) fn start(&self, config: &str, args: &[&str]) -> Gateway {
        self.start_on(&[PROXY], config, args)
    }

    /// With these ports of Gateways.
    pub(super) fn start_on(&self, ports: &[u16], config: &str, args: &[&str]) -> Gateway {
        fs::write(self.folder.path().join("a.yaml"), config).unwrap();
        let names = self.names.address.to_string();
        let log = self.folder.path().join("access.log").display().to_string();
        let usual = ["--as", "egress", "--bind", "127.0.0.1", "--name-servers", &names, "--access-log", &log];
        let args = usual.iter().chain(args).map(|text| (*text).to_owned()).collect();
        let paths = vec![self.folder.path().join("a.yaml")];
        Gateway::start(&Start { program: Path::new(PROGRAM), paths, ports: ports.to_vec(), args }).unwrap()
    }

    pub(super) fn access_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }
}

/// What curl says: its exit code, the status of the answer to CONNECT, that of the answer, and the body.
#[derive(Debug)]
pub(super) struct Curled {
    pub(super) code: Option<i32>,
    pub(super) connect: u16,
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) fn curl(proxy: &str, url: &str, args: &[&str]) -> Curled {
    let authority = authority().display().to_string();
    let mut command = Command::new("curl");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.args(["-sS", "--max-time", "20", "--cacert", &authority, "--proxy-cacert", &authority, "--proxy", proxy]);
    command.args(["--write-out", "\n%{http_connect} %{http_code}", url]).args(args);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let (body, statuses) = text.rsplit_once('\n').unwrap_or(("", &text));
    let (connect, answer) = statuses.split_once(' ').unwrap_or(("0", "0"));
    let body = format!("{body}{}", String::from_utf8_lossy(&stderr));
    Curled { code: status.code(), connect: connect.parse().unwrap_or(0), status: answer.parse().unwrap_or(0), body }
}

pub(super) fn seen(curled: &Curled) -> Seen {
    serde_json::from_str(&curled.body).unwrap_or_else(|_| panic!("{curled:?}"))
}

/// The answer to octets that a client sends on a connection of its own, until the proxy closes or answers.
fn sent(gateway: &Gateway, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address(PROXY)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(octets).unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
