//! `/metrics` in both formats, as Prometheus' own parsers and linter read them, and the ports where Istio has them.

use super::clients::script;
use super::operation::{direct, get, server, start, status};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::backend::Backend;
use testkit::client::{self, Answer, Request};
use testkit::gateway::Gateway;
use testkit::python::Python;
use testkit::wait::until;
use testkit::{debian, ports};

/// What Prometheus 2 sends.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn scrape(address: SocketAddr, target: &str, host: &str, accept: &str) -> Answer {
    let headers = [("Host".to_owned(), host.to_owned()), ("Accept".to_owned(), accept.to_owned())];
    client::send(address, &Request { method: "GET", target, headers: &headers, body: b"" }).unwrap()
}

fn page(gateway: &Gateway, accept: &str) -> (Option<String>, String) {
    let answer = scrape(gateway.admin, "/metrics", "localhost", accept);
    (answer.header("content-type"), String::from_utf8(answer.body).unwrap())
}

/// The configuration of [`with_all_families`].
fn all_families(port: u16, own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let indented = |text: String| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: g, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 80, name: http, protocol: HTTP}}
    hosts: ['*']
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [b.test]
    tls: {{mode: SIMPLE, credentialName: own}}
  - port: {{number: 9000, name: tcp, protocol: TCP}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: b, namespace: default}}
spec:
  hosts: [b.test]
  gateways: [g]
  http:
  - match: [{{uri: {{prefix: /}}, statPrefix: 'a\"b\\c'}}]
    route: [{{destination: {{host: backend.test, port: {{number: 80}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: t, namespace: default}}
spec:
  hosts: ['*']
  gateways: [g]
  tcp:
  - match: [{{port: 9000}}]
    route: [{{destination: {{host: backend.test, port: {{number: 80}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: b, namespace: default}}
spec:
  host: backend.test
  trafficPolicy:
    connectionPool: {{tcp: {{maxConnections: 5}}, http: {{http1MaxPendingRequests: 5}}}}
    outlierDetection: {{consecutive5xxErrors: 5}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: b, namespace: default}}
spec:
  hosts: [backend.test]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: own, namespace: istio-system}}
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(own.cert.pem()),
        indented(own.signing_key.serialize_pem())
    )
}

/// A gateway that has something to count in every family: TLS, a cluster with limits and outlier detection, a route with a `statPrefix`
/// that has to be escaped.
fn with_all_families(folder: &Path, backend: SocketAddr) -> Gateway {
    let own = rcgen::generate_simple_self_signed(["b.test".to_owned()]).unwrap();
    let text = all_families(backend.port(), &own);
    fs::write(folder.join("all.yaml"), text).unwrap();
    let gateway = start(folder, &[80, 443, 9000], &[]);
    assert_eq!(status(&gateway, 80, "b.test"), 200);
    assert_eq!(status(&gateway, 80, "nobody.test"), 404);
    assert_eq!(get(&gateway, 9000, "b.test").unwrap().status, 200);
    for family in ["moongate_route_requests_total{", "istio_tcp_sent_bytes_total{", "envoy_cluster_upstream_cx_active{"]
    {
        until(family, || page(&gateway, "*/*").1.contains(family));
    }
    gateway
}

#[test]
fn metrics_are_valid_in_both_formats_and_keep_to_prometheus_rules() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start(1, None).unwrap());
    let gateway = with_all_families(folder.path(), backend.address);

    let (kind, open) = page(&gateway, PROMETHEUS);
    assert_eq!(kind.as_deref(), Some(OPEN_METRICS));
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1, "{open}");
    assert!(open.contains("# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total "), "{open}");

    let (kind, text) = page(&gateway, "*/*");
    assert_eq!(kind.as_deref(), Some(TEXT));
    assert!(!text.contains("# EOF"), "{text}");
    assert!(text.contains("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "), "{text}");
    assert!(text.contains("# HELP istio_requests_total Requests.\n# TYPE istio_requests_total counter\n"), "{text}");
    assert!(
        text.contains("moongate_route_requests_total{stat_prefix=\"a\\\"b\\\\c\",response_code=\"200\"} 1\n"),
        "{text}"
    );

    let documented = include_str!("../../../../docs/metrics.md");
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(documented.contains(&format!("| `{name}` |")), "{name} is not in docs/metrics.md");
    }
    read_by_python(folder.path(), &open, &text);
    read_by_promtool(&text);
}

fn read_by_python(folder: &Path, open: &str, text: &str) {
    let Some(python) = Python::with(&["prometheus-client"]).unwrap() else { return };
    let files = [("metrics.open", open), ("metrics.text", text)].map(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let output = python.command(&script("metrics.py"), &[&files[0], &files[1]]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for family in ["istio_requests counter", "istio_request_bytes histogram", "process_open_fds gauge"] {
        assert!(told.lines().any(|line| line == family), "{family} is not in {told}");
    }
}

/// The linter accepts all but one name, which is Istio's own.
fn read_by_promtool(text: &str) {
    let Some(promtool) = debian::program("prometheus", "promtool").unwrap() else { return };
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.trim(),
        "istio_request_duration_milliseconds use base unit \"seconds\" instead of \"milliseconds\"",
        "{text}"
    );
}

#[test]
fn istios_scrapers_find_the_metrics_and_nothing_else_on_the_ports_that_they_know() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), server("g", 80) + &direct("a", "g", 201)).unwrap();
    let [agent, proxy] = [ports::free(), ports::free()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let gateway = start(folder.path(), &[80], &[&format!("--istio-ports={agent},{proxy}")]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    // By the name of a Service, which the admin pages would reject.
    let host = "istio-ingressgateway.istio-system:15020";
    for address in [agent, proxy] {
        for (accept, kind) in [(PROMETHEUS, OPEN_METRICS), ("*/*", TEXT)] {
            let answer = scrape(address, "/stats/prometheus", host, accept);
            assert_eq!((answer.status, answer.header("content-type").as_deref()), (200, Some(kind)));
            assert!(String::from_utf8(answer.body).unwrap().contains("moongate_worker_generation{worker=\"0\"} 1\n"));
        }
        for target in ["/", "/config", "/report", "/metrics"] {
            assert_eq!(scrape(address, target, host, "*/*").status, 404, "{target}");
        }
    }
    assert_eq!(scrape(agent, "/healthz/ready", host, "*/*").status, 200);
    assert_eq!(scrape(proxy, "/healthz/ready", host, "*/*").status, 404);
    assert_eq!(scrape(gateway.admin, "/metrics", host, "*/*").status, 403);
    for (name, address) in [("agent", agent), ("proxy", proxy)] {
        let line = format!("at the port of Istio's {name} url=http://{address}/stats/prometheus address={address}");
        until("the log names the address", || gateway.log().contains(&line));
    }
}
