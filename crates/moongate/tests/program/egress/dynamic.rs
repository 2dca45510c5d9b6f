//! `DYNAMIC_DNS` behind servers of a Gateway (SE-09, E-43).

use super::{PROGRAM, PROXY, World, curl, seen};
use std::fs;
use std::path::Path;
use testkit::gateway::{Gateway, Start};

/// DYNAMIC_DNS behind servers of a Gateway: by the SNI, and by `Host`.
#[test]
fn se_09_e_43_a_wildcard_host_is_resolved_by_the_name_of_each_client() {
    let world = World::new();
    let (http, https) = (world.clear.address.port(), world.secured.address.port());
    let config = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: out, namespace: istio-system}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: {PROXY}, name: tls, protocol: TLS}}\n    hosts: ['*']\n    tls: {{mode: PASSTHROUGH}}\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    hosts: ['*']\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: wiki\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: ['*.wiki.test']\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n  ports:\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {https}}}\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: closed, namespace: default}}\nspec:\n  hosts: ['*.closed.test']\n  location: MESH_EXTERNAL\n  resolution: DYNAMIC_DNS\n  ports:\n  - {{number: 443, name: tls, protocol: TLS, targetPort: {https}}}\n  - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: wiki, namespace: istio-system}}\nspec:\n  hosts: ['*']\n  gateways: [out]\n  tls:\n  - match: [{{sniHosts: ['*.closed.test']}}]\n    route: [{{destination: {{host: '*.closed.test', port: {{number: 443}}}}}}]\n  - match: [{{sniHosts: ['*.test']}}]\n    route: [{{destination: {{host: '*.wiki.test', port: {{number: 443}}}}}}]\n  http:\n  - match: [{{authority: {{regex: '.*closed.test'}}}}]\n    route: [{{destination: {{host: '*.closed.test', port: {{number: 80}}}}}}]\n  - route: [{{destination: {{host: '*.wiki.test', port: {{number: 80}}}}}}]\n"
    );
    world.names.set("a.closed.test", &[[127, 0, 0, 1]]);
    fs::write(world.folder.path().join("a.yaml"), &config).unwrap();
    let names = world.names.address.to_string();
    let args = ["--as", "egress", "--bind", "127.0.0.1", "--name-servers", &names].map(str::to_owned).to_vec();
    let paths = vec![world.folder.path().join("a.yaml")];
    let start = Start { program: Path::new(PROGRAM), paths, ports: vec![PROXY, 80], args };
    let gateway = Gateway::start(&start).unwrap();
    let to = |name: &str, port: u16| {
        let resolve = format!("{name}:{}:127.0.0.1", gateway.address(port).port());
        let scheme = if port == PROXY { "https" } else { "http" };
        curl("", &format!("{scheme}://{name}:{}/x", gateway.address(port).port()), &["--resolve", &resolve])
    };
    assert_eq!(seen(&to("en.wiki.test", PROXY)).sni.as_deref(), Some("en.wiki.test"));
    assert_eq!(seen(&to("en.wiki.test", 80)).backend, 9001);
    // Other names, and addresses that are not allowed, reach nothing.
    for name in ["evil.test", "wiki.test", "a.closed.test"] {
        assert_ne!(to(name, PROXY).code, Some(0), "{name}");
        assert_eq!(to(name, 80).status, 403, "{name}");
    }
    assert_eq!(to("unknown.wiki.test", 80).status, 502);
}
