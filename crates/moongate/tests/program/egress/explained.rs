//! `explain` for requests to a forward proxy.

use super::{PROGRAM, PROXY, World};
use std::fs;
use std::process::Command;

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
    assert!(plain.contains("host      api.test") && plain.contains("✓ ServiceEntry default/api"), "{plain}");
    let without_port = explain("http://api.test:81/");
    assert!(
        without_port.contains("403 egress_denied{port}") && without_port.contains("host      api.test"),
        "{without_port}"
    );
    let denied = explain("https://evil.test/");
    assert!(denied.contains("403") && denied.contains("egress_denied{not_listed}"), "{denied}");
}

/// E-44: what becomes of connections that the network sends to the gateway.
#[test]
fn explain_answers_for_connections_of_clients_that_do_not_know_of_the_gateway() {
    let world = World::new();
    let config = world.config("", "").replacen(
        "metadata: {name: out, namespace: istio-system}",
        "metadata: {name: out, namespace: istio-system, annotations: {moongate.dev/original-destination: REDIRECT}}",
        1,
    );
    let mail = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: mail, namespace: default}\nspec:\n  hosts: [mail.test]\n  addresses: [198.41.0.9]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n  ports: [{number: 25, name: tcp, protocol: TCP}]\n  endpoints: [{address: 198.41.0.9}]\n";
    fs::write(world.folder.path().join("a.yaml"), format!("{config}{mail}")).unwrap();
    let explain = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["explain", "--as", "egress"]).args(args).arg(world.folder.path().join("a.yaml"));
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let told = |args: &[&str], parts: &[&str]| {
        let said = explain(args);
        for part in parts {
            assert!(said.contains(part), "{args:?}: {part:?} is not in\n{said}");
        }
    };
    let (https, http) = ("198.41.0.4:443", "198.41.0.4:80");
    told(
        &["--connected-to", https, "https://en.wiki.test/"],
        &[
            "TLS to 198.41.0.4:443 with the server name en.wiki.test, taken for:",
            "CONNECT en.wiki.test:443",
            "forward|443|default/wiki|*.wiki.test",
        ],
    );
    told(
        &["--connected-to", https, "https://evil.test/"],
        &["no TLS", "the alert access_denied, for 403 egress_denied{not_listed}", "has the host `evil.test`"],
    );
    told(
        &["--connected-to", https, "--sni", "", "https://api.test/"],
        &["without a server name", "CONNECT 198.41.0.4:443", "egress_denied{not_listed}"],
    );
    told(
        &["--connected-to", https, "--sni", "2130706433", "https://api.test/"],
        &["closed", "the server name is not the name of a destination"],
    );
    told(
        &["--connected-to", http, "http://api.test/x"],
        &["HTTP to 198.41.0.4:80:", "forward|80|default/api|api.test", "sent      GET /x HTTP/1.1"],
    );
    told(&["--connected-to", "198.41.0.4:8080", "http://api.test/"], &["400", "egress_port_mismatch"]);
    told(
        &["--connected-to", "198.41.0.9:25", "tcp://mail"],
        &["a connection to 198.41.0.9:25, taken for:", "forward|25|default/mail|mail.test"],
    );
    // Where the server may be the first to send, what the client sends has no part.
    told(&["--connected-to", "198.41.0.9:25", "http://evil.test:25/"], &["forward|25|default/mail|mail.test"]);
    told(&["--connected-to", "198.41.0.4:25", "tcp://mail"], &["closed", "for 403 egress_denied{not_listed}"]);
    told(&["tcp://mail"], &["add `--connected-to`"]);
    // Of several servers one has to be named.
    let second = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: second, namespace: istio-system, annotations: {moongate.dev/original-destination: REDIRECT}}\nspec:\n  selector: {istio: egressgateway}\n  servers:\n  - {port: {number: 15002, name: transparent, protocol: HTTP_PROXY}, hosts: [en.wiki.test]}\n---\n";
    fs::write(world.folder.path().join("a.yaml"), format!("{second}{config}{mail}")).unwrap();
    let port = PROXY.to_string();
    let several = format!("add `--redirected-to` with one of their ports ({port}, 15002)");
    told(&["--connected-to", http, "http://api.test/x"], &[&several]);
    let to = |port| ["--connected-to", http, "--redirected-to", port, "http://api.test/x"];
    told(&to(&port), &["forward|80|default/api|api.test"]);
    told(&to("15002"), &["403"]);
    told(&to("15003"), &["no server takes redirected connections on port 15003", "15002"]);
    fs::write(world.folder.path().join("a.yaml"), world.config("", "")).unwrap();
    told(
        &["--connected-to", http, "http://api.test/x"],
        &["no Gateway has the annotation `moongate.dev/original-destination`"],
    );
}
