//! The example of the README, to the letter.

use super::world::{compiled, entry, findings, hosts, listener, listeners, routes, virtual_service};

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata:
  name: my-gateway
  namespace: default
spec:
  selector:
    istio: ingressgateway
  servers:
  - port:
      number: 80
      name: http
      protocol: HTTP
    hosts:
    - dev.example.com
    - test.example.com
---
";

fn to(host: &str, backend: &str) -> String {
    format!("  hosts: [{host}]\n  gateways: [my-gateway]\n  http:\n  - route: [{{destination: {{host: {backend}}}}}]")
}

fn example() -> String {
    let dev = virtual_service("dev", &to("dev.example.com", "dev.test"));
    let test = virtual_service("test", &to("test.example.com", "test.test"));
    [GATEWAY, &dev, &test, &entry("dev.test", &[9001]), &entry("test.test", &[9002])].concat()
}

#[test]
fn the_example_serves_both_hosts_on_one_address() {
    let compiled = compiled(&example());
    assert_eq!(listeners(&compiled), ["ingress [::]:80"]);
    assert_eq!(hosts(&compiled), ["dev.example.com", "test.example.com"]);
    assert_eq!(routes(&compiled, "dev.example.com"), ["outbound|80||dev.test"]);
    assert_eq!(routes(&compiled, "test.example.com"), ["outbound|80||test.test"]);
    assert!(findings(&compiled).is_empty(), "{:?}", compiled.report);
    assert_eq!(compiled.delta.changes, None);
    assert_eq!(listener(&compiled, 80).server_port, 80);
}

#[test]
fn s_50_a_virtual_service_that_names_no_gateway_routes_nothing_and_is_reported() {
    let mesh =
        virtual_service("mesh", "  hosts: [dev.example.com]\n  http:\n  - route: [{destination: {host: a.test}}]");
    let compiled = compiled(&[GATEWAY, &mesh].concat());
    assert!(hosts(&compiled).is_empty());
    assert_eq!(findings(&compiled), ["MG7001 VirtualService default/mesh"]);
}

#[test]
fn s_52_hosts_that_do_not_overlap_route_nothing_and_are_reported() {
    let compiled = compiled(&[GATEWAY, &virtual_service("other", &to("prod.example.com", "a.test"))].concat());
    assert!(hosts(&compiled).is_empty());
    assert_eq!(findings(&compiled), ["MG7006 VirtualService default/other"]);
    let found = compiled.report.iter().next().unwrap();
    assert!(found.message.contains("none of its hosts overlaps"), "{}", found.message);
    assert!(found.help.as_ref().unwrap().contains("dev.example.com, test.example.com"), "{:?}", found.help);
}
