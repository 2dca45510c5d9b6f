//! Credentials that requests get on the way out, over real sockets: destinations receive them, and clients, pages and logs do not.

use super::egress::{PROXY, World, authority, curl, seen};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use testkit::gateway::Gateway;
use testkit::wait::until;

/// A destination in TLS with these annotations of its DestinationRule, reached by the forward proxy and by a route.
fn config(world: &World, annotations: &str, secret: &str) -> String {
    let (https, authority) = (world.secured.address.port(), authority().display().to_string());
    let secret = match secret {
        "" => String::new(),
        values => format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: bank, namespace: istio-system}}\nstringData: {{{values}}}\n"
        ),
    };
    let further = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: in, namespace: istio-system}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    hosts: [bank.test]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: bank\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: [bank.test]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {https}}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: bank, namespace: istio-system, annotations: {{{annotations}}}}}\nspec:\n  host: bank.test\n  trafficPolicy: {{tls: {{mode: SIMPLE, sni: api.test, caCertificates: {authority}}}}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: bank, namespace: istio-system}}\nspec:\n  hosts: [bank.test]\n  gateways: [in]\n  http:\n  - route:\n    - destination: {{host: bank.test, port: {{number: 80}}}}\n      headers: {{response: {{set: {{x-told: '%REQ(authorization)% %REQ(x-api-key)%'}}}}}}\n{secret}"
    );
    world.config("", &further)
}

fn start(world: &World, config: &str) -> Gateway {
    world.names.set("bank.test", &[[127, 0, 0, 1]]);
    let mesh = world.folder.path().join("mesh.yaml");
    let format = "%REQ(authorization)% %REQ(x-api-key)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%";
    fs::write(&mesh, format!("accessLogFormat: \"{format}\\n\"\n")).unwrap();
    let args = ["--mesh-config", &mesh.display().to_string(), "--jwks-blocked-ranges", "none"];
    world.start_on(&[PROXY, 80], config, &args)
}

/// Replaces the configuration.
fn write(world: &World, config: &str) {
    fs::write(world.folder.path().join("a.yaml"), config).unwrap();
}

fn proxied(gateway: &Gateway, args: &[&str]) -> super::egress::Curled {
    curl(&format!("http://{}", gateway.address(PROXY)), "http://bank.test/x", args)
}

fn routed(gateway: &Gateway, args: &[&str]) -> super::egress::Curled {
    let url = format!("http://bank.test:{}/x", gateway.address(80).port());
    let resolve = format!("bank.test:{}:127.0.0.1", gateway.address(80).port());
    curl("", &url, &[&["--resolve", &resolve], args].concat())
}

#[test]
fn destinations_get_the_header_of_the_secret_and_nobody_else_sees_it() {
    let world = World::new();
    let named = "moongate.dev/credential: bank";
    let key = |value: &str| config(&world, named, &format!("header: X-Api-Key, value: {value}"));
    let gateway = start(&world, &key("f1rst-s3cret"));
    for ask in [proxied, routed] {
        let answer = ask(&gateway, &["-H", "x-api-key: mine", "-H", "X-API-KEY: also", "-i"]);
        let (head, body) = answer.body.split_once("\r\n\r\n").unwrap();
        let request: testkit::backend::Seen = serde_json::from_str(body).unwrap();
        assert_eq!(request.header("x-api-key").as_deref(), Some("f1rst-s3cret"));
        assert!(!head.contains("s3cret"), "{head}");
        // Other destinations do not get it.
        let other =
            curl(&format!("http://{}", gateway.address(PROXY)), "http://api.test/x", &["-H", "x-api-key: mine"]);
        assert_eq!(seen(&other).header("x-api-key").as_deref(), Some("mine"));
        // Its response would show the request.
        for method in ["TRACE", "trace", "Track"] {
            let traced = ask(&gateway, &["-X", method]);
            assert_eq!(traced.status, 405, "{method}: {traced:?}");
        }
        // Servers read these as the header of the credential.
        let alias = ask(&gateway, &["-H", "X_Api_Key: mine", "-H", "x-api_key: mine", "-H", "x_api_keys: kept"]);
        let request = seen(&alias);
        assert_eq!(request.header("x-api-key").as_deref(), Some("f1rst-s3cret"));
        assert_eq!((request.header("x_api_key"), request.header("x-api_key")), (None, None));
        assert_eq!(request.header("x_api_keys").as_deref(), Some("kept"));
        // A client cannot have the header removed as one of the connection.
        let nominated = seen(&ask(&gateway, &["-H", "Connection: x-api-key"]));
        assert_eq!(nominated.header("x-api-key").as_deref(), Some("f1rst-s3cret"));
    }
    // Names of clients in HTTP/2, and of a Secret with underscores.
    let alias = routed(&gateway, &["--http2-prior-knowledge", "-H", "X_Api-Key: mine", "-H", "x_api_keys: kept"]);
    let request = seen(&alias);
    assert_eq!(request.header("x-api-key").as_deref(), Some("f1rst-s3cret"));
    assert_eq!((request.header("x_api-key"), request.header("x_api_keys").as_deref()), (None, Some("kept")));
    write(&world, &config(&world, named, "header: X_Api_Key, value: underscored"));
    until("the header is another one", || {
        seen(&routed(&gateway, &[])).header("x_api_key").as_deref() == Some("underscored")
    });
    for ask in [proxied, routed] {
        let request = seen(&ask(&gateway, &["-H", "X-Api-Key: mine", "-H", "x_api-key: mine"]));
        assert_eq!((request.header("x-api-key"), request.header("x_api-key")), (None, None));
        assert_eq!(request.header("x_api_key").as_deref(), Some("underscored"));
    }
    // The next one is used at once.
    write(&world, &key("s3cond-s3cret"));
    until("the secret is another one", || {
        seen(&proxied(&gateway, &[])).header("x-api-key").as_deref() == Some("s3cond-s3cret")
    });
    assert_eq!(seen(&routed(&gateway, &[])).header("x-api-key").as_deref(), Some("s3cond-s3cret"));
    // Without it nothing is sent.
    write(&world, &config(&world, named, ""));
    until("the secret is gone", || proxied(&gateway, &[]).status == 503);
    for ask in [proxied, routed] {
        let refused = ask(&gateway, &["-H", "x-api-key: mine"]);
        assert!(refused.status == 503 && refused.body.contains("the credential"), "{refused:?}");
    }
    until("the refusals are logged", || {
        let log = world.access_log();
        log.lines().filter(|line| line.contains("503 upstream_credential_unavailable UF")).count() >= 2
    });
    write(&world, &key("th1rd-s3cret"));
    until("the secret is back", || proxied(&gateway, &[]).status == 200);
    let pages = ["/", "/config", "/report", "/metrics", "/objects/secrets", "/objects/destinationrules"];
    let pages = pages.map(|page| gateway.get(gateway.admin, page).map_or_else(String::new, |(_, body)| body));
    for shown in pages.iter().chain([&gateway.log(), &world.access_log()]) {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert!(pages[1].contains("[redacted]"));
    let explained = Command::new(env!("CARGO_BIN_EXE_moongate"))
        .args(["explain", "--as", "egress", "--proxy", &format!("http://proxy:{PROXY}"), "http://bank.test/"])
        .arg(world.folder.path().join("a.yaml"))
        .output()
        .unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(
        explained.contains("with the header `x-api-key` of Secret istio-system/bank") && !explained.contains("s3cret"),
        "{explained}"
    );
}

/// An authorization server that numbers its tokens, while it accepts the secret of the client.
struct Issuer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    secret: Arc<Mutex<&'static str>>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Self { address, asked: Arc::default(), secret: Arc::new(Mutex::new("f1rst")) };
        let (asked, secret) = (Arc::clone(&issuer.asked), Arc::clone(&issuer.secret));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut request) = (stream.unwrap(), Vec::new());
                let mut piece = [0; 4096];
                while !String::from_utf8_lossy(&request).contains("scope=read") {
                    let read = stream.read(&mut piece).unwrap();
                    assert!(read > 0);
                    request.extend_from_slice(&piece[..read]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let is_known = request.contains(&format!("client_secret={}", secret.lock().unwrap()));
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let body =
                    format!(r#"{{"access_token": "t0ken-{number}", "token_type": "Bearer", "expires_in": 3600}}"#);
                let (status, body) = if is_known { ("200 OK", body) } else { ("401 Unauthorized", String::new()) };
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        issuer
    }

    fn config(&self, world: &World, secret: &str) -> String {
        let client = format!("token-url: 'http://{}/token', client-id: gateway, client-secret: {secret}", self.address);
        config(world, "moongate.dev/credential: bank", &format!("{client}, client-authentication: post, scope: read"))
    }

    /// With a destination in clear text in place of the one in TLS.
    fn guarded_config(&self, world: &World, guarded: &Guarded, secret: &str) -> String {
        let config = self.config(world, secret);
        let (before, after) = config.split_once("hosts: [bank.test]\n  location").unwrap();
        let https = format!("targetPort: {}", world.secured.address.port());
        let after = after.replacen(&https, &format!("targetPort: {}", guarded.address.port()), 1);
        let (rule, rest) = after.split_once("  trafficPolicy: {tls").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        format!("{before}hosts: [bank.test]\n  location{rule}{rest}")
    }
}

#[test]
fn tokens_of_an_authorization_server_are_fetched_once_and_nothing_is_sent_without_one() {
    let (world, issuer) = (World::new(), Issuer::start());
    let gateway = start(&world, &issuer.config(&world, "f1rst"));
    // Nobody asked for one yet.
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 0);
    for ask in [proxied, routed, proxied] {
        let request = seen(&ask(&gateway, &["-H", "Authorization: Bearer mine"]));
        assert_eq!(request.header("authorization").as_deref(), Some("Bearer t0ken-1"));
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    // Another secret is another client; the server does not know it yet.
    write(&world, &issuer.config(&world, "s3cond"));
    until("the client is not known", || proxied(&gateway, &[]).status == 503);
    let refused = routed(&gateway, &[]);
    assert!(refused.status == 503 && refused.body.contains("the credential"), "{refused:?}");
    until("the cause is logged", || {
        let log = world.access_log().replace('_', " ");
        let cause = format!("503 upstream credential unavailable UF http://{}/token:", issuer.address);
        log.lines().any(|line| line.contains(&cause) && line.contains("the status is 401"))
    });
    *issuer.secret.lock().unwrap() = "s3cond";
    until("there is a token", || proxied(&gateway, &[]).status == 200);
    let token = seen(&proxied(&gateway, &[])).header("authorization").unwrap();
    assert!(token.starts_with("Bearer t0ken-") && token != "Bearer t0ken-1", "{token}");
    let pages = ["/config", "/report"].map(|page| gateway.get(gateway.admin, page).unwrap().1);
    for shown in pages.iter().chain([&gateway.log(), &world.access_log()]) {
        for hidden in ["t0ken-", "f1rst", "s3cond"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

#[test]
fn destinations_with_another_public_key_get_nothing() {
    let world = World::new();
    let command = format!(
        "openssl s_client -connect {} -servername api.test </dev/null 2>/dev/null | openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
        world.secured.address
    );
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let pinned = |pins: &str| config(&world, &format!("moongate.dev/verify-certificate-spki: '{pins}'"), "");
    let other = "sha256/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let gateway = start(&world, &pinned(&format!("{other}, sha256/{key}")));
    for ask in [proxied, routed] {
        assert_eq!(seen(&ask(&gateway, &[])).sni.as_deref(), Some("api.test"));
    }
    write(&world, &pinned(other));
    until("the key is not accepted", || routed(&gateway, &[]).status == 503);
    let refused = proxied(&gateway, &[]);
    assert!(refused.status == 502 && refused.body.contains(&format!("is `sha256/{key}`")), "{refused:?}");
}

/// A destination that accepts one token of an [`Issuer`], and counts the requests.
struct Guarded {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
}

impl Guarded {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let guarded = Self { address, accepted: Arc::new(AtomicUsize::new(1)), served: Arc::default() };
        let (accepted, served) = (Arc::clone(&guarded.accepted), Arc::clone(&guarded.served));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut request) = (stream.unwrap(), Vec::new());
                let mut piece = [0; 4096];
                // The bodies of the test have this end.
                let is_whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request);
                    text.contains("\r\n\r\n") && (!text.starts_with("POST") || text.ends_with("end"))
                };
                while !is_whole(&request) {
                    let Ok(read @ 1..) = stream.read(&mut piece) else { break };
                    request.extend_from_slice(&piece[..read]);
                }
                served.fetch_add(1, Ordering::SeqCst);
                let token = format!("Bearer t0ken-{}\r\n", accepted.load(Ordering::SeqCst));
                let status = match String::from_utf8_lossy(&request).contains(&token) {
                    true => "200 OK",
                    false => "401 Unauthorized",
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        guarded
    }
}

#[test]
fn a_token_that_the_destination_rejects_is_fetched_anew_for_the_next_request() {
    let (world, issuer, guarded) = (World::new(), Issuer::start(), Guarded::start());
    let config = |secret: &str| issuer.guarded_config(&world, &guarded, secret);
    let gateway = start(&world, &config("f1rst"));
    let asked = || issuer.asked.load(Ordering::SeqCst);
    assert_eq!((proxied(&gateway, &[]).status, asked()), (200, 1));
    // The token is revoked. A request that finds out is not sent again.
    guarded.accepted.store(2, Ordering::SeqCst);
    let before = guarded.served.load(Ordering::SeqCst);
    assert_eq!(proxied(&gateway, &["-d", "the end"]).status, 401);
    assert_eq!(guarded.served.load(Ordering::SeqCst), before + 1);
    until("the next requests have another token", || proxied(&gateway, &[]).status == 200);
    assert_eq!((routed(&gateway, &[]).status, asked()), (200, 2));
    // A destination that rejects every token does not have the server asked for each request.
    guarded.accepted.store(0, Ordering::SeqCst);
    for _ in 0..6 {
        assert_eq!(proxied(&gateway, &[]).status, 401);
    }
    assert!(asked() <= 3, "{}", asked());
    let metrics = || gateway.get(gateway.admin, "/metrics").unwrap().1;
    until("the rejections are counted", || {
        let text = metrics();
        let count = text.lines().find_map(|line| line.strip_prefix("moongate_credential_tokens_rejected_total "));
        count.is_some_and(|count| count.parse::<u64>().unwrap() >= 2)
    });
    assert!(metrics().contains("\nmoongate_credential_tokens_unavailable 0\n"));
    write(&world, &config("s3cond"));
    until("the server does not know the client", || proxied(&gateway, &[]).status == 503);
    until("that is counted", || metrics().contains("\nmoongate_credential_tokens_unavailable 1\n"));
    assert!(gateway.log().contains("a token for requests to destinations cannot be fetched"), "{}", gateway.log());
    assert!(gateway.log().contains("a destination has rejected the token of requests"), "{}", gateway.log());
}

#[test]
fn a_retry_on_401_is_sent_with_another_token_than_the_one_that_was_rejected() {
    let (world, issuer, guarded) = (World::new(), Issuer::start(), Guarded::start());
    let config = issuer.guarded_config(&world, &guarded, "f1rst");
    let retries = "  http:\n  - retries: {attempts: 1, retryOn: '401'}\n    route:";
    let gateway = start(&world, &config.replacen("  http:\n  - route:", retries, 1));
    let counts = || (guarded.served.load(Ordering::SeqCst), issuer.asked.load(Ordering::SeqCst));
    assert_eq!((routed(&gateway, &[]).status, counts()), (200, (1, 1)));
    guarded.accepted.store(2, Ordering::SeqCst);
    assert_eq!((routed(&gateway, &[]).status, counts()), (200, (3, 2)));
}
