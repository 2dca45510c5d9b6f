//! The requests to both gateways, and their rules: as Istio's resources, and as the Envoy configuration that Istio's control plane makes of them.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Conditions on a header: a name for the table, Istio's and Envoy's.
pub(super) const CONDITIONS: &[(&str, &str, &str)] = &[
    ("exact", "{exact: v}", r#"{"string_match": {"exact": "v"}}"#),
    ("exact-comma", "{exact: 'a,v'}", r#"{"string_match": {"exact": "a,v"}}"#),
    ("prefix", "{prefix: v}", r#"{"string_match": {"prefix": "v"}}"#),
    ("regex", "{regex: v+}", r#"{"string_match": {"safe_regex": {"regex": "v+"}}}"#),
    ("regex-any", "{regex: .*}", r#"{"string_match": {"safe_regex": {"regex": ".*"}}}"#),
    ("regex-some", "{regex: .+}", r#"{"string_match": {"safe_regex": {"regex": ".+"}}}"#),
    ("regex-empty", "{regex: ()}", r#"{"string_match": {"safe_regex": {"regex": "()"}}}"#),
    ("regex-comma", "{regex: 'a,.*'}", r#"{"string_match": {"safe_regex": {"regex": "a,.*"}}}"#),
    ("present", "{}", r#"{"present_match": true}"#),
];

/// The values of a header, one for each of its lines.
pub(super) const VALUES: &[&[&str]] = &[
    &[],
    &[""],
    &["v"],
    &["a"],
    &["vv"],
    &["V"],
    &["a,v"],
    &["v,a"],
    &["v", "a"],
    &["a", "v"],
    &["a", "a"],
    &["v", "v"],
    &["", "v"],
    &["v", ""],
    &["", ""],
    &["a,v", "b"],
    &["a", "v", "a"],
    &["a", "b", "v"],
    &["v", "a", "b"],
    &["a", "b", "c"],
    &["", "", "v"],
    &["", "", ""],
];

/// Headers of which Envoy keeps every line.
pub(super) const NAMES: &[&str] = &["x-role", "cookie"];

/// Rewrites of requests below `/old`: Istio's and Envoy's.
pub(super) const REWRITES: &[(&str, &str)] = &[
    ("{uri: new}", r#"{"prefix_rewrite": "new"}"#),
    ("{uri: /}", r#"{"prefix_rewrite": "/"}"#),
    ("{uri: /v1/}", r#"{"prefix_rewrite": "/v1/"}"#),
    ("{uri: '//e.test'}", r#"{"prefix_rewrite": "//e.test"}"#),
    ("{uri: 'http://e.test/'}", r#"{"prefix_rewrite": "http://e.test/"}"#),
    (r"{uriRegexRewrite: {match: '^/old/(.*)$', rewrite: '\1'}}", r#"["^/old/(.*)$", "\\1"]"#),
    (r"{uriRegexRewrite: {match: '^/old(.*)$', rewrite: '\1'}}", r#"["^/old(.*)$", "\\1"]"#),
    (r"{uriRegexRewrite: {match: '^/old(.*)$', rewrite: '/\1'}}", r#"["^/old(.*)$", "/\\1"]"#),
    (r"{uriRegexRewrite: {match: '^/old/(.*)$', rewrite: 'http://\1'}}", r#"["^/old/(.*)$", "http://\\1"]"#),
    (r"{uriRegexRewrite: {match: '/', rewrite: '-'}}", r#"["/", "-"]"#),
];

/// Redirects of requests below `/old`: Istio's and Envoy's.
pub(super) const REDIRECTS: &[(&str, &str)] = &[
    ("{uri: login}", r#"{"path_redirect": "login"}"#),
    ("{uri: '?q=1'}", r#"{"path_redirect": "?q=1"}"#),
    ("{uri: '/x?y=1'}", r#"{"path_redirect": "/x?y=1"}"#),
    ("{uri: '//e.test'}", r#"{"path_redirect": "//e.test"}"#),
    ("{uri: 'http://e.test/'}", r#"{"path_redirect": "http://e.test/"}"#),
    ("{prefixRewrite: new}", r#"{"prefix_rewrite": "new"}"#),
    ("{prefixRewrite: /}", r#"{"prefix_rewrite": "/"}"#),
    ("{prefixRewrite: '//e.test'}", r#"{"prefix_rewrite": "//e.test"}"#),
    ("{port: 8443}", r#"{"port_redirect": 8443}"#),
    ("{scheme: https}", r#"{"scheme_redirect": "https"}"#),
    ("{authority: 'n.test:9000'}", r#"{"host_redirect": "n.test:9000"}"#),
];

/// The suffixes of `/old`.
pub(super) const BEHIND: &[&str] =
    &["", "/", "/x", "x", "/x?q=/../%", "../admin", "/.e.test/", ".e.test/", "//e.test/", "?q", "..;/a", "/%2e%2e/old"];

/// Paths besides those of one character each.
pub(super) const PATHS: &[&str] = &[
    "/",
    "//",
    "/a//b",
    "/a/./b",
    "/a/../b",
    "/a/b/..",
    "/..",
    "/../x",
    "/a//../b",
    "/%2e%2e/a",
    "/a/%2E./b",
    "/a\\..\\b",
    "/a/..;/b",
    "/a%2561",
    "/a%252e%252e/b",
    "/%c0%af",
    "/a%2f%5Cb",
    "/...",
    "/..a",
    "/a;p=..",
    "/a?b=/../%",
    "/a?%%36",
    "/%%36%31dmin",
    "/%6%31dmin",
    "/x/%%32%65%%32%65/admin",
    "/%2%66admin",
    "/%%30%30",
    "/100%",
    "/a%zz",
    "/a%2",
];

fn virtual_service(name: &str, host: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
         hosts: ['{host}']\n  gateways: [gateway]\n  http:\n{rules}"
    )
}

/// All rules in Istio's words.
pub(super) fn istio(backend: SocketAddr) -> String {
    let mut all = format!(
        "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 8080, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: backend, namespace: default}}
spec:
  hosts: [backend.example]
  resolution: STATIC
  ports: [{{number: 9000, targetPort: {}, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1}}]
",
        backend.port()
    );
    let mut rules = String::new();
    for (name, (kind, written, _)) in NAMES.iter().flat_map(|name| CONDITIONS.iter().map(move |one| (name, one))) {
        for (field, not) in [("headers", ""), ("withoutHeaders", "not-")] {
            let one = format!("{{uri: {{exact: /{name}/{not}{kind}}}, {field}: {{{name}: {written}}}}}");
            writeln!(rules, "  - {{match: [{one}], directResponse: {{status: 204}}}}").unwrap();
        }
    }
    all += &virtual_service("headers", "headers.test", &rules);
    let route = "route: [{destination: {host: backend.example}}]";
    all += &virtual_service("paths", "paths.test", &format!("  - {{{route}}}\n"));
    for (at, (rewrite, _)) in REWRITES.iter().enumerate() {
        let rule = format!("  - {{match: [{{uri: {{prefix: /old}}}}], rewrite: {rewrite}, {route}}}\n");
        all += &virtual_service(&format!("rewrites-{at}"), &format!("{at}.rewrites.test"), &rule);
    }
    for (at, (redirect, _)) in REDIRECTS.iter().enumerate() {
        let rule = format!("  - {{match: [{{uri: {{prefix: /old}}}}], redirect: {redirect}}}\n");
        all += &virtual_service(&format!("redirects-{at}"), &format!("{at}.redirects.test"), &rule);
    }
    all
}

/// The same in Envoy's, as Istio's control plane puts it.
pub(super) fn hosts() -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let host = |name: &str, routes: Vec<Value>| json!({"name": name, "domains": [name, format!("{name}:*")], "routes": routes});
    let mut rules = Vec::new();
    for (name, (kind, _, matcher)) in NAMES.iter().flat_map(|name| CONDITIONS.iter().map(move |one| (name, one))) {
        for not in ["", "not-"] {
            let mut matcher = parsed(matcher);
            matcher["name"] = json!(name);
            matcher["invert_match"] = json!(!not.is_empty());
            matcher["treat_missing_header_as_empty"] = json!(!not.is_empty() && *kind != "present");
            let path = format!("/{name}/{not}{kind}");
            rules.push(json!({"match": {"path": path, "headers": [matcher]}, "direct_response": {"status": 204}}));
        }
    }
    let forward = json!({"match": {"prefix": "/"}, "route": {"cluster": "backend"}});
    let mut all = vec![host("headers.test", rules), host("paths.test", vec![forward])];
    for (at, (_, written)) in REWRITES.iter().enumerate() {
        let mut route = match parsed(written) {
            Value::Array(regex) => {
                json!({"regex_rewrite": {"pattern": {"regex": regex[0]}, "substitution": regex[1]}})
            }
            prefix => prefix,
        };
        route["cluster"] = json!("backend");
        all.push(host(&format!("{at}.rewrites.test"), vec![json!({"match": {"prefix": "/old"}, "route": route})]));
    }
    for (at, (_, redirect)) in REDIRECTS.iter().enumerate() {
        let rule = json!({"match": {"prefix": "/old"}, "redirect": parsed(redirect)});
        all.push(host(&format!("{at}.redirects.test"), vec![rule]));
    }
    Value::Array(all)
}
