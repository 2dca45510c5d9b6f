//! Where Nodes say that endpoints and the gateway are (DR-13, DR-14).

use super::world::{compiled_with, findings, gateway, objects, set, virtual_service};
use crate::{Compiled, Memo, Settings, compile};
use ir::{EndpointSource, Locality};
use resources::set::{Change, ResourceSet};

fn routes(policy: &str) -> String {
    let spec = "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - route: [{destination: {host: web}}]";
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web, namespace: default}}\n\
         spec: {{host: web, trafficPolicy: {{outlierDetection: {{}}, {policy}}}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n"
    );
    [gateway("gw", "'*'"), virtual_service("one", spec), rule].concat()
}

fn slice(endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: web-1, namespace: default, labels: {{kubernetes.io/service-name: web}}}}\n\
         addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{endpoints}]\n---\n"
    )
}

fn node(name: &str, labels: &str) -> String {
    let labels =
        labels.replace("region:", "topology.kubernetes.io/region:").replace(" zone:", " topology.kubernetes.io/zone:");
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n")
}

fn at(locality: &str) -> Settings {
    let mut settings = Settings::default();
    settings.workloads[0].locality = Some(Locality(locality.into()));
    settings
}

/// Locality and priority of each endpoint, in the order of their addresses.
fn places(compiled: &Compiled) -> Vec<(String, u32)> {
    let cluster = compiled.snapshot.clusters.values().next().unwrap();
    let EndpointSource::Static(endpoints) = &cluster.endpoints else { panic!("{cluster:?}") };
    let place =
        |one: &ir::Endpoint| (one.locality.as_ref().map_or(String::new(), |one| one.0.to_string()), one.priority);
    endpoints.iter().map(place).collect()
}

fn expected(places: &[(&str, u32)]) -> Vec<(String, u32)> {
    places.iter().map(|(place, priority)| ((*place).to_owned(), *priority)).collect()
}

const ENDPOINTS: &str = "{addresses: [10.0.0.1], nodeName: near, zone: z1}, {addresses: [10.0.0.2], nodeName: far, zone: z9}, \
                         {addresses: [10.0.0.3], nodeName: plain, zone: z1}, {addresses: [10.0.0.4], nodeName: none, zone: z9}, \
                         {addresses: [10.0.0.5]}";

#[test]
fn dr_13_the_region_of_an_endpoint_is_that_of_its_node() {
    let nodes = [
        node("near", "region: south, zone: z1, topology.istio.io/subzone: x"),
        // Its zone is what the slice says.
        node("far", "region: north"),
        node("plain", "kubernetes.io/os: linux"),
    ];
    let text = [routes(""), slice(ENDPOINTS), nodes.concat()].concat();
    let compiled = compiled_with(&text, &at("south/z1/x"));
    let found = places(&compiled);
    let wanted = expected(&[("south/z1/x", 0), ("north/z9", 2), ("south/z1", 1), ("/z9", 2), ("", 2)]);
    assert_eq!(found, wanted);
}

#[test]
fn dr_13_endpoints_have_the_node_and_the_label_of_their_pods() {
    let pods = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default, labels: {istio-locality: south.z1}}\n---\n\
                apiVersion: v1\nkind: Endpoints\nmetadata: {name: web, namespace: default}\n\
                subsets: [{addresses: [{ip: 10.0.0.1, nodeName: far, targetRef: {kind: Pod, name: a}}, {ip: 10.0.0.2, nodeName: far}], \
                ports: [{name: http, port: 8080}]}]\n---\n";
    let text = [&routes(""), pods, &node("far", "region: north, zone: z2")].concat();
    assert_eq!(places(&compiled_with(&text, &at("south/z1"))), expected(&[("south/z1", 0), ("north/z2", 1)]));
}

#[test]
fn dr_14_a_gateway_is_where_its_node_is_unless_it_is_told() {
    let mut settings = Settings::default();
    settings.workloads[0].node = Some("own".into());
    let failover = "loadBalancer: {localityLbSetting: {failover: [{from: south, to: north}]}}";
    let text =
        [routes(failover), slice(ENDPOINTS), node("near", "region: south"), node("far", "region: north")].concat();
    let (mut memo, first) = (Memo::default(), set(&text));
    let unknown = compile(&first, &settings, &mut memo);
    assert_eq!(findings(&unknown), ["MG8014 DestinationRule default/web"]);
    assert!(places(&unknown).iter().all(|(_, priority)| *priority == 0));
    let step = |set: &ResourceSet, memo: &mut Memo, text: &str| {
        let next = set.with(objects(text).into_iter().map(Change::Put));
        let compiled = compile(&next, &settings, memo);
        (next, compiled)
    };
    let (second, known) = step(&first, &mut memo, &node("own", "region: south"));
    assert!(findings(&known).is_empty());
    let priorities = |compiled: &Compiled| places(compiled).into_iter().map(|(_, one)| one).collect::<Vec<_>>();
    assert_eq!(priorities(&known), [0, 1, 2, 2, 2]);
    let (_, moved) = step(&second, &mut memo, &node("own", "region: north"));
    assert_eq!(priorities(&moved), [1, 0, 1, 1, 1]);
    settings.workloads[0].locality = Some(Locality("north".into()));
    assert_eq!(priorities(&compile(&second, &settings, &mut Memo::default())), [1, 0, 1, 1, 1]);
}

#[test]
fn a_node_that_moves_changes_the_clusters_of_its_endpoints_alone() {
    let other = routes("").replace("web", "other").replace("name: one", "name: two").replace("a.test", "b.test");
    let (_, other) = other.split_once("---\n").unwrap();
    let text = [
        routes(""),
        other.to_owned(),
        slice(ENDPOINTS),
        slice("{addresses: [10.0.1.1], nodeName: far}").replace("web", "other"),
    ];
    let (settings, mut memo, first) = (at("south"), Memo::default(), set(&text.concat()));
    compile(&first, &settings, &mut memo);
    let step = |set: &ResourceSet, memo: &mut Memo, node: String| {
        let next = set.with(objects(&node).into_iter().map(Change::Put));
        let compiled = compile(&next, &settings, memo);
        (next, compiled.delta.changes.unwrap().clusters.len(), compiled.work.clusters)
    };
    let (second, changed, _) = step(&first, &mut memo, node("near", "region: south"));
    assert_eq!(changed, 1);
    let (third, changed, _) = step(&second, &mut memo, node("far", "region: south"));
    assert_eq!(changed, 2);
    let (_, _, built) = step(&third, &mut memo, node("far", "region: south, kubernetes.io/os: linux"));
    assert_eq!(built, 0, "it is where it was");
}

#[test]
fn dr_14_a_gateway_that_moves_changes_clusters_alone() {
    let mut settings = Settings::default();
    settings.workloads[0].node = Some("own".into());
    let failover = "loadBalancer: {localityLbSetting: {failover: [{from: south, to: north}]}}";
    let unused = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: unused, namespace: default}\n\
                  spec: {host: unused, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}}\n---\n";
    let text = [&routes(failover), unused, &slice(ENDPOINTS), &node("near", "region: south")].concat();
    let (mut memo, first) = (Memo::default(), set(&text));
    let unknown = compile(&first, &settings, &mut memo);
    assert_eq!(findings(&unknown), ["MG8014 DestinationRule default/unused", "MG8014 DestinationRule default/web"]);
    let second = first.with(objects(&node("own", "region: south")).into_iter().map(Change::Put));
    let known = compile(&second, &settings, &mut memo);
    assert_eq!(known.work, crate::compiled::Work { clusters: 1, ..Default::default() });
    let changes = known.delta.changes.as_ref().unwrap();
    assert_eq!((changes.clusters.len(), changes.hosts.len(), changes.listeners.len()), (1, 0, 0));
    assert_eq!(
        (findings(&known), &known.snapshot),
        (vec![], &compile(&second, &settings, &mut Memo::default()).snapshot)
    );
    let third = second.with([Change::Delete(objects(&node("own", ""))[0].object_ref())]);
    let forgotten = compile(&third, &settings, &mut memo);
    assert_eq!((findings(&forgotten), forgotten.snapshot), (findings(&unknown), unknown.snapshot));
    assert_eq!(forgotten.work, crate::compiled::Work { clusters: 1, ..Default::default() });
}

/// Istio compares regions as texts, so that a gateway that knows its region sees such a Node in another. A Node must not make its endpoints look
/// farther away than the zone of their EndpointSlice alone does.
#[test]
fn dr_13_a_node_without_a_region_is_as_near_as_its_zone() {
    let subzone = "topology.istio.io/subzone: x";
    // Where the gateway is, the labels of the Node, the zone of the EndpointSlice, where the Node is, and how far away that is.
    let cases = [
        ("south/z1/x", "a: b, zone: z1", "", "south/z1", Some(1)),
        ("south/z1/x", "a: b, zone: z1, SUBZONE", "", "south/z1/x", Some(0)),
        ("south/z1/x", "SUBZONE", "z1", "south/z1/x", Some(0)),
        ("south/z1/x", "a: b, zone: z2", "z1", "/z2", Some(3)),
        ("south/z1/x", "a: b, zone: south-b", "", "south/south-b", Some(2)),
        ("south/z1/x", "region: south, zone: z2", "", "south/z2", Some(2)),
        ("south/z1/x", "region: north, zone: z1", "", "north/z1", Some(3)),
        ("south/z1/x", "a: b", "z1", "south/z1", Some(1)),
        ("/z1", "a: b, zone: z1", "", "/z1", None),
        ("south", "a: b, zone: z1", "", "/z1", None),
        ("south", "a: b", "z1", "/z1", None),
    ];
    let known = [
        node("near", &format!("region: south, zone: z1, {subzone}")),
        node("in-zone", "region: south, zone: z1, topology.istio.io/subzone: other"),
        node("in-region", "region: south, zone: z7"),
        node("far", "region: north, zone: z1"),
    ];
    let of_known = "{addresses: [10.0.0.1], nodeName: near}, {addresses: [10.0.0.2], nodeName: in-zone}, \
                    {addresses: [10.0.0.3], nodeName: in-region}, {addresses: [10.0.0.4], nodeName: far}";
    for (own, labels, zone, place, distance) in cases {
        let one = node("one", &labels.replace("SUBZONE", subzone));
        let endpoints = slice(&format!("{of_known}, {{addresses: [10.0.0.5], nodeName: one, zone: '{zone}'}}"));
        let found = places(&compiled_with(&[routes(""), endpoints, known.concat(), one].concat(), &at(own)));
        assert_eq!(found[4].0, place, "{own} {labels} {zone}");
        assert!(distance.is_none_or(|distance| found[4].1 == distance), "{own} {labels} {zone}: {found:?}");
    }
}
