//! Decisions of a forward proxy.

use super::*;
use ir::{ClusterId, ForwardAddress, ForwardHost, HostPattern, ObjectKind, Origin};

fn origin() -> Origin {
    Origin { kind: ObjectKind::ServiceEntry, namespace: "a".into(), name: "b".into(), rule: "".into() }
}

fn port((number, protocol): &(u16, ForwardProtocol), host: &str) -> ForwardPort {
    ForwardPort {
        number: *number,
        protocol: *protocol,
        cluster: ClusterId::forward(*number, ("a", "b"), host),
        origin: origin(),
    }
}

fn proxy(hosts: &[(&str, &[(u16, ForwardProtocol)])], others: bool) -> ForwardProxy {
    let host = |(host, ports): &(&str, &[(u16, ForwardProtocol)])| ForwardHost {
        host: HostPattern::parse(host).unwrap(),
        ports: ports.iter().map(|one| port(one, host)).collect(),
    };
    let addresses = ForwardAddress {
        range: "10.1.0.0/16".parse().unwrap(),
        ports: vec![port(&(5432, ForwardProtocol::Tcp), "db.test")].into(),
    };
    ForwardProxy {
        origin: origin(),
        hosts: hosts.iter().map(host).collect(),
        addresses: Box::new([addresses]),
        others: others.then(ClusterId::passthrough),
        users: None,
        retries: None,
    }
}

fn build(proxy: &ForwardProxy) -> AllowList {
    AllowList::build(proxy, &mut |_| 0)
}

fn asked(text: &str) -> RequestedDestination<'_> {
    let (is_tunnel, authority) = match text.strip_prefix("CONNECT ") {
        Some(authority) => (true, authority),
        None => (false, text.split_once("://").unwrap().1),
    };
    let is_https = text.starts_with("https://");
    let destination = Destination::parse(authority.as_bytes()).unwrap();
    RequestedDestination {
        is_tunnel,
        is_https,
        host: destination.host,
        port: destination.port.unwrap_or(if is_https { 443 } else { 80 }),
    }
}

fn decide(list: &AllowList, text: &str) -> String {
    match list.decide(&asked(text)) {
        Ok(route) => route.cluster(0).to_owned(),
        Err(DenialCause::Port(ports, entry)) => {
            assert_eq!(entry, Some(Box::new(origin())));
            format!("Port({ports:?})")
        }
        Err(denial) => format!("{denial:?}"),
    }
}

const HTTP: ForwardProtocol = ForwardProtocol::Http;
const TLS: ForwardProtocol = ForwardProtocol::Tls;

#[test]
fn e_40_e_41_what_no_service_entry_names_is_denied() {
    let list = build(&proxy(
        &[
            ("api.test", &[(80, HTTP), (443, TLS), (22, ForwardProtocol::Tcp)]),
            ("*.wiki.test", &[(443, TLS)]),
            ("deep.wiki.test", &[(80, HTTP)]),
        ],
        false,
    ));
    let table = [
        ("http://api.test", "forward|80|a/b|api.test"),
        ("http://api.test:80", "forward|80|a/b|api.test"),
        ("CONNECT api.test:443", "forward|443|a/b|api.test"),
        ("CONNECT api.test:22", "forward|22|a/b|api.test"),
        ("CONNECT en.wiki.test:443", "forward|443|a/b|*.wiki.test"),
        ("CONNECT a.b.wiki.test:443", "forward|443|a/b|*.wiki.test"),
        ("CONNECT wiki.test:443", "NotListed"),
        ("CONNECT evilwiki.test:443", "NotListed"),
        ("CONNECT api.test.evil.test:443", "NotListed"),
        ("http://sub.api.test", "NotListed"),
        // The most specific pattern decides, and nothing falls through to the wildcard.
        ("CONNECT deep.wiki.test:443", "Port([80])"),
        ("http://api.test:8080", "Port([22, 80, 443])"),
        ("CONNECT api.test:80", "Tunnel"),
        ("http://api.test:443", "Request"),
        ("http://api.test:22", "Request"),
        ("https://api.test", "Https"),
        ("CONNECT 10.1.2.3:5432", "forward|5432|a/b|db.test"),
        ("CONNECT 10.2.2.3:5432", "NotListed"),
        ("CONNECT 10.1.2.3:5433", "Port([5432])"),
        ("http://169.254.169.254", "NotListed"),
        ("CONNECT [2606:4700::1]:443", "NotListed"),
    ];
    for (text, expected) in table {
        assert_eq!(decide(&list, text), expected, "{text}");
    }
}

#[test]
fn e_44_only_addresses_that_are_declared_as_tcp_have_tunnels_in_which_nothing_is_read() {
    for others in [false, true] {
        let list = build(&proxy(&[("api.test", &[(22, ForwardProtocol::Tcp)])], others));
        let is_raw = |address: [u8; 4], port: u16| list.is_raw(address.into(), port);
        assert!(is_raw([10, 1, 2, 3], 5432));
        assert!(!is_raw([10, 1, 2, 3], 22) && !is_raw([10, 2, 2, 3], 5432) && !is_raw([198, 41, 0, 4], 22));
    }
}

#[test]
fn e_27_allow_any_is_for_what_nothing_names() {
    let list = build(&proxy(&[("api.test", &[(443, TLS)])], true));
    assert_eq!(decide(&list, "http://other.test"), "PassthroughCluster");
    assert_eq!(decide(&list, "CONNECT other.test:22"), "PassthroughCluster");
    assert_eq!(decide(&list, "http://api.test"), "Port([443])");
    let protocol = |text: &str| list.decide(&asked(text)).unwrap().proxied;
    assert_eq!(protocol("CONNECT other.test:443"), Some(TLS));
    assert_eq!(protocol("CONNECT other.test:22"), Some(ForwardProtocol::Tcp));
}

#[test]
fn answers_say_what_to_do() {
    let asked = asked("CONNECT api.test:8443");
    let body = |denial: DenialCause| {
        let answer = denial.answer(&asked);
        assert_eq!(answer.status, 403);
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    assert!(body(DenialCause::NotListed).contains("add a ServiceEntry with the host and the port 8443"));
    assert!(body(DenialCause::Port([443].into(), None)).contains("allowed on port 443, and not on port 8443"));
    assert!(body(DenialCause::Https).contains("send CONNECT api.test:8443"));
}

#[test]
fn ten_thousand_names_are_decided_by_the_index() {
    let names: Vec<String> = (0..10_000)
        .map(|at| if at % 10 == 0 { format!("*.w{at}.example.com") } else { format!("n{at}.example.com") })
        .collect();
    let hosts: Vec<(&str, &[(u16, ForwardProtocol)])> =
        names.iter().map(|name| (name.as_str(), &[(443, TLS)][..])).collect();
    let list = build(&proxy(&hosts, false));
    for at in 0..10_000 {
        let asked_for = if at % 10 == 0 {
            format!("CONNECT x.w{at}.example.com:443")
        } else {
            format!("CONNECT n{at}.example.com:443")
        };
        assert!(list.decide(&asked(&asked_for)).is_ok(), "{asked_for}");
    }
    assert!(list.decide(&asked("CONNECT n10.example.com:443")).is_err());
}
