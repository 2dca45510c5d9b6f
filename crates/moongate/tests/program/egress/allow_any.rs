//! `ALLOW_ANY` to addresses of the internet (E-27), in a network of the test's own, where such an address is this machine's.

use super::{PROXY, World, curl, seen};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use testkit::backend::Backend;
use testkit::network::{self, MACHINE};
use testkit::secured::Certificates;
use testkit::wait::until;

/// An address of the internet.
const PUBLIC: [u8; 4] = [198, 41, 0, 4];

#[test]
fn e_27_allow_any_reaches_the_internet_and_no_network_of_ones_own() {
    network::within(|_| allow_any_reaches_the_internet_and_no_network_of_ones_own());
}

fn allow_any_reaches_the_internet_and_no_network_of_ones_own() {
    let added = Command::new("ip").args(["addr", "add", "198.41.0.4/32", "dev", "lo"]).status().unwrap();
    assert!(added.success());
    let certificates = Certificates::of_project().unwrap();
    let secured = certificates.backend("back0", None).unwrap();
    let public = |port: u16| SocketAddr::from((PUBLIC, port));
    let _http = Backend::start_at(public(80), 9003, None).unwrap();
    let _https = Backend::start_at(public(443), 9013, Some(secured)).unwrap();
    let _other = Backend::start_at(public(8080), 9004, None).unwrap();
    // There is a server at the private address as well.
    let _inside = Backend::start_at((MACHINE, 80).into(), 9005, None).unwrap();
    let world = World::new();
    for (name, addresses) in [
        ("public.test", &[PUBLIC][..]),
        ("inside.test", &[MACHINE.octets()]),
        ("mixed.test", &[MACHINE.octets(), PUBLIC, [127, 0, 0, 1]]),
    ] {
        world.names.set(name, addresses);
    }
    let mesh = world.folder.path().join("mesh.yaml");
    let log = world.folder.path().join("decisions.log");
    let args = ["--mesh-config", mesh.to_str().unwrap(), "--decision-log", log.to_str().unwrap()];
    fs::write(&mesh, "outboundTrafficPolicy: {mode: ALLOW_ANY}\n").unwrap();
    let gateway = world.start(&world.config("", ""), &args);
    let proxy = format!("http://{}", gateway.address(PROXY));
    // By name, by address, and on any port; a name with private addresses as well is reached at its public one.
    for (url, backend) in [
        ("http://public.test/", 9003),
        ("http://198.41.0.4/", 9003),
        ("http://public.test:8080/", 9004),
        ("http://mixed.test/", 9003),
    ] {
        let answer = curl(&proxy, url, &[]);
        assert_eq!(seen(&answer).backend, backend, "{url}: {answer:?}");
    }
    let tunnel = curl(&proxy, "https://public.test/", &["-k"]);
    assert_eq!((tunnel.connect, seen(&tunnel).sni.as_deref()), (200, Some("public.test")));
    // In a tunnel to port 443 it is the name that is checked.
    let other = curl(&proxy, "https://other.test/", &["-k", "--connect-to", "other.test:443:public.test:443"]);
    assert_eq!((other.connect, other.status), (200, 0), "{other:?}");
    for (url, status, reason) in [
        ("http://inside.test/", 403, "private"),
        ("http://10.244.0.1/", 403, "private"),
        ("http://127.0.0.1/", 403, "loopback"),
        ("http://169.254.169.254/latest/meta-data/", 403, "cloud metadata"),
        // An IPv4 address has one spelling.
        ("http://[::ffff:10.244.0.1]/", 400, "stands for an IPv4 address"),
        ("http://[::1]/", 403, "loopback"),
    ] {
        let denied = curl(&proxy, url, &[]);
        assert_eq!(denied.status, status, "{url}: {denied:?}");
        assert!(denied.body.contains(reason) && !denied.body.contains("9005"), "{url}: {denied:?}");
    }
    // What a ServiceEntry names keeps its ports.
    assert_eq!(curl(&proxy, "http://api.test:8080/", &[]).status, 403);
    let records = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>()
    };
    let not_listed = serde_json::json!(["egress_denied{not_listed}"]);
    until("the log has what would be denied", || {
        records().iter().any(|record| {
            record["authority"] == "public.test:443"
                && record["decision"] == "allowed"
                && record["would_deny"] == not_listed
                && record["endpoint"] == "198.41.0.4:443"
        })
    });
    drop(gateway);
    fs::write(&mesh, "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n").unwrap();
    let gateway = world.start(&world.config("", ""), &args);
    let proxy = format!("http://{}", gateway.address(PROXY));
    for url in ["http://public.test/", "http://198.41.0.4/", "http://mixed.test/"] {
        assert_eq!(curl(&proxy, url, &[]).status, 403, "{url}");
    }
}
