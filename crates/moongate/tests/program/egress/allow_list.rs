//! What clients of a forward proxy reach: what ServiceEntries name, and what `ALLOW_ANY` adds (E-27, E-40, E-41).

use super::{PROXY, World, curl, seen};
use std::fs;
use testkit::wait::until;

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
    for hop in [
        "proxy-authorization",
        "proxy-connection",
        "forwarded:",
        "x-forwarded-for",
        "x-request-id",
        "x-envoy-attempt-count",
    ] {
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
