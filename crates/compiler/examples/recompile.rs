//! What a compilation costs, and what one change costs after it: `cargo run --release -p compiler --example recompile [HOSTS]`.
//!
//! A Gateway with one server for HTTP and one for HTTPS, and by default 20,000 hosts, each a VirtualService with its ServiceEntry. For the first
//! compilation and for each change: the median of several rounds in milliseconds, with the least and the greatest; memory is what is
//! resident after the first compilation less what was before it.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]

use compiler::{Memo, Settings, compile};
use resources::read::{documents, read};
use resources::set::{AnyObject, Change, ResourceSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 7;
/// Gateways beside that of the hosts, each with a port of its own.
const OTHERS: usize = 50;

fn main() {
    let hosts: usize = std::env::args().nth(1).map_or(20_000, |text| text.parse().unwrap());
    let mut yaml = gateway("'*'") + &secured("a.example.com");
    for n in 0..OTHERS {
        yaml += &other(n, "x.example.com");
    }
    for n in 0..hosts {
        yaml += &host(n, "/");
    }
    let set = ResourceSet::default().with(objects(&yaml).into_iter().map(Change::Put));
    drop(yaml);
    let settings = Settings::default();
    println!("{hosts} hosts{:>34}{:>18}", "ms", "spread");
    let before = resident();
    let mut memo = Memo::default();
    compile(&set, &settings, &mut memo);
    let after = resident();
    let mut first = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let compiled = compile(&set, &settings, &mut Memo::default());
        first.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(compiled);
    }
    show("the first compilation", first);
    let edits: [(&str, [String; 2]); 6] = [
        ("another route of a host", [host(7, "/a"), host(7, "/b")]),
        ("another certificate of a server without hosts", [secured("a.example.com"), secured("b.example.com")]),
        ("another host of a Gateway on a port of its own", [other(3, "y.example.com"), other(3, "z.example.com")]),
        (
            "a further host of the Gateway of all hosts",
            [gateway("'*', one.example.com"), gateway("'*', two.example.com")],
        ),
        ("other labels of the Gateway of all hosts", [labelled("a"), labelled("b")]),
        ("all hosts of the Gateway", [gateway("'*.example.com'"), gateway("'*.com'")]),
    ];
    let mut set = set;
    for (name, versions) in edits {
        let mut times = Vec::new();
        for version in versions.iter().cycle().take(ROUNDS + 1) {
            set = set.with(objects(version).into_iter().map(Change::Put));
            let begun = Instant::now();
            let compiled = compile(&set, &settings, &mut memo);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            assert!(compiled.delta.changes.is_some());
        }
        // The first of them goes from another state.
        times.remove(0);
        show(name, times);
    }
    println!("memory: {:.1} MB", (after - before) / 1e6);
}

fn show(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    println!(
        "{name:<48}{:>10.3}{:>8.3} to {:.3}",
        times[times.len() / 2],
        times.first().unwrap(),
        times.last().unwrap()
    );
}

/// Octets of memory that are resident.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

fn objects(yaml: &str) -> Vec<AnyObject> {
    let file: Arc<Path> = Path::new("in.yaml").into();
    documents(yaml).flat_map(|document| read(&file, document).objects).collect()
}

fn gateway(hosts: &str) -> String {
    istio(
        "Gateway",
        "edge",
        "",
        &format!("selector: {{istio: ingressgateway}}, servers: [{}]", server(80, "HTTP", hosts)),
    )
}

fn labelled(label: &str) -> String {
    let spec = format!("selector: {{istio: ingressgateway}}, servers: [{}]", server(80, "HTTP", "'*'"));
    istio("Gateway", "edge", &format!(", labels: {{version: {label}}}"), &spec)
}

fn secured(host: &str) -> String {
    let tls = "tls: {mode: SIMPLE, credentialName: missing}";
    let server = format!("{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [{host}], {tls}}}");
    istio("Gateway", "secured", "", &format!("selector: {{istio: ingressgateway}}, servers: [{server}]"))
}

fn other(n: usize, host: &str) -> String {
    let server = server(10_000 + n, "HTTP", host);
    istio("Gateway", &format!("other-{n}"), "", &format!("selector: {{istio: ingressgateway}}, servers: [{server}]"))
}

fn server(port: usize, protocol: &str, hosts: &str) -> String {
    format!("{{port: {{number: {port}, name: p{port}, protocol: {protocol}}}, hosts: [{hosts}]}}")
}

fn host(n: usize, prefix: &str) -> String {
    let route = format!("match: [{{uri: {{prefix: {prefix}}}}}], route: [{{destination: {{host: service-{n}.test}}}}]");
    let spec = format!("hosts: [host-{n}.example.com], gateways: [edge], http: [{{{route}}}]");
    let entry = format!(
        "hosts: [service-{n}.test], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, \
         endpoints: [{{address: 127.0.0.1}}]"
    );
    istio("VirtualService", &format!("host-{n}"), "", &spec)
        + &istio("ServiceEntry", &format!("service-{n}"), "", &entry)
}

fn istio(kind: &str, name: &str, meta: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default{meta}}}\nspec: {{{spec}}}\n---\n"
    )
}
