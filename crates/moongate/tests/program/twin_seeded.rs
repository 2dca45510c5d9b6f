//! Seeded configurations and requests, more than twenty thousand pairs in a release build: `explain` gives the answer of the data plane and the very head that
//! the backend receives.

use super::twin::explainer;
use moongate::explain::{Answer, Explainer, Outcome, Question};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use testkit::gateway::{Gateway, Start};
use testkit::seeded::Seeded;

const HOSTS: usize = 40;
/// For each of [`MESHES`]; fewer where each takes long.
const REQUESTS: usize = if cfg!(debug_assertions) { 500 } else { 3_500 };
/// The mesh settings that decide which path the rules see.
const MESHES: [&str; 6] = [
    "pathNormalization: {normalization: BASE}",
    "pathNormalization: {normalization: MERGE_SLASHES}",
    "pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}",
    "pathNormalization: {normalization: NONE}",
    "defaultConfig: {connectionSettings: {httpPathWithEscapedSlashesAction: UNESCAPE_AND_REDIRECT}}",
    "defaultConfig: {connectionSettings: {httpPathWithEscapedSlashesAction: REJECT_REQUEST}}",
];

const PIECES: [&str; 16] =
    ["/", "/a", "/b", "c", "/d", "/api", "/v1", "/admin", "//", "/./", "/../", "%2F", "%41", "/%2e%2e/", "/x%20y", "%"];
const ROLES: [&str; 4] = ["admin", "x", "adm", ""];

/// One host with its rules.
fn virtual_service(seeded: &mut Seeded, number: usize) -> String {
    let mut out = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{number}, namespace: default}}\nspec:\n  hosts: [h{number}.test]\n  gateways: [g]\n  http:\n"
    );
    for _ in 0..=seeded.below(3) {
        rule(seeded, &mut out);
    }
    if !seeded.sometimes(4) {
        out.push_str("  - match: [{uri: {prefix: /}}]\n");
        forward(seeded, &mut out);
    }
    out.push_str("---\n");
    out
}

fn rule(seeded: &mut Seeded, out: &mut String) {
    let matches = condition(seeded);
    let _ = writeln!(out, "  - match: [{{{matches}}}]");
    match seeded.below(6) {
        0 => {
            let status = seeded.one_of(&["200", "404", "299"]);
            let _ = writeln!(out, "    directResponse: {{status: {status}, body: {{string: 'direct'}}}}");
        }
        1 => {
            let uri = seeded.one_of(&[
                "uri: /login",
                "authority: other.test",
                "uri: /n, authority: o.test, redirectCode: 308",
                "port: 8443",
                "scheme: https",
            ]);
            let _ = writeln!(out, "    redirect: {{{uri}}}");
        }
        _ => forward(seeded, out),
    }
}

fn condition(seeded: &mut Seeded) -> String {
    let mut all = Vec::new();
    let path = seeded.one_of(&["/", "/a", "/api", "/api/v1", "/admin", "/b/", "/x y"]);
    match seeded.below(5) {
        0 => all.push(format!("uri: {{exact: '{path}'}}")),
        1 => all.push("uri: {regex: '/(api|a)/?.*'}".to_owned()),
        2 => all.push(format!("uri: {{prefix: '{path}'}}, ignoreUriCase: true")),
        _ => all.push(format!("uri: {{prefix: '{path}'}}")),
    }
    if seeded.sometimes(3) {
        let how = seeded.one_of(&["exact: admin", "prefix: ad", "regex: 'a.*'", "present"]);
        let value = if how == "present" { "{}".to_owned() } else { format!("{{{how}}}") };
        let list = if seeded.sometimes(3) { "withoutHeaders" } else { "headers" };
        all.push(format!("{list}: {{x-role: {value}}}"));
    }
    if seeded.sometimes(4) {
        all.push("queryParams: {q: {exact: '1'}}".to_owned());
    }
    if seeded.sometimes(5) {
        all.push(format!("method: {{exact: {}}}", seeded.one_of(&["GET", "POST", "DELETE"])));
    }
    all.join(", ")
}

fn forward(seeded: &mut Seeded, out: &mut String) {
    out.push_str("    route: [{destination: {host: backend.test}}]\n");
    if seeded.sometimes(3) {
        let to = seeded.one_of(&[
            "uri: /",
            "uri: /new",
            "uri: new",
            "authority: inside.test",
            "uri: /n, authority: inside.test",
            "uriRegexRewrite: {match: '^/api/(.*)$', rewrite: '/\\1'}",
            "uriRegexRewrite: {match: 'a', rewrite: ''}",
        ]);
        let _ = writeln!(out, "    rewrite: {{{to}}}");
    }
    if seeded.sometimes(3) {
        let change = seeded.one_of(&[
            "set: {x-role: fixed}",
            "add: {x-role: more, x-new: '1'}",
            "remove: [x-role, user-agent]",
            "set: {x-path: '%REQ(:path)%', host: set.test}",
            "remove: [x-forwarded-for]",
        ]);
        let _ = writeln!(out, "    headers: {{request: {{{change}}}}}");
    }
    if seeded.sometimes(4) {
        out.push_str(
            "    corsPolicy: {allowOrigins: [{exact: 'https://good.test'}], allowMethods: [GET, PUT], maxAge: 60s}\n",
        );
    }
}

fn configuration(seeded: &mut Seeded, backend: u16) -> String {
    let mut out = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g, namespace: default}}\nspec:\n  servers:\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    hosts: ['*']\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: b, namespace: default}}\nspec:\n  hosts: [backend.test]\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  resolution: STATIC\n  endpoints: [{{address: 127.0.0.1, ports: {{http: {backend}}}}}]\n---\n"
    );
    for number in 0..HOSTS {
        out.push_str(&virtual_service(seeded, number));
    }
    out
}

fn question(seeded: &mut Seeded) -> Question {
    let mut target = String::from("/");
    for _ in 0..seeded.below(4) {
        target.push_str(seeded.one_of(&PIECES));
    }
    if seeded.sometimes(4) {
        target.push_str(seeded.one_of(&["?q=1", "?q=2", "?", "?a=/../b&q=1"]));
    }
    let mut host = format!("h{}.test", seeded.below(HOSTS + 2));
    if seeded.sometimes(6) {
        host.push_str(seeded.one_of(&[":80", ":8080", "."]));
    }
    if seeded.sometimes(20) {
        target = format!("http://{host}{target}");
    }
    let mut headers = vec![("Host".to_owned(), host)];
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    add("User-Agent", "seeded");
    for _ in 0..seeded.below(3) {
        add("X-Role", seeded.one_of(&ROLES));
    }
    if seeded.sometimes(8) {
        add("Content-Type", seeded.one_of(&["application/grpc", "application/json"]));
    }
    if seeded.sometimes(6) {
        add("Origin", seeded.one_of(&["https://good.test", "https://bad.test"]));
        if seeded.sometimes(2) {
            add("Access-Control-Request-Method", "PUT");
        }
    }
    if seeded.sometimes(8) {
        add("X-Forwarded-For", "203.0.113.7");
    }
    let method = seeded.one_of(&["GET", "GET", "GET", "DELETE", "OPTIONS"]).to_owned();
    Question { port: 80, method, target, headers, body: false, tls: None, from: [127, 0, 0, 1].into(), identity: None }
}

/// Answers each request, which has no body, with its head as the body.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(head) = read_head(&mut reader) {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
                    if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The lines of a head, each with a line feed.
fn read_head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|count| *count > 0)?;
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        if line.is_empty() {
            return Some(head);
        }
        head.push_str(&line);
        head.push('\n');
    }
}

/// What the data plane answered.
#[derive(Debug)]
struct Live {
    status: u16,
    location: Option<String>,
    grpc: Option<u8>,
    body: String,
}

/// A client that keeps its connection for as long as the gateway does.
struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    fn ask(&mut self, question: &Question) -> Live {
        let mut text = format!("{} {} HTTP/1.1\r\n", question.method, question.target);
        for (name, value) in &question.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        let address = self.address;
        let connection = self.connection.get_or_insert_with(|| BufReader::new(TcpStream::connect(address).unwrap()));
        connection.get_mut().write_all(text.as_bytes()).unwrap();
        let head = read_head(connection).unwrap_or_else(|| panic!("no response to {text}"));
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = field("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        connection.read_exact(&mut body).unwrap();
        if field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.connection = None;
        }
        Live {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            location: field("location"),
            grpc: field("grpc-status").map(|status| status.parse().unwrap()),
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

/// The lines of a head, with the id of chance left out.
fn lines(head: &str) -> Vec<&str> {
    head.lines().map(|line| if line.starts_with("x-request-id:") { "x-request-id:" } else { line }).collect()
}

/// The difference between the data plane's response and the answer of `explain`.
fn difference(answer: &Answer, live: &Live) -> Option<String> {
    match &answer.outcome {
        Outcome::Answered { status, grpc, location, body, .. } => {
            let status = if grpc.is_some() { 200 } else { *status };
            let same = status == live.status
                && *grpc == live.grpc
                && *location == live.location
                && body.as_ref().is_none_or(|body| *body == live.body);
            (!same).then(|| format!("{:?}", answer.outcome))
        }
        Outcome::Forwarded { targets, .. } => {
            let head = &targets.first()?.head;
            let same = live.status == 200 && lines(head) == lines(&live.body);
            (!same).then(|| format!("the head\n{head}"))
        }
        other => Some(format!("{other:?}")),
    }
}

#[test]
fn explain_and_the_data_plane_agree_on_twenty_thousand_seeded_pairs() {
    let backend = echo();
    let (mut answered, mut forwarded) = (0, 0);
    for (number, mesh) in MESHES.iter().enumerate() {
        let mut seeded = Seeded(number as u64);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("in.yaml");
        fs::write(&config, configuration(&mut seeded, backend.port())).unwrap();
        let mesh_file = folder.path().join("mesh.yaml");
        fs::write(&mesh_file, mesh).unwrap();
        let explainer: Explainer = explainer(&config, Some(&mesh_file), &[]);
        let start = Start {
            program: Path::new(env!("CARGO_BIN_EXE_moongate")),
            paths: vec![folder.path().to_owned()],
            ports: vec![80],
            args: vec!["--bind".to_owned(), "127.0.0.1".to_owned()],
        };
        let gateway = Gateway::start(&start).unwrap();
        let mut client = Client { address: gateway.address(80), connection: None };
        for _ in 0..REQUESTS {
            let question = question(&mut seeded);
            let live = client.ask(&question);
            let answer = explainer.ask(&question).unwrap();
            let differs = difference(&answer, &live);
            assert!(
                differs.is_none(),
                "{mesh}: {} {} {:?}\nexplain says {}\nthe data plane {live:?}",
                question.method,
                question.target,
                question.headers,
                differs.unwrap_or_default()
            );
            match answer.outcome {
                Outcome::Forwarded { .. } => forwarded += 1,
                _ => answered += 1,
            }
        }
    }
    assert!(answered > REQUESTS && forwarded > REQUESTS, "{answered} answered, {forwarded} forwarded");
}
