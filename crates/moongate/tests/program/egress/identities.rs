//! Who may use a forward proxy: certificates, users and tokens of clients (E-41, E-42).

use super::{PROXY, World, curl, seen, sent};
use std::fs;
use std::path::Path;
use testkit::wait::until;

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
    // What a browser loads before it knows of the proxy has nothing but the address of the proxy, and nothing else is let in by that.
    let own = |path: &str| curl("", &format!("{}{path}", proxy("")), &[]);
    let pac = own("/proxy.pac");
    assert!(pac.status == 200 && pac.body.contains(&format!("PROXY {}", gateway.address(PROXY))), "{pac:?}");
    assert_eq!(own("/").status, 400);
    for (target, status) in [("http://api.test/proxy.pac", "407"), ("http://api.test/", "407"), ("/proxy.pac", "200")] {
        let answer = sent(&gateway, format!("GET {target} HTTP/1.1\r\nHost: api.test\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
    // The next password is used at once, and without the Secret every user is rejected.
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
