//! The decision log of a forward proxy, and `moongate egress suggest`: what was denied, what would allow it, and that it does.

use super::egress::{PROGRAM, PROXY, World, curl, seen};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::wait::until;

/// The records of requests.
fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["kind"] == "request").collect()
}

fn suggest(args: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(["egress", "suggest"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn records_say_what_dns_answered_and_what_was_denied() {
    let world = World::new();
    world.names.set("mixed.wiki.test", &[[169, 254, 169, 254], [127, 0, 0, 1]]);
    let log = world.folder.path().join("decisions.log");
    let gateway = world.start(&world.config("", ""), &["--decision-log", log.to_str().unwrap()]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    for (url, args) in [
        ("https://mixed.wiki.test/", &[][..]),
        ("http://internal.test/", &[]),
        ("http://evil.test/", &[]),
        ("http://gone.test/", &[]),
        ("http://api.test:9024/", &[]),
        ("http://127.0.0.1./", &[]),
        ("https://wiki.test/", &["--connect-to", "wiki.test:443:en.wiki.test:443"]),
    ] {
        curl(&proxy, url, args);
    }
    until("all are logged", || records(&log).len() >= 7);
    let records = records(&log);
    let of = |authority: &str| {
        let found = records.iter().find(|record| record["authority"] == authority);
        found.unwrap_or_else(|| panic!("{authority}: {records:#?}")).clone()
    };
    let mixed = of("mixed.wiki.test:443");
    assert_eq!(mixed["resolved"], serde_json::json!(["169.254.169.254 (cloud metadata)", "127.0.0.1"]), "{mixed}");
    assert_eq!(mixed["endpoint"], format!("127.0.0.1:{}", world.secured.address.port()));
    let internal = of("internal.test");
    assert_eq!(internal["resolved"], serde_json::json!(["127.0.0.1 (loopback)"]), "{internal}");
    for (authority, decision, reason) in [
        ("mixed.wiki.test:443", "allowed", "via_upstream"),
        ("internal.test", "denied", "egress_denied{address}"),
        ("evil.test", "denied", "egress_denied{not_listed}"),
        ("gone.test", "failed", "egress_unresolved"),
        ("api.test:9024", "failed", "upstream_reset_before_response_started{remote_connection_failure"),
        ("127.0.0.1.", "denied", "egress_invalid_destination"),
        ("en.wiki.test:443", "denied", "egress_denied{sni}"),
    ] {
        let record = of(authority);
        assert_eq!(record["decision"], decision, "{record}");
        assert!(record["reason"].as_str().is_some_and(|told| told.starts_with(reason)), "{record}");
        assert_eq!(record.get("would_deny"), None, "{record}");
    }
    assert_eq!(of("evil.test").get("resolved"), None);
}

#[test]
fn what_is_suggested_for_a_denial_allows_it_and_passes_the_check() {
    let world = World::new();
    let log = world.folder.path().join("decisions.log");
    // The names of destinations lead to the backends.
    let (http, https) = (world.clear.address, world.secured.address);
    let endpoints = [("new.test", http), ("a.more.test", http), ("sni.test", https), ("xapi.test", http)];
    let endpoints = endpoints.map(|(host, address)| format!("{host}={address}")).join(",");
    let config = world.config("", "");
    let args = ["--decision-log", log.to_str().unwrap(), "--endpoint", &endpoints];
    let gateway = world.start(&config, &args);
    let proxy = format!("http://{}", gateway.address(PROXY));
    // Listed without this port, at which there is a server.
    let other_port = format!("http://api.test:{}/", http.port());
    let urls = ["http://new.test/", "http://a.more.test:8080/", "https://sni.test/", &other_port];
    let statuses = |url: &str| {
        let curled = curl(&proxy, url, &["-k"]);
        (curled.connect, curled.status)
    };
    for url in urls {
        assert!([(0, 403), (403, 0)].contains(&statuses(url)), "{url}");
    }
    curl(&proxy, "http://169.254.169.254/latest/meta-data/", &[]);
    until("all are logged", || records(&log).len() >= 5);
    let path = world.folder.path().join("a.yaml");
    let log = log.to_str().unwrap();
    let named = suggest(&[log]);
    assert!(named.contains("ServiceEntry default/api has api.test without these ports"), "{named}");
    let text = suggest(&[log, "-f", path.to_str().unwrap()]);
    assert!(text.starts_with("# 5 denials of 5 records\n"), "{text}");
    let suggested = world.folder.path().join("suggested.yaml");
    fs::write(&suggested, &text).unwrap();
    let check = Command::new(PROGRAM).args(["check", "--as", "egress"]).args([&suggested]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
    // As a user applies it: in place of what it has anew, and beside all else.
    let kept: Vec<&str> = config.split("---\n").filter(|document| !document.contains("  name: api\n")).collect();
    assert!(text.contains("  name: api\n") && kept.len() + 1 == config.split("---\n").count());
    fs::write(&path, format!("{}---\n{text}", kept.join("---\n"))).unwrap();
    until("the first is allowed", || statuses(urls[0]) == (0, 200));
    assert_eq!(seen(&curl(&proxy, urls[0], &[])).backend, 9001);
    assert_eq!(seen(&curl(&proxy, urls[1], &[])).backend, 9001);
    assert_eq!(seen(&curl(&proxy, urls[2], &["-k"])).sni.as_deref(), Some("sni.test"));
    // With the port; its other ports and the exception for its address are as they were.
    assert_eq!(seen(&curl(&proxy, urls[3], &[])).backend, 9001);
    assert_eq!(seen(&curl(&proxy, "http://api.test/", &[])).backend, 9001);
    assert_eq!(statuses("http://169.254.169.254/latest/meta-data/"), (0, 403));
    // Nothing else is.
    for url in ["http://new.test:8080/", "https://new.test/", "http://other.test/", "http://more.test/"] {
        assert!([(0, 403), (403, 0)].contains(&statuses(url)), "{url}");
    }
}

/// Report-only: what is not enforced is in the log, and what it would deny is suggested.
#[test]
fn what_would_be_denied_is_noted_while_it_is_served() {
    let world = World::new();
    let log = world.folder.path().join("decisions.log");
    let mesh = world.folder.path().join("mesh.yaml");
    fs::write(&mesh, "outboundTrafficPolicy: {mode: ALLOW_ANY}\n").unwrap();
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: later\n  namespace: istio-system\n  annotations: {istio.io/dry-run: 'true'}\nspec:\n  action: DENY\n  rules:\n  - to: [{operation: {methods: [POST]}}]\n  - to: [{operation: {methods: [DELETE]}}]\n";
    let args = ["--decision-log", log.to_str().unwrap(), "--mesh-config", mesh.to_str().unwrap()];
    let gateway = world.start(&world.config("", policy), &args);
    let proxy = format!("http://{}", gateway.address(PROXY));
    assert_eq!(curl(&proxy, "http://api.test/", &[]).status, 200);
    assert_eq!(curl(&proxy, "http://api.test/", &["-X", "DELETE"]).status, 200);
    // Its address is one of this machine, which nothing allows.
    assert_eq!(curl(&proxy, "http://evil.test/", &[]).status, 403);
    until("all are logged", || records(&log).len() >= 3);
    let records = records(&log);
    let of = |method: &str, authority: &str| {
        let found = records.iter().find(|record| record["method"] == method && record["authority"] == authority);
        found.unwrap_or_else(|| panic!("{records:#?}"))["would_deny"].clone()
    };
    assert_eq!(of("GET", "api.test"), Value::Null);
    let rule = "rbac_access_denied_matched_policy[ns[istio-system]-policy[later]-rule[1]]";
    assert_eq!(of("DELETE", "api.test"), serde_json::json!([rule]));
    assert_eq!(of("GET", "evil.test"), serde_json::json!(["egress_denied{not_listed}"]));
    let text = suggest(&[log.to_str().unwrap()]);
    assert!(text.contains("rule 1 of the DENY policy AuthorizationPolicy istio-system/later denies it"), "{text}");
    assert!(text.contains("1 of them were served"), "{text}");
}
