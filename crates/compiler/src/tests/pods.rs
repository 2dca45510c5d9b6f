//! Subsets by the labels of Pods (DR-06): which endpoints have them, and what is said where none has.

use super::world::{compiled, endpoints, findings, found, gateway, set, virtual_service};
use crate::{Memo, Settings, compile};
use resources::set::Change;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec:\n  selector: {app: web}\n  ports: [{name: http, port: 80}]\n---\n";

fn slice(endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: default, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{endpoints}]\n---\n"
    )
}

fn pod(name: &str, version: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {{app: web, version: {version}}}}}\n{rest}\n---\n"
    )
}

fn rule() -> String {
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web, namespace: default}\nspec:\n  host: web\n  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]\n---\n".to_owned()
}

fn routes() -> String {
    let spec = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - route:\n    - {destination: {host: web, subset: v1}, weight: 1}\n    - {destination: {host: web, subset: v2}, weight: 1}\n";
    [gateway("gw", "'*'"), virtual_service("one", spec), rule(), SERVICE.to_owned()].concat()
}

const V1: &str = "outbound|80|v1|web.default.svc.cluster.local";
const V2: &str = "outbound|80|v2|web.default.svc.cluster.local";

#[test]
fn dr_06_endpoints_have_the_labels_of_their_pods() {
    let pods = [
        pod("web-a", "v1", "status: {phase: Running, podIP: 10.0.0.1}"),
        pod("web-b", "v2", "status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}"),
        // The slice says that the endpoint is not ready.
        pod("web-c", "v2", "status: {podIP: 10.0.0.3, conditions: [{type: Ready, status: 'False'}]}"),
    ];
    let endpoints_of =
        "{addresses: [10.0.0.1]}, {addresses: ['fd00::2']}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4]}";
    let all = compiled(&[routes(), slice(endpoints_of), pods.concat()].concat());
    assert_eq!(endpoints(&all, V1), ["10.0.0.1:8080"]);
    assert_eq!(endpoints(&all, V2), ["10.0.0.3:8080", "[fd00::2]:8080"]);
    assert!(findings(&all).is_empty(), "{:?}", findings(&all));
}

#[test]
fn dr_06_a_pod_that_is_named_comes_before_one_with_the_address() {
    let pods = [
        pod("web-a", "v1", "status: {podIP: 10.0.0.1}"),
        pod("web-b", "v2", "status: {podIP: 10.0.0.9}"),
        // Ended: its address may be another's now. On the node's network: the address is many Pods'.
        pod("old", "v2", "status: {phase: Failed, podIP: 10.0.0.2}"),
        pod("host", "v2", "spec: {hostNetwork: true}\nstatus: {podIP: 10.0.0.3}"),
    ];
    let named = "{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-b}}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4], targetRef: {kind: Pod, name: web-a, namespace: default}}, {addresses: [10.0.0.5], targetRef: {kind: Pod, name: host}}";
    let all = compiled(&[routes(), slice(named), pods.concat()].concat());
    assert_eq!(endpoints(&all, V1), ["10.0.0.4:8080"]);
    assert_eq!(endpoints(&all, V2), ["10.0.0.1:8080", "10.0.0.5:8080"]);
}

#[test]
fn dr_06_a_subset_without_endpoints_is_an_error_that_says_503() {
    let without = compiled(&[routes(), slice("{addresses: [10.0.0.1]}")].concat());
    assert_eq!(findings(&without), ["MG8050 DestinationRule default/web", "MG8050 DestinationRule default/web"]);
    let said = found(&without, "MG8050");
    assert!(said.contains("subset `v1` matches no endpoint") && said.contains("requests get 503"), "{said}");
    let unready = slice("{addresses: [10.0.0.1], conditions: {ready: false}}, {addresses: [10.0.0.2]}");
    let pods = [pod("a", "v1", "status: {podIP: 10.0.0.1}"), pod("b", "v2", "status: {podIP: 10.0.0.2}")].concat();
    let one = compiled(&[routes(), unready, pods].concat());
    assert_eq!(findings(&one), ["MG8050 DestinationRule default/web"]);
    // Subsets without a route are not reported.
    assert!(findings(&compiled(&[rule(), SERVICE.to_owned()].concat())).is_empty());
}

#[test]
fn a_pod_changes_the_clusters_of_its_services_alone() {
    let pods: String = (0..10_000_u32)
        .map(|i| pod(&format!("other-{i}"), "v1", &format!("status: {{podIP: 10.1.{}.{}}}", i / 256, i % 256)))
        .collect();
    let text = [routes(), slice("{addresses: [10.0.0.1]}"), pods].concat();
    let (settings, mut memo) = (Settings::default(), Memo::default());
    let first = set(&text);
    compile(&first, &settings, &mut memo);
    let step = |set: &resources::set::ResourceSet, memo: &mut Memo, pod: String| {
        let next = set.with(super::world::objects(&pod).into_iter().map(Change::Put));
        let compiled = compile(&next, &settings, memo);
        let said = findings(&compiled).len();
        (next, compiled.delta.changes.unwrap().clusters.len(), said)
    };
    let (second, clusters, said) = step(&first, &mut memo, pod("other-7", "v2", "status: {podIP: 10.1.0.7}"));
    assert_eq!((clusters, said), (0, 2));
    let (third, clusters, said) = step(&second, &mut memo, pod("web-a", "v1", "status: {podIP: 10.0.0.1}"));
    assert_eq!((clusters, said), (1, 1));
    let (_, clusters, said) = step(&third, &mut memo, pod("web-a", "v2", "status: {podIP: 10.0.0.1}"));
    assert_eq!((clusters, said), (2, 1));
}
