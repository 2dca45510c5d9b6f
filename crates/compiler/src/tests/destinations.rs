//! What destinations mean and where their endpoints are (VS-31, VS-32, SE-05 to SE-14, WE-01).

use super::world::{compiled, compiled_with, endpoints, entry, findings, gateway, routes, virtual_service};
use crate::{Compiled, Settings};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  ports: [{name: http, port: 8000, targetPort: 9001}]
---
";
const SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 9001}]
endpoints: [{addresses: [127.0.0.2]}, {addresses: [127.0.0.1], conditions: {ready: false}}]
---
";

fn to(destination: &str) -> String {
    let spec = format!("  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - route: [{{destination: {{{destination}}}}}]");
    [gateway("gw", "'*'"), virtual_service("one", &spec)].concat()
}

fn one(destination: &str, others: &[&str]) -> Compiled {
    compiled(&[to(destination), others.concat()].concat())
}

#[test]
fn vs_31_a_short_name_is_a_service_of_the_own_namespace_and_its_only_port_is_taken() {
    let compiled = one("host: web", &[SERVICE, SLICE]);
    assert_eq!(routes(&compiled, "a.test"), ["outbound|8000||web.default.svc.cluster.local"]);
    assert_eq!(endpoints(&compiled, "outbound|8000||web.default.svc.cluster.local"), ["127.0.0.2:9001"]);
    assert!(findings(&compiled).is_empty());
}

#[test]
fn vs_31_of_several_ports_that_of_the_server_is_taken_and_reported() {
    let two = SERVICE.replace("ports: [", "ports: [{name: more, port: 80}, ");
    let compiled = one("host: web", &[&two, SLICE]);
    assert_eq!(routes(&compiled, "a.test"), ["outbound|80||web.default.svc.cluster.local"]);
    assert_eq!(findings(&compiled), ["MG8005 VirtualService default/one"]);
}

#[test]
fn vs_32_what_is_unknown_is_a_failing_route_with_its_reason() {
    let host = one("host: missing", &[]);
    assert_eq!(routes(&host, "a.test"), ["!outbound|80||missing.default.svc.cluster.local"]);
    assert_eq!(findings(&host), ["MG8001 VirtualService default/one"]);
    let port = one("host: web, port: {number: 1}", &[SERVICE, SLICE]);
    assert_eq!(routes(&port, "a.test"), ["!outbound|1||web.default.svc.cluster.local"]);
    assert_eq!(findings(&port), ["MG8003 VirtualService default/one"]);
    let subset = one("host: web, subset: v1", &[SERVICE, SLICE]);
    assert_eq!(routes(&subset, "a.test"), ["!outbound|8000|v1|web.default.svc.cluster.local"]);
    assert_eq!(findings(&subset), ["MG8004 VirtualService default/one"]);
    assert!(subset.snapshot.clusters.is_empty());
}

#[test]
fn se_01_a_wildcard_entry_is_no_destination_for_the_hosts_it_covers() {
    let compiled = one("host: x.wild.test", &[&entry("*.wild.test", &[9001])]);
    assert_eq!(routes(&compiled, "a.test"), ["!outbound|80||x.wild.test"]);
}

#[test]
fn se_12_a_host_that_is_not_exported_is_unknown() {
    let private = entry("b.test", &[9001]).replace("  hosts:", "  exportTo: ['.']\n  hosts:");
    assert_eq!(findings(&one("host: b.test", &[&private])), ["MG8002 VirtualService default/one"]);
    let annotated = SERVICE.replace(
        "namespace: default}",
        "namespace: default, annotations: {networking.istio.io/exportTo: 'default, x'}}",
    );
    assert_eq!(findings(&one("host: web", &[&annotated, SLICE])), ["MG8002 VirtualService default/one"]);
    let exported = annotated.replace("default, x", "x,istio-system");
    assert!(findings(&one("host: web", &[&exported, SLICE])).is_empty());
    let mut settings = Settings::default();
    settings.mesh.default_service_export_to = vec![".".into()];
    let hidden = compiled_with(&[to("host: b.test"), entry("b.test", &[9001])].concat(), &settings);
    assert_eq!(findings(&hidden), ["MG8002 VirtualService default/one"]);
}

#[test]
fn s_55_a_service_keeps_its_host_from_service_entries() {
    let squatting = entry("web.default.svc.cluster.local", &[9009]);
    let compiled = one("host: web", &[SERVICE, SLICE, &squatting.replace("number: 80", "number: 8000")]);
    assert_eq!(endpoints(&compiled, "outbound|8000||web.default.svc.cluster.local"), ["127.0.0.2:9001"]);
}

#[test]
fn se_05_resolution_none_never_has_endpoints() {
    let none = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ext, namespace: default}\nspec:\n  hosts: [n.test]\n  \
                ports: [{number: 80, name: http, protocol: HTTP}]\n";
    let compiled = one("host: n.test", &[none]);
    assert_eq!(endpoints(&compiled, "outbound|80||n.test"), ["never"]);
    assert_eq!(findings(&compiled), ["MG8008 ServiceEntry default/ext"]);
}

#[test]
fn se_07_dns_resolves_the_endpoints_or_the_host_itself() {
    let dns = |resolution: &str, rest: &str| {
        let entry = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ext, namespace: default}}\nspec:\n  hosts: [n.test]\n  \
             resolution: {resolution}\n  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]\n{rest}"
        );
        endpoints(&one("host: n.test", &[&entry]), "outbound|80||n.test")
    };
    assert_eq!(dns("DNS", ""), ["n.test:8080 false"]);
    assert_eq!(
        dns("DNS", "  endpoints: [{address: b.test}, {address: a.test, ports: {http: 1}}]"),
        ["a.test:1 false", "b.test:8080 false"]
    );
    assert_eq!(dns("DNS_ROUND_ROBIN", "  endpoints: [{address: a.test}]"), ["a.test:8080 true"], "SE-08");
    assert_eq!(dns("DNS", "  endpoints: [{address: 127.0.0.1}]"), ["127.0.0.1:8080"], "an address needs no resolver");
}

#[test]
fn se_10_an_endpoints_own_port_comes_first_then_the_target_port_then_the_number() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ext, namespace: default}\nspec:\n  hosts: [n.test]\n  \
                 resolution: STATIC\n  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, \
                 {number: 81, name: other, protocol: HTTP}]\n  \
                 endpoints: [{address: 127.0.0.1, ports: {http: 1}}, {address: 127.0.0.2}, {address: 127.0.0.3, ports: {other: 2}}]\n";
    let compiled = one("host: n.test, port: {number: 80}", &[entry]);
    assert_eq!(endpoints(&compiled, "outbound|80||n.test"), ["127.0.0.1:1", "127.0.0.2:8080", "127.0.0.3:8080"]);
}

#[test]
fn se_11_a_selector_takes_workload_entries_of_its_namespace() {
    let selecting = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ext, namespace: default}\nspec:\n  hosts: [n.test]\n  \
                     resolution: STATIC\n  ports: [{number: 80, name: http, protocol: HTTP}]\n  workloadSelector: {labels: {app: ext}}\n---\n";
    let workload = |namespace: &str, address: &str, app: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: w{app}, namespace: {namespace}}}\nspec: {{address: \
             {address}, labels: {{app: {app}}}}}\n---\n"
        )
    };
    let (own, other, elsewhere) = (
        workload("default", "127.0.0.1", "ext"),
        workload("default", "127.0.0.2", "m"),
        workload("apps", "127.0.0.3", "ext"),
    );
    let compiled = one("host: n.test", &[selecting, &own, &other, &elsewhere]);
    assert_eq!(endpoints(&compiled, "outbound|80||n.test"), ["127.0.0.1:80"]);
    assert_eq!(findings(&one("host: n.test", &[selecting, &other])), ["MG8007 ServiceEntry default/ext"]);
}

#[test]
fn we_01_a_service_takes_workload_entries_that_it_selects() {
    let workload = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: w, namespace: default}\nspec: {address: 127.0.0.5, \
                    labels: {app: web}}\n";
    let compiled = one("host: web", &[SERVICE, workload]);
    assert_eq!(endpoints(&compiled, "outbound|8000||web.default.svc.cluster.local"), ["127.0.0.5:9001"]);
}

#[test]
fn se_14_entries_of_one_namespace_with_one_host_put_their_endpoints_together() {
    let more = entry("b.test", &[9002]).replace("name: b-test", "name: more");
    let compiled = one("host: b.test", &[&entry("b.test", &[9001]), &more]);
    assert_eq!(endpoints(&compiled, "outbound|80||b.test"), ["127.0.0.1:9001", "127.0.0.1:9002"]);
}

#[test]
fn a_service_without_slices_is_resolved_by_dns_or_overridden_and_one_with_empty_slices_is_not() {
    let id = "outbound|8000||web.default.svc.cluster.local";
    let by_dns = one("host: web", &[SERVICE]);
    assert_eq!(endpoints(&by_dns, id), ["web.default.svc:8000 false"]);
    assert_eq!(findings(&by_dns), ["MG8006 Service default/web"]);
    let headless = SERVICE.replace("selector:", "clusterIP: None\n  selector:");
    assert_eq!(endpoints(&one("host: web", &[&headless]), id), ["web.default.svc:9001 false"]);
    let addresses = vec!["127.0.0.9:1".parse().unwrap()];
    let settings =
        Settings { endpoints: [("web.default.svc.cluster.local".into(), addresses)].into(), ..Settings::default() };
    let overridden = compiled_with(&[to("host: web").as_str(), SERVICE].concat(), &settings);
    assert_eq!(endpoints(&overridden, id), ["127.0.0.9:1"]);
    assert!(findings(&overridden).is_empty());
    let empty = SLICE.replace("endpoints: [", "endpoints: [] #");
    assert!(endpoints(&one("host: web", &[SERVICE, &empty]), id).is_empty());
}

#[test]
fn endpoints_stand_in_for_slices() {
    let old = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: web, namespace: default}\nsubsets: [{addresses: [{ip: 127.0.0.7}], \
               notReadyAddresses: [{ip: 127.0.0.8}], ports: [{name: http, port: 9007}]}]\n";
    let id = "outbound|8000||web.default.svc.cluster.local";
    assert_eq!(endpoints(&one("host: web", &[SERVICE, old]), id), ["127.0.0.7:9007"]);
    assert_eq!(endpoints(&one("host: web", &[SERVICE, SLICE, old]), id), ["127.0.0.2:9001"]);
}

#[test]
fn s_119_a_port_speaks_http2_where_its_name_or_protocol_says_so() {
    let protocol = |service: &str| {
        let compiled = one("host: web", &[service, SLICE]);
        let cluster = compiled.snapshot.clusters.values().next().unwrap().clone();
        assert!(findings(&compiled).is_empty());
        matches!(cluster.protocol, ir::UpstreamProtocol::Http2 { .. })
    };
    assert!(!protocol(SERVICE));
    assert!(protocol(&SERVICE.replace("{name: http,", "{name: http2-x,")));
    assert!(protocol(&SERVICE.replace("{name: http,", "{name: grpc-web,")));
    assert!(!protocol(&SERVICE.replace("{name: http,", "{name: grpcs,")));
    let said = |by: &str| SERVICE.replace("targetPort: 9001", &format!("targetPort: 9001, appProtocol: {by}"));
    assert!(protocol(&said("kubernetes.io/h2c")));
    assert!(!protocol(&said("http").replace("{name: http,", "{name: grpc,")));
}
