//! The forward proxy with real clients, servers in TLS with an authority of their own, and a name server (E-40 to E-43).

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
use testkit::wait::until;

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

#[test]
fn e_40_e_41_curl_reaches_what_service_entries_name_and_nothing_else() {
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));

    let plain = curl(&proxy, "http://api.test/a?b=c", &["-H", "X-Mine: 1", "-H", "Proxy-Authorization: Basic eDp5"]);
    let request = seen(&plain);
    assert_eq!((request.path.as_str(), request.backend), ("/a?b=c", 9001));
    assert_eq!(request.header("host").as_deref(), Some("api.test"));
    assert_eq!(request.header("x-mine").as_deref(), Some("1"));
    assert_eq!(request.header("via").as_deref(), Some("1.1 moongate"));
    for hop in ["proxy-authorization", "proxy-connection", "forwarded:", "x-forwarded-for", "x-request-id"] {
        assert_eq!(request.header(hop), None, "{hop}");
    }

    let tunnelled = curl(&proxy, "https://api.test/x", &[]);
    assert_eq!((tunnelled.connect, seen(&tunnelled).sni.as_deref()), (200, Some("api.test")));
    let wild = curl(&proxy, "https://en.wiki.test/x", &[]);
    assert_eq!((wild.connect, seen(&wild).sni.as_deref()), (200, Some("en.wiki.test")));

    for (url, connect, status, reason) in [
        ("http://evil.test/", 0, 403, "no ServiceEntry that this gateway sees has the host `evil.test`"),
        ("https://evil.test/", 403, 0, ""),
        ("https://wiki.test/", 403, 0, ""),
        ("http://api.test:8080/", 0, 403, "is allowed on the ports 80, 443, 9024, and not on port 8080"),
        ("http://en.wiki.test:443/", 0, 403, "is not declared as HTTP"),
        (
            "http://internal.test/",
            0,
            403,
            "the address 127.0.0.1 of `internal.test` is not one of the internet (loopback)",
        ),
        ("https://internal.test/", 403, 0, ""),
        ("http://gone.test/", 0, 502, "`gone.test` cannot be resolved"),
        ("http://api.test:9024/", 0, 502, "the destination cannot be reached"),
        ("http://127.0.0.1/", 0, 403, "has the host `127.0.0.1`"),
    ] {
        let denied = curl(&proxy, url, &[]);
        assert_eq!((denied.connect, denied.status), (connect, status), "{url}: {denied:?}");
        assert!(denied.body.contains(reason), "{url}: {denied:?}");
    }
    let asked = world.names.asked();
    assert!(!asked.iter().any(|name| name.contains("evil") || name == "wiki.test"), "{asked:?}");

    let pac = curl("", &format!("{proxy}/proxy.pac"), &[]);
    assert!(pac.status == 200 && pac.body.contains(&format!("PROXY {}", gateway.address(PROXY))), "{pac:?}");
    let itself = curl("", &format!("{proxy}/"), &[]);
    assert!(itself.status == 400 && itself.body.contains("this is a forward proxy"), "{itself:?}");
    let log = || world.access_log();
    until("denials are logged", || {
        log().contains("egress_denied{not_listed}") && log().contains("egress_denied{address}")
    });
    until("tunnels are logged", || {
        log().lines().any(|line| line.contains("CONNECT") && line.contains("forward|443|default/wiki|*.wiki.test"))
    });
}

#[test]
fn field_4_1_spellings_of_private_addresses_and_rebinding_reach_nothing() {
    let world = World::new();
    // Whatever is asked for, names of the allow-list lead to this machine.
    world.names.set("rebound.test", &[[169, 254, 169, 254], [10, 0, 0, 1], [100, 100, 100, 200], [0, 0, 0, 0]]);
    world.names.alias("alias.test", "localhost.internal.test");
    world.names.set("localhost.internal.test", &[[127, 0, 0, 1]]);
    let gateway = world.start(&world.config("", ""), &[]);
    let port = world.clear.address.port();
    let targets = [
        "2130706433",
        "0",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "017700000001",
        "0x7f000001",
        "0x7f.0.0.1",
        "0X7F.1",
        "127.0.0.1.",
        "127.000.000.001",
        "127.0.0.01",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.test.",
        "api.test..",
        "api..test",
        ".api.test",
        "api.test@127.0.0.1",
        "127.0.0.1@api.test",
        "user:pass@api.test",
        "api.test%40127.0.0.1",
        "api.test%00.evil.test",
        "%6c%6f%63alhost",
        "api.test\\@127.0.0.1",
        "api.test\t",
        "ⓛocalhost",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "аpi.test",
        "api.test#@127.0.0.1",
        "api.test?@127.0.0.1",
        "internal.test",
        "rebound.test",
        "alias.test",
        "RebounD.test",
        "evil.test",
        "xapi.test",
        "api.test.evil.test",
        "wiki.test",
        "evilwiki.test",
        "metadata.google.internal",
        "instance-data",
        "kubernetes.default.svc",
    ];
    let mut vectors = 0;
    for target in targets {
        let requests = [
            format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"),
            format!("GET http://{target}:{port}/ HTTP/1.1\r\nHost: {target}:{port}\r\n\r\n"),
            format!("CONNECT {target}:{port} HTTP/1.1\r\nHost: {target}:{port}\r\n\r\n"),
            format!("CONNECT {target}:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n"),
        ];
        for request in requests {
            vectors += 1;
            let answer = sent(&gateway, request.as_bytes());
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "403", "502"].contains(&status), "{request:?}: {answer:?}");
        }
    }
    // `Host` and the target have to agree, and CONNECT needs a port and no body.
    for request in [
        "GET http://api.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET http://api.test:80/ HTTP/1.1\r\nHost: api.test:8080\r\n\r\n",
        "CONNECT api.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
        "CONNECT api.test HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT api.test:0 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT api.test:443/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT https://api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET ftp://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
    ] {
        vectors += 1;
        let answer = sent(&gateway, request.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "403"].contains(&status), "{request:?}: {answer:?}");
    }
    assert!(vectors >= 80, "{vectors}");
}

#[test]
fn e_41_the_name_in_the_tunnel_has_to_be_that_of_the_tunnel() {
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    // curl asks the proxy for one name, and the server for another.
    let other = curl(&proxy, "https://a.example.com/", &["--connect-to", "a.example.com:443:api.test:443"]);
    assert_eq!((other.connect, other.status), (200, 0), "{other:?}");
    assert!(other.body.contains("unrecognized name") || other.code == Some(35), "{other:?}");
    let unnamed = curl(&proxy, "https://127.0.0.1/", &["--connect-to", "127.0.0.1:443:api.test:443", "-k"]);
    assert_eq!((unnamed.connect, unnamed.status), (200, 0), "{unnamed:?}");
    let clear = sent(
        &gateway,
        b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\nGET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    assert!(clear.starts_with("HTTP/1.1 200 ") && !clear.contains("backend"), "{clear:?}");
    let log = || world.access_log();
    for detail in ["egress_denied{sni}", "egress_denied{no_sni}", "egress_denied{not_tls}"] {
        until(detail, || log().contains(detail));
    }
}

#[test]
fn e_42_a_proxy_in_tls_knows_its_clients_by_their_certificates() {
    let world = World::new();
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle/certs");
    let file = |name: &str| certificates.join(name).display().to_string();
    let server = format!(
        "    tls: {{mode: OPTIONAL_MUTUAL, serverCertificate: {}, privateKey: {}, caCertificates: {}}}\n",
        file("back0.crt"),
        file("back0.key"),
        file("ca.crt")
    );
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: out, namespace: istio-system}\nspec:\n  action: ALLOW\n  rules:\n  - from: [{source: {principals: ['*']}}]\n    to: [{operation: {hosts: [api.test, 'api.test:443']}}]\n";
    let gateway = world.start(&world.config(&server, policy), &[]);
    // The proxy's certificate has this name.
    let resolve = format!("a.example.com:{}:127.0.0.1", gateway.address(PROXY).port());
    let proxy = format!("https://a.example.com:{}", gateway.address(PROXY).port());
    let (certificate, key) = (file("client.crt"), file("client.key"));
    let shown = ["--resolve", &resolve, "--proxy-cert", &certificate, "--proxy-key", &key];
    let known = curl(&proxy, "https://api.test/", &shown);
    assert_eq!((known.connect, seen(&known).sni.as_deref()), (200, Some("api.test")), "{known:?}");
    assert_eq!(seen(&curl(&proxy, "http://api.test/", &shown)).backend, 9001);
    assert_eq!(curl(&proxy, "https://en.wiki.test/", &shown).connect, 403);
    assert_eq!(curl(&proxy, "https://api.test/", &["--resolve", &resolve]).connect, 403);
}

#[test]
fn e_42_users_of_a_proxy_say_who_they_are_and_policies_know_them() {
    let world = World::new();
    let further = "apiVersion: v1\nkind: Secret\nmetadata: {name: users, namespace: istio-system}\nstringData: {alice: 'open:sesame', bob: secret}\n---\n\
         apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: out, namespace: istio-system}\nspec:\n  action: ALLOW\n  rules:\n  - from: [{source: {requestPrincipals: [basic/alice]}}]\n  - to: [{operation: {hosts: ['en.wiki.test:443']}}]\n";
    let config = world.config("", further).replacen(
        "metadata: {name: out, namespace: istio-system}",
        "metadata: {name: out, namespace: istio-system, annotations: {moongate.dev/proxy-users: users}}",
        1,
    );
    let gateway = world.start(&config, &[]);
    let proxy = |user: &str| format!("http://{user}{}", gateway.address(PROXY));
    let alice = curl(&proxy("alice:open%3Asesame@"), "https://api.test/", &[]);
    assert_eq!((alice.connect, seen(&alice).sni.as_deref()), (200, Some("api.test")));
    assert_eq!(
        seen(&curl(&proxy("alice:open%3Asesame@"), "http://api.test/", &[])).header("proxy-authorization"),
        None
    );
    // Known, and not allowed by the policy but to one host.
    assert_eq!(curl(&proxy("bob:secret@"), "https://api.test/", &[]).connect, 403);
    assert_eq!(curl(&proxy("bob:secret@"), "https://en.wiki.test/", &[]).connect, 200);
    for user in ["", "alice:x@", "alice@", "carol:secret@"] {
        assert_eq!(curl(&proxy(user), "https://en.wiki.test/", &[]).connect, 407, "{user}");
        let denied = curl(&proxy(user), "http://api.test/", &[]);
        assert!(denied.status == 407 && denied.body.contains("egress denied"), "{user}: {denied:?}");
    }
    // The next password is used at once, and without the Secret nobody is let in.
    let path = world.folder.path().join("a.yaml");
    fs::write(&path, config.replace("bob: secret", "bob: other")).unwrap();
    until("the password is another one", || curl(&proxy("bob:other@"), "https://en.wiki.test/", &[]).connect == 200);
    assert_eq!(curl(&proxy("bob:secret@"), "https://en.wiki.test/", &[]).connect, 407);
    fs::write(&path, config.replace("name: users, namespace", "name: gone, namespace")).unwrap();
    until("there are no users", || curl(&proxy("bob:other@"), "https://en.wiki.test/", &[]).connect == 407);
}

#[test]
fn e_41_a_token_in_proxy_authorization_opens_tunnels() {
    let world = World::new();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/egress/tokens");
    let read = |name: &str| fs::read_to_string(case.join(name)).unwrap();
    // The case has the token, and its keys and policy.
    let (requests, objects) = (read("requests.yaml"), read("in.yaml"));
    let token = requests.split_once("Proxy-Authorization: \"").unwrap().1.split('"').next().unwrap();
    let (_, further) = objects.split_once("---\napiVersion: security").unwrap();
    let further = format!("apiVersion: security{further}").replace("api.test:9000", "api.test:443");
    let gateway = world.start(&world.config("", &further), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    let header = format!("Proxy-Authorization: {token}");
    let known = curl(&proxy, "https://api.test/", &["--proxy-header", &header]);
    let request = seen(&known);
    assert_eq!((known.connect, request.sni.as_deref()), (200, Some("api.test")));
    assert_eq!(request.header("proxy-authorization"), None);
    assert_eq!(curl(&proxy, "https://en.wiki.test/", &["--proxy-header", &header]).connect, 403);
    assert_eq!(curl(&proxy, "https://api.test/", &[]).connect, 403);
    assert_eq!(curl(&proxy, "https://api.test/", &["--proxy-header", &format!("{header}x")]).connect, 401);
}

#[test]
fn one_flag_opens_a_proxy_and_allow_any_reaches_what_nothing_names() {
    let world = World::new();
    let entries = world.config("", "").split_once("---\n").unwrap().1.to_owned();
    let address = format!("127.0.0.1:{}", testkit::ports::free());
    let gateway = world.start(&entries, &["--forward-proxy", &address]);
    let proxy = format!("http://{address}");
    assert_eq!(seen(&curl(&proxy, "http://api.test/", &[])).backend, 9001);
    assert_eq!(curl(&proxy, "https://evil.test/", &[]).connect, 403);
    drop(gateway);
    let mesh = world.folder.path().join("mesh.yaml");
    fs::write(&mesh, "outboundTrafficPolicy: {mode: ALLOW_ANY}\n").unwrap();
    let mesh = mesh.display().to_string();
    let address = format!("127.0.0.1:{}", testkit::ports::free());
    let _gateway = world.start(&entries, &["--forward-proxy", &address, "--mesh-config", &mesh]);
    let proxy = format!("http://{address}");
    let local = curl(&proxy, "http://evil.test/", &[]);
    assert!(local.status == 403 && local.body.contains("is not one of the internet (loopback)"), "{local:?}");
    assert_eq!(seen(&curl(&proxy, "http://api.test/", &[])).backend, 9001);
}

#[test]
fn explain_answers_for_a_request_to_the_proxy() {
    let world = World::new();
    fs::write(world.folder.path().join("a.yaml"), world.config("", "")).unwrap();
    let explain = |url: &str| {
        let proxy = format!("http://proxy.test:{PROXY}");
        let mut command = Command::new(PROGRAM);
        command.args(["explain", "--as", "egress", "--proxy", &proxy, url]).arg(world.folder.path().join("a.yaml"));
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let tunnel = explain("https://en.wiki.test/x");
    assert!(
        tunnel.contains("forward|443|default/wiki|*.wiki.test") && tunnel.contains("the name that the client asks for"),
        "{tunnel}"
    );
    let plain = explain("http://api.test/x");
    assert!(plain.contains("forward|80|default/api|api.test") && plain.contains("via: 1.1 moongate"), "{plain}");
    let denied = explain("https://evil.test/");
    assert!(denied.contains("403") && denied.contains("egress_denied{not_listed}"), "{denied}");
}

/// DYNAMIC_DNS behind servers of a Gateway: by the SNI, and by `Host`.
#[test]
fn se_09_e_43_a_wildcard_host_is_resolved_by_the_name_of_each_client() {
    let world = World::new();
    let (http, https) = (world.clear.address.port(), world.secured.address.port());
    let config = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: out, namespace: istio-system}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: {PROXY}, name: tls, protocol: TLS}}\n    hosts: ['*']\n    tls: {{mode: PASSTHROUGH}}\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    hosts: ['*']\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: wiki\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: ['*.wiki.test']\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n  ports:\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {https}}}\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: closed, namespace: default}}\nspec:\n  hosts: ['*.closed.test']\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n  ports:\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {https}}}\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: wiki, namespace: istio-system}}\nspec:\n  hosts: ['*']\n  gateways: [out]\n  tls:\n  - match: [{{sniHosts: ['*.closed.test']}}]\n    route: [{{destination: {{host: '*.closed.test', port: {{number: 443}}}}}}]\n  - match: [{{sniHosts: ['*.test']}}]\n    route: [{{destination: {{host: '*.wiki.test', port: {{number: 443}}}}}}]\n  http:\n  - match: [{{authority: {{regex: '.*closed.test'}}}}]\n    route: [{{destination: {{host: '*.closed.test', port: {{number: 80}}}}}}]\n  - route: [{{destination: {{host: '*.wiki.test', port: {{number: 80}}}}}}]\n"
    );
    world.names.set("a.closed.test", &[[127, 0, 0, 1]]);
    fs::write(world.folder.path().join("a.yaml"), &config).unwrap();
    let names = world.names.address.to_string();
    let args = ["--as", "egress", "--bind", "127.0.0.1", "--name-servers", &names].map(str::to_owned).to_vec();
    let paths = vec![world.folder.path().join("a.yaml")];
    let start = Start { program: Path::new(PROGRAM), paths, ports: vec![PROXY, 80], args };
    let gateway = Gateway::start(&start).unwrap();
    let to = |name: &str, port: u16| {
        let resolve = format!("{name}:{}:127.0.0.1", gateway.address(port).port());
        let scheme = if port == PROXY { "https" } else { "http" };
        curl("", &format!("{scheme}://{name}:{}/x", gateway.address(port).port()), &["--resolve", &resolve])
    };
    assert_eq!(seen(&to("en.wiki.test", PROXY)).sni.as_deref(), Some("en.wiki.test"));
    assert_eq!(seen(&to("en.wiki.test", 80)).backend, 9001);
    // Other names, and addresses that are not allowed, reach nothing.
    for name in ["evil.test", "wiki.test", "a.closed.test"] {
        assert_ne!(to(name, PROXY).code, Some(0), "{name}");
        assert_eq!(to(name, 80).status, 403, "{name}");
    }
    assert_eq!(to("unknown.wiki.test", 80).status, 502);
}

#[test]
fn python_requests_and_git_use_the_proxy() {
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    let authority = authority().display().to_string();
    let environment = [
        ("https_proxy", &proxy),
        ("http_proxy", &proxy),
        ("REQUESTS_CA_BUNDLE", &authority),
        ("GIT_SSL_CAINFO", &authority),
    ];
    if let Some(python) = testkit::python::Python::with(&["requests"]).unwrap() {
        let script = world.folder.path().join("client.py");
        fs::write(
            &script,
            "import requests\n\
             print(requests.get('https://api.test/x').json()['sni'], requests.get('http://api.test/x').json()['backend'])\n\
             denied = requests.get('http://evil.test/')\n\
             print(denied.status_code, 'no ServiceEntry' in denied.text)\n\
             try:\n    requests.get('https://evil.test/')\nexcept requests.exceptions.ProxyError as error:\n    print('403' in str(error))\n",
        )
        .unwrap();
        let output = python.command(&script, &[]).envs(environment).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "api.test 9001\n403 True\nTrue\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    // The backend is no repository: git gets its answer, and for a host that is not allowed that of the proxy.
    let git = |host: &str| {
        let mut command = Command::new("git");
        command.env_remove("no_proxy").envs(environment).env("GIT_TERMINAL_PROMPT", "0");
        let output = command.args(["ls-remote", &format!("https://{host}/a.git")]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    if Command::new("git").arg("--version").output().is_ok() {
        let reached = git("api.test");
        assert!(!reached.contains("CONNECT tunnel failed") && !reached.contains("Proxy"), "{reached}");
        assert!(git("evil.test").contains("403"), "{}", git("evil.test"));
    }
}
