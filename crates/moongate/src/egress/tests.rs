//! What is suggested for records, line by line.

use super::additions::Known;
use super::denials::Denials;
use super::{read, report};
use resources::key::Key;
use serde_json::{Value, json};
use std::io::Cursor;

fn suggest(log: &str, wildcards: bool) -> String {
    suggest_with(log, Known::default(), wildcards)
}

fn suggest_with(log: &str, known: Known, wildcards: bool) -> String {
    let mut denials = Denials::default();
    read(Cursor::new(log.replace('\'', "\"")), &mut denials).unwrap();
    report::text(&denials, &known, "default", wildcards)
}

/// ServiceEntries in `default`.
fn known(entries: &[(&str, Value)]) -> Known {
    let key = |name: &str| Key::new("default", name);
    Known(entries.iter().map(|(name, object)| (key(name), object.clone())).collect())
}

/// A request that was denied.
fn denied(method: &str, authority: &str, reason: &str) -> String {
    format!(
        "{{'chain':'x','seq':1,'time':'2026-11-29T10:00:00Z','kind':'request','client':'10.0.0.1:4000','method':'{method}','authority':'{authority}','decision':'denied','reason':'{reason}','status':403}}\n"
    )
}

const NOT_LISTED: &str = "egress_denied{not_listed}";

/// The lines that are no comments.
fn yaml(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_protocol_is_that_of_what_was_asked_for() {
    let log = [
        denied("GET", "api.example.com", NOT_LISTED),
        denied("POST", "api.example.com:8080", NOT_LISTED),
        denied("CONNECT", "api.example.com:443", NOT_LISTED),
        denied("CONNECT", "git.example.com:9418", NOT_LISTED),
        denied("CONNECT", "198.41.0.4:443", NOT_LISTED),
    ]
    .concat();
    let text = suggest(&log, false);
    assert!(text.starts_with("# 5 denials of 5 records\n"), "{text}");
    for part in [
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: egress-api-example-com\n  namespace: default\nspec:\n  hosts:\n  - \"api.example.com\"\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports:\n  - number: 80\n    name: http-80\n    protocol: HTTP\n  - number: 443\n    name: tls-443\n    protocol: TLS\n  - number: 8080\n    name: http-8080\n    protocol: HTTP\n",
        "# port 9418: what is sent in these tunnels was not seen. If it is TLS declare TLS",
        "  - number: 9418\n    name: tcp-9418\n    protocol: TCP\n",
        "# an address in place of a name: nothing but the port is checked\n---\n",
        "  hosts:\n  - \"egress-198-41-0-4.invalid\"\n  addresses:\n  - \"198.41.0.4\"\n  location: MESH_EXTERNAL\n  resolution: NONE\n",
        "#   clients: 10.0.0.1\n#   egress_denied{not_listed}\n",
    ] {
        assert!(text.contains(part), "{part}\n is not in\n{text}");
    }
}

#[test]
fn what_is_private_is_a_comment_with_a_remark() {
    let resolved = denied("GET", "files.example.com", "egress_denied{address}")
        .replace("'status'", "'resolved':['10.0.0.1 (private)','198.41.0.4'],'status'");
    let log = [
        denied("GET", "169.254.169.254", NOT_LISTED),
        denied("GET", "[fd00:ec2::254]", NOT_LISTED),
        denied("GET", "metadata.google.internal", NOT_LISTED),
        denied("GET", "localhost:8080", NOT_LISTED),
        denied("CONNECT", "kubernetes.default.svc:443", NOT_LISTED),
        denied("CONNECT", "db.prod.svc.cluster.local:5432", NOT_LISTED),
        resolved,
    ]
    .concat();
    for wildcards in [false, true] {
        let text = suggest(&log, wildcards);
        assert_eq!(yaml(&text), "", "{text}");
        assert_eq!(text.matches("# Not without a decision of a person:").count(), 7, "{text}");
        assert!(text.contains("is not one of the internet (cloud metadata)"), "{text}");
        assert!(text.contains("not of the internet: 10.0.0.1 (private), 198.41.0.4."), "{text}");
        assert!(text.contains("#     moongate.dev/allowed-addresses: \"10.0.0.1\"\n"), "{text}");
    }
}

#[test]
fn policies_and_what_no_object_changes_have_remarks() {
    let rows = [
        (
            "rbac_access_denied_matched_policy[ns[team-a]-policy[no-admin]-rule[2]]",
            "rule 2 of the DENY policy AuthorizationPolicy team-a/no-admin",
        ),
        ("rbac_access_denied_matched_policy[none]", "no rule of the ALLOW policies"),
        ("egress_unauthenticated{missing}", "the user and password of the proxy"),
        ("egress_denied{tunnel_to_http}", "declares the port as HTTP"),
        ("egress_denied{sni}", "names another host"),
        ("egress_host_mismatch", "another spelling"),
    ];
    for (reason, remark) in rows {
        let text = suggest(&denied("GET", "api.example.com", reason), false);
        assert!(text.contains(&format!("#   {reason}: ")) && text.contains(remark), "{text}");
        assert_eq!(yaml(&text), "", "{text}");
    }
}

#[test]
fn what_was_served_although_it_would_be_denied_counts_too() {
    let dry = denied("CONNECT", "api.example.com:443", "via_upstream").replace(
        "'denied'",
        "'allowed','would_deny':['egress_denied{not_listed}','rbac_access_denied_matched_policy[none]']",
    );
    let text = suggest(&dry, false);
    assert!(text.starts_with("# 1 denial of 1 record; 1 of them were served"), "{text}");
    assert!(yaml(&text).contains("- \"api.example.com\"") && text.contains("no rule of the ALLOW policies"), "{text}");
}

#[test]
fn wildcards_are_suggested_when_they_are_asked_for_and_names_agree() {
    let tunnel = |host: &str| denied("CONNECT", &format!("{host}:443"), NOT_LISTED);
    let log = [
        tunnel("en.wikipedia.org"),
        tunnel("de.wikipedia.org"),
        tunnel("example.com"),
        tunnel("example.net"),
        tunnel("a.mixed.org"),
        denied("CONNECT", "b.mixed.org:22", NOT_LISTED),
        tunnel("alone.test.org"),
    ]
    .concat();
    let narrow = suggest(&log, false);
    assert!(!narrow.contains('*') && narrow.contains("\"de.wikipedia.org\""), "{narrow}");
    let wide = suggest(&log, true);
    assert!(wide.contains("  - \"*.wikipedia.org\"\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n"), "{wide}");
    assert!(
        wide.contains("# for de.wikipedia.org, en.wikipedia.org\n") && wide.contains("name: egress-any-wikipedia-org")
    );
    for host in ["example.com", "example.net", "a.mixed.org", "b.mixed.org", "alone.test.org"] {
        assert!(wide.contains(&format!("- \"{host}\"")), "{host}: {wide}");
    }
    assert_eq!(wide.matches('*').count() - wide.matches("*.wikipedia.org").count(), 0, "{wide}");
}

#[test]
fn names_of_clients_stay_in_their_comments() {
    let evil = denied("GET", "a.test\\nkind: Secret", "egress_invalid_destination");
    let text = suggest(&(evil + &denied("GET", "under_score.example.com", NOT_LISTED) + "no json\n"), false);
    assert_eq!(yaml(&text), "", "{text}");
    assert!(text.contains("# a.test?kind: Secret (HTTP requests)"), "{text}");
    assert!(text.contains("the host is not a name of DNS"), "{text}");
    assert!(text.contains("# 1 line is not a record"), "{text}");
    assert!(suggest("", false).starts_with("# 0 denials of 0 records\n"));
}

#[test]
fn the_first_and_last_time_and_the_clients_are_told() {
    let at = |time: &str, client: &str| {
        denied("GET", "api.example.com", NOT_LISTED)
            .replace("2026-11-29T10:00:00Z", time)
            .replace("10.0.0.1:4000", client)
    };
    let log = at("2026-11-29T11:00:00Z", "10.0.0.2:1")
        + &at("2026-11-28T11:00:00Z", "[fd00::1]:2")
        + &at("2026-11-29T10:30:00Z", "10.0.0.2:3").replace("'method'", "'principal':'basic/alice','method'");
    let text = suggest(&log, false);
    assert!(text.contains("3 times, from 2026-11-28T11:00:00Z to 2026-11-29T11:00:00Z\n"), "{text}");
    assert!(text.contains("#   clients: 10.0.0.2, [fd00::1], basic/alice\n"), "{text}");
}

/// A request for a port that the ServiceEntry of its host does not have.
fn without_port(method: &str, authority: &str, entry: &str) -> String {
    denied(method, authority, "egress_denied{port}").replace("'reason'", &format!("'rule':'{entry}','reason'"))
}

#[test]
fn a_port_is_added_to_the_service_entry_that_has_the_host() {
    let log = [
        without_port("GET", "api.example.com:8080", "ServiceEntry default/api"),
        without_port("CONNECT", "b.wiki.example.com:8443", "ServiceEntry team-a/wiki"),
    ]
    .concat();
    let text = suggest(&log, false);
    assert_eq!(yaml(&text), "", "a second ServiceEntry of a wildcard's name would take its other ports: {text}");
    for part in [
        "#   egress_denied{port}: ServiceEntry default/api has the host, see below\n",
        "# ServiceEntry default/api has api.example.com without these ports. Add them to `spec.ports`, for all of its hosts:\n# - number: 8080\n#   name: http-8080\n#   protocol: HTTP\n",
        "# kubectl patch serviceentry api --namespace default --type json --patch '[{\"op\":\"add\",\"path\":\"/spec/ports/-\",\"value\":{\"name\":\"http-8080\",\"number\":8080,\"protocol\":\"HTTP\"}}]'\n",
        "# kubectl patch serviceentry wiki --namespace team-a ",
        "# port 8443: what is sent in these tunnels was not seen. If it is TLS, as is usual on this port, declare TLS",
    ] {
        assert!(text.contains(part), "{part}\n is not in\n{text}");
    }
    // What no object is called is not part of a command.
    for forged in ["ServiceEntry default/a'; reboot #", "ServiceEntry default", "VirtualService default/a http[0]"] {
        let text = suggest(&without_port("GET", "api.example.com:8080", &forged.replace('\'', "\\u0027")), false);
        assert!(!text.contains("kubectl") && yaml(&text).contains("- \"api.example.com\""), "{text}");
    }
}

#[test]
fn a_service_entry_that_is_known_is_printed_whole_with_the_port() {
    let object = |hosts: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "status": {"addresses": []},
            "metadata": {"name": "any", "namespace": "default", "resourceVersion": "7", "uid": "u", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "moongate.dev/allowed-addresses": "10.0.0.0/8"}},
            "spec": {"hosts": hosts, "ports": [{"name": "tls", "number": 443, "protocol": "TLS", "targetPort": 8443}]},
        })
    };
    let entries = known(&[
        ("wide", object(json!(["*.example.com"]))),
        ("api", object(json!(["api.example.com", "www.example.com"]))),
        ("wider", object(json!(["*.com"]))),
    ]);
    let log = denied("GET", "api.example.com:8080", "egress_denied{port}")
        + &denied("GET", "api.example.com:8080", "egress_denied{port}")
        + &without_port("CONNECT", "x.example.com:443", "ServiceEntry default/wide");
    let text = suggest_with(&log, entries, true);
    let expected = "# default/api as it is, with the ports that clients of api.example.com asked for, for all of its hosts\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  annotations:\n    moongate.dev/allowed-addresses: 10.0.0.0/8\n  name: any\n  namespace: default\nspec:\n  hosts:\n  - api.example.com\n  - www.example.com\n  ports:\n  - name: tls\n    number: 443\n    protocol: TLS\n    targetPort: 8443\n  - name: http-8080\n    number: 8080\n    protocol: HTTP\n";
    assert!(text.contains(expected), "{text}");
    // A port that it has by now is not added again.
    assert_eq!(text.matches("number: 443").count(), 2, "{text}");
}

#[test]
fn addresses_that_a_service_entry_does_not_allow_are_for_a_person_to_add() {
    let log = denied("GET", "files.example.com", "egress_denied{address}").replace(
        "'reason'",
        "'resolved':['10.0.0.1 (private)','198.41.0.4'],'rule':'ServiceEntry default/any','reason'",
    );
    for (entries, expected) in [
        (Known::default(), "10.0.0.1"),
        (
            known(&[("any", json!({"metadata": {"annotations": {"moongate.dev/allowed-addresses": "fd00::/8"}}}))]),
            "fd00::/8, 10.0.0.1",
        ),
    ] {
        let text = suggest_with(&log, entries, false);
        assert_eq!(yaml(&text), "", "{text}");
        assert!(text.contains("the names of ServiceEntry default/any (files.example.com) have addresses"), "{text}");
        assert!(text.contains(&format!("#     moongate.dev/allowed-addresses: \"{expected}\"\n")), "{text}");
    }
}

/// A denial for addresses of DNS's answer.
fn inside(authority: &str, entry: &str) -> String {
    let reason = format!("egress_denied{{address}}','resolved':['10.0.0.7 private'],'rule':'ServiceEntry {entry}");
    denied("CONNECT", authority, &reason)
}

#[test]
fn no_text_of_a_log_or_of_an_object_ends_a_comment() {
    // `\n` is an escape of JSON, as a line that was forged may have it.
    let forged = "\\n---\\nkind: ServiceEntry\\n";
    let address = "egress_denied{address}";
    let log = [
        inside("db.test:5432", "default/db"),
        denied("CONNECT", &format!("db.test{forged}"), address),
        without_port("GET", "db.test:8080", "ServiceEntry default/db"),
        without_port("GET", &format!("db.test{forged}"), "ServiceEntry default/db"),
        inside(&format!("db.test{forged}"), "ServiceEntry default/db"),
        inside(&format!("other.test{forged}"), "default/other"),
        without_port("CONNECT", "other.test", "ServiceEntry default/other"),
    ]
    .concat();
    let object = json!({"metadata": {"annotations": {"moongate.dev/allowed-addresses": "10.0.0.0/30,\n---\nkind: \"X\""}}, "spec": {"hosts": ["db.test"]}});
    for known in [Known::default(), known(&[("db", object)])] {
        let is_known = !known.0.is_empty();
        let text = suggest_with(&log, known, false);
        let objects = text.lines().filter(|line| *line == "---").count();
        assert_eq!(objects, usize::from(is_known), "{text}");
        assert!(!text.contains("\nkind: ServiceEntry"), "{text}");
        assert!(!text.contains("ServiceEntry default/other ("), "nothing is added for what is no destination: {text}");
        let annotation = "\n#     moongate.dev/allowed-addresses: ";
        let value = if is_known { r#""10.0.0.0/30, ---?kind: \"X\", 10.0.0.7""# } else { r#""10.0.0.7""# };
        assert!(text.contains(&format!("{annotation}{value}\n")), "{text}");
    }
}
