//! What a new user sees: the lines of a start in text and JSON, and the demo with files and ports that are there already.

use super::operation::{direct, server};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::client::{self, Answer};
use testkit::ports;
use testkit::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
const ANY: [&str; 4] = ["--admin", "127.0.0.1:0", "--ready", "127.0.0.1:0"];

/// The program with its outputs in files; it is killed when dropped.
struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Self { child: command.spawn().unwrap(), folder }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn stdout(&self) -> String {
        self.read("stdout")
    }

    fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// The first line of the standard error output with this text, once there is one.
    fn line(&mut self, text: &str) -> String {
        let mut line = None;
        until(text, || {
            assert!(self.child.try_wait().unwrap().is_none(), "the program has ended: {}", self.read("stderr"));
            line = self
                .stderr()
                .split_inclusive('\n')
                .find(|line| line.contains(text) && line.ends_with('\n'))
                .map(str::to_owned);
            line.is_some()
        });
        line.unwrap()
    }

    /// Waits for the last line of the demo's welcome.
    fn welcome(&mut self) -> String {
        until("the demo serves", || {
            assert!(self.child.try_wait().unwrap().is_none(), "the demo has ended: {}", self.read("stderr"));
            self.stdout().contains("Ctrl-C ends the demo.\n")
        });
        self.stdout()
    }

    fn hang_up(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: SocketAddr, host: &str, target: &str) -> Option<Answer> {
    client::get(address, host, target).ok()
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// What follows `before` up to the next of these characters.
fn between<'a>(text: &'a str, before: &str, end: [char; 3]) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in {text}"));
    rest.split(end).next().unwrap()
}

/// A server that terminates TLS for TCP on port 7443 with the Secret `one`, and the host `t.test`.
const TERMINATED: &str = include_str!("../../../../cases/tcp/terminated/in.yaml");

/// Servers in each protocol on the ports 80, 443 and 9000; one of them has no certificate.
const SERVERS: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [a.test]
    tls: {mode: SIMPLE, credentialName: one}
  - port: {number: 443, name: missing, protocol: HTTPS}
    hosts: [b.test]
    tls: {mode: SIMPLE, credentialName: none}
  - port: {number: 443, name: pass, protocol: TLS}
    hosts: [p.test]
    tls: {mode: PASSTHROUGH}
  - port: {number: 9000, name: tcp, protocol: TCP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes, namespace: default}
spec:
  hosts: ['*']
  gateways: [g]
  tcp: [{match: [{port: 9000}], route: [{destination: {host: t.test}}]}]
  tls: [{match: [{sniHosts: [p.test]}], route: [{destination: {host: t.test}}]}]
---
";

#[test]
fn a_start_says_what_was_read_and_what_serves_where() {
    let folder = tempfile::tempdir().unwrap();
    let text = SERVERS.to_owned() + &direct("a", "g", 201) + &direct("b", "g", 202) + TERMINATED;
    fs::write(folder.path().join("all.yaml"), text).unwrap();
    let path = folder.path().to_str().unwrap();
    let [http, tls, tcp, terminated] = [0; 4].map(|_| ports::free());
    let map = format!("80={http},443={tls},9000={tcp},7443={terminated}");
    let mut process =
        Process::start(&[&["run", path, "--bind", "127.0.0.1", "--port-map", &map][..], &ANY[..]].concat());
    let last = process.line(&format!("127.0.0.1:{tcp}"));
    assert!(
        last.contains("protocol=\"TCP\" server_port=9000 routes=\"VirtualService default/bytes tcp[0]\""),
        "{last}"
    );
    let read = process.line("configuration read");
    assert!(read.contains(&format!("paths=\"{path}\" objects=8 errors=1 warnings=")), "{read}");
    assert!(read.contains(&format!("details=\"moongate check {path}\"")), "{read}");
    let serving = |rest: String| format!(" INFO serving address=127.0.0.1:{rest}\n");
    process.line(&serving(format!("{http} protocol=\"HTTP\" server_port=80 hosts=\"a.test, b.test\"")));
    process.line(&serving(format!("{tls} protocol=\"HTTPS\" server_port=443 hosts=\"a.test\"")));
    process.line(&format!(
        " INFO listening without a certificate, so that every TLS handshake fails address=127.0.0.1:{tls} protocol=\"HTTPS\" \
         server_port=443 hosts=\"b.test\"\n"
    ));
    process.line(&serving(format!(
        "{tls} protocol=\"TLS passthrough\" server_port=443 hosts=\"p.test\" routes=\"VirtualService default/bytes tls[0]\""
    )));
    process.line(&serving(format!(
        "{terminated} protocol=\"TLS termination\" server_port=7443 hosts=\"a.example.com\" routes=\"VirtualService default/tcp-7443 \
         tcp[0]\""
    )));
    assert_eq!(process.stdout(), "");
}

#[test]
fn a_start_in_json_has_fields_and_urls_of_the_ports_that_are_bound() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), server("g", 80) + &direct("a", "g", 201)).unwrap();
    let path = folder.path().to_str().unwrap();
    let port = ports::free();
    let map = format!("80={port}");
    let arguments = ["run", path, "--bind", "127.0.0.1", "--port-map", &map, "--log-format", "json"];
    let mut process = Process::start(&[&arguments[..], &ANY[..]].concat());
    let mut json = |message: &str| {
        let line = process.line(&format!("\"message\":\"{message}\""));
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    let read = json("configuration read");
    assert_eq!((&read["paths"], &read["objects"], &read["errors"]), (&path.into(), &2.into(), &0.into()));
    let serving = json("serving");
    assert_eq!(serving["address"], format!("127.0.0.1:{port}"));
    assert_eq!(
        (&serving["protocol"], &serving["server_port"], &serving["hosts"]),
        (&"HTTP".into(), &80.into(), &"a.test".into())
    );
    for (message, body) in [("admin pages", "<title>Moongate</title>"), ("readiness", "ready\n")] {
        let page = json(message);
        let address = page["address"].as_str().unwrap();
        let target = page["url"].as_str().unwrap().strip_prefix(&format!("http://{address}")).unwrap();
        let answer = get(address.parse().unwrap(), address, target).unwrap();
        assert_eq!(answer.status, 200, "{message}");
        assert!(String::from_utf8_lossy(&answer.body).contains(body), "{message}");
    }
}

#[test]
fn a_start_without_listeners_claims_none_and_later_ones_are_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), direct("a", "g", 201)).unwrap();
    let path = folder.path().to_str().unwrap();
    let port = ports::free();
    let map = format!("80={port}");
    let mut process =
        Process::start(&[&["run", path, "--bind", "127.0.0.1", "--port-map", &map][..], &ANY[..]].concat());
    assert!(process.line("MG9003").contains(" WARN "));
    process.line("readiness url=");
    process.hang_up();
    process.line("the configuration was read again");
    assert!(!process.stderr().contains(" serving "), "{}", process.stderr());
    fs::write(folder.path().join("g.yaml"), server("g", 80)).unwrap();
    process.line(&format!(" INFO serving address=127.0.0.1:{port} protocol=\"HTTP\""));
    fs::remove_file(folder.path().join("g.yaml")).unwrap();
    process.line(&format!(" INFO listener closed address=127.0.0.1:{port}"));
}

/// Starts the demo in a folder, on a port that is free.
fn demo(folder: &Path) -> (Process, SocketAddr) {
    let port = ports::free();
    let number = port.to_string();
    let arguments = ["demo", "--port", &number, "--dir", folder.to_str().unwrap()];
    (Process::start(&[&arguments[..], &ANY[..]].concat()), local(port))
}

fn backend(gateway: SocketAddr, host: &str) -> String {
    get(gateway, host, "/").map_or_else(String::new, |answer| String::from_utf8_lossy(&answer.body).into_owned())
}

/// The text of one of the demo's files with another port of its endpoint.
fn with_port(text: &str, port: u16) -> String {
    let (before, rest) = text.rsplit_once("\n  port: ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    format!("{before}\n  port: {port}\n{after}")
}

#[test]
fn the_demo_keeps_edits_and_starts_its_backends_where_they_say() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("demo");
    let (mut first, gateway) = demo(&folder);
    let said = first.welcome();
    assert!(said.contains(&format!("on port {}.", gateway.port())) && !said.contains("kept"), "{said}");
    drop(first);

    let [dev, test] = [ports::free(), ports::free()];
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let edited = with_port(&read("dev.yaml"), dev)
        .replace("  http:\n  - route:", "  http:\n  - headers: {response: {add: {x-edited: 'yes'}}}\n    route:");
    fs::write(folder.join("dev.yaml"), &edited).unwrap();
    fs::write(folder.join("test.yaml"), with_port(&read("test.yaml"), test)).unwrap();
    fs::remove_file(folder.join("gateway.yaml")).unwrap();
    let (mut second, gateway) = demo(&folder);
    let said = second.welcome();
    assert!(said.contains("written: gateway.yaml\n") && said.contains("kept as before: dev.yaml, test.yaml"), "{said}");
    assert_eq!(read("dev.yaml"), edited);
    let answer = get(gateway, "dev.example.com", "/").unwrap();
    assert_eq!((answer.status, answer.header("x-edited").as_deref()), (200, Some("yes")));
    assert!(backend(gateway, "dev.example.com").contains("\"backend\": \"dev\""));
    assert!(backend(gateway, "test.example.com").contains("\"backend\": \"test\""));
    drop(second);

    // A backend whose port is in use is reported, and everything else is served.
    let taken = TcpListener::bind(local(dev)).unwrap();
    let (mut third, gateway) = demo(&folder);
    let said = third.welcome();
    assert!(said.contains("kept as before: gateway.yaml, dev.yaml, test.yaml"), "{said}");
    let line = third.line("the backend `dev` of the demo is not started");
    let file = folder.join("dev.yaml");
    for text in
        [" WARN ", file.to_str().unwrap(), &format!("port {dev} of 127.0.0.1 is already in use"), "delete the file"]
    {
        assert!(line.contains(text), "{text} is not in {line}");
    }
    assert!(backend(gateway, "test.example.com").contains("\"backend\": \"test\""));
    assert_eq!(third.stderr().matches("is not started").count(), 1);
    drop((third, taken));

    // Without the endpoint there is no backend to start.
    let (before, _) = edited.split_once("---\napiVersion: discovery.k8s.io/v1").unwrap();
    fs::write(folder.join("dev.yaml"), before).unwrap();
    let (mut fourth, gateway) = demo(&folder);
    fourth.welcome();
    assert_eq!(read("dev.yaml"), before);
    assert_eq!(get(gateway, "dev.example.com", "/").map(|answer| answer.status), Some(503));
    assert!(backend(gateway, "test.example.com").contains("\"backend\": \"test\""));
}

#[test]
fn the_demo_says_which_port_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo");
    let path = path.to_str().unwrap();
    let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let number = taken.local_addr().unwrap().port();
    let output = Command::new(PROGRAM).args(["demo", "--dir", path, "--port", &number.to_string()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("port {number} is already in use; choose another port with --port")), "{said}");

    // The pages for operators move to other ports, and both ports are printed.
    let port = ports::free();
    let (page, free) = (format!("127.0.0.1:{number}"), port.to_string());
    let mut process = Process::start(&["demo", "--dir", path, "--port", &free, "--admin", &page, "--ready", &page]);
    let said = process.welcome();
    let why = format!("  port {number} of 127.0.0.1 is already in use, ");
    for (what, url, target) in
        [("admin pages on ", "Admin pages: ", "/"), ("readiness on ", "Readiness:   ", "/healthz/ready")]
    {
        let other: u16 = between(&said, &format!("{why}{what}"), ['\n', ' ', ',']).parse().unwrap();
        assert!(said.contains(&format!("{url}http://127.0.0.1:{other}{target}\n")), "{said}");
        assert_eq!(get(local(other), "localhost", target).map(|answer| answer.status), Some(200), "{said}");
    }
}

#[test]
fn the_demo_says_which_ports_a_changed_gateway_has() {
    let folder = tempfile::tempdir().unwrap();
    let port = ports::free();
    fs::write(folder.path().join("gateway.yaml"), server("my-gateway", port)).unwrap();
    let (mut process, _) = demo(folder.path());
    let said = process.welcome();
    let headline = said.lines().find(|line| line.starts_with("Moongate serves")).unwrap();
    assert!(headline.ends_with(&format!(":{port}.")), "{said}");
    assert!(!said.contains("curl"), "{said}");
    assert!(backend(local(port), "dev.example.com").contains("\"backend\": \"dev\""));
}
