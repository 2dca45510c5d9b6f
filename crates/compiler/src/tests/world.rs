//! YAML to a compilation, and short ways to look at what came out.

use crate::{Compiled, Memo, Settings, compile};
use ir::{Action, Host, HostPattern, HttpTable, Listener, Route, TargetCluster};
use resources::read::{documents, read};
use resources::set::{AnyObject, Change, ResourceSet};
use std::path::Path;
use std::sync::Arc;

/// The objects of some YAML, which has to be without errors.
pub(super) fn objects(yaml: &str) -> Vec<AnyObject> {
    let file: Arc<Path> = Path::new("in.yaml").into();
    let mut objects = Vec::new();
    for document in documents(yaml) {
        let reading = read(&file, document);
        assert!(reading.rejected.is_empty() && !reading.unreadable, "{:?}", reading.diagnostics);
        objects.extend(reading.objects);
    }
    objects
}

pub(super) fn set(yaml: &str) -> ResourceSet {
    ResourceSet::default().with(objects(yaml).into_iter().map(Change::Put))
}

pub(super) fn compiled(yaml: &str) -> Compiled {
    compiled_with(yaml, &Settings::default())
}

pub(super) fn compiled_with(yaml: &str, settings: &Settings) -> Compiled {
    compile(&set(yaml), settings, &mut Memo::default())
}

/// A Gateway of the ingress on port 80 with these hosts, in `default`.
pub(super) fn gateway(name: &str, hosts: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
         selector: {{istio: ingressgateway}}\n  servers:\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    \
         hosts: [{hosts}]\n---\n"
    )
}

/// A ServiceEntry with port 80 and one endpoint per port given, labelled `version: v1`, `v2` and so on.
pub(super) fn entry(host: &str, ports: &[u16]) -> String {
    let endpoints: String = (1..)
        .zip(ports)
        .map(|(n, port)| format!("  - {{address: 127.0.0.1, ports: {{http: {port}}}, labels: {{version: v{n}}}}}\n"))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {}, namespace: default}}\nspec:\n  \
         hosts: ['{host}']\n  resolution: STATIC\n  ports:\n  - {{number: 80, name: http, protocol: HTTP}}\n  \
         endpoints:\n{endpoints}---\n",
        host.replace(['.', '*'], "-").trim_start_matches('-')
    )
}

/// A VirtualService in `default`, with the rest of its spec indented by two.
pub(super) fn virtual_service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n{spec}\n---\n"
    )
}

pub(super) fn listeners(compiled: &Compiled) -> Vec<String> {
    compiled.snapshot.listeners.keys().map(ToString::to_string).collect()
}

pub(super) fn listener(compiled: &Compiled, port: u16) -> Arc<Listener> {
    let found = compiled.snapshot.listeners.values().find(|listener| listener.id.address.port() == port);
    Arc::clone(found.unwrap())
}

/// The table of clear text on a port.
pub(super) fn http(compiled: &Compiled, port: u16) -> Arc<HttpTable> {
    let found =
        compiled.snapshot.tables.iter().find(|(id, _)| id.server.is_none() && id.listener.address.port() == port);
    Arc::clone(found.unwrap().1)
}

/// The names of the hosts of the listener on port 80.
pub(super) fn hosts(compiled: &Compiled) -> Vec<String> {
    http(compiled, 80).hosts.keys().map(ToString::to_string).collect()
}

pub(super) fn host(compiled: &Compiled, name: &str) -> Arc<Host> {
    Arc::clone(http(compiled, 80).hosts.get(&HostPattern::parse(name).unwrap()).unwrap())
}

/// The routes of a host: cluster ids, `!` and the id where the cluster does not exist, or the other action.
pub(super) fn routes(compiled: &Compiled, name: &str) -> Vec<String> {
    host(compiled, name).routes.iter().map(|route| target(route)).collect()
}

fn target(route: &Route) -> String {
    match &route.action {
        Action::Forward(forward) => {
            let one = |target: &ir::Target| match &target.cluster {
                TargetCluster::Known(id) => id.to_string(),
                TargetCluster::Unknown { id, .. } => format!("!{id}"),
            };
            forward.targets.iter().map(one).collect::<Vec<_>>().join(" + ")
        }
        Action::Redirect(redirect) => format!("redirect {}", redirect.status),
        Action::Respond(response) => format!("respond {}", response.status),
    }
}

/// All codes of the report, with their objects.
pub(super) fn findings(compiled: &Compiled) -> Vec<String> {
    compiled.report.iter().map(|found| format!("{} {}", found.code, found.object.as_ref().unwrap())).collect()
}

/// What is said with a code, each in a line.
pub(super) fn found(compiled: &Compiled, code: &str) -> String {
    let said = compiled.report.iter().filter(|found| found.code == code);
    said.map(|found| format!("{}: {}; {}\n", found.field, found.message, found.help.as_deref().unwrap_or(""))).collect()
}

/// The ports of a cluster's endpoints.
pub(super) fn endpoints(compiled: &Compiled, id: &str) -> Vec<String> {
    let cluster = compiled.snapshot.clusters.values().find(|cluster| cluster.id.as_str() == id).unwrap();
    match &cluster.endpoints {
        ir::EndpointSource::Static(all) => all.iter().map(|endpoint| endpoint.address.to_string()).collect(),
        ir::EndpointSource::Dns { names, first_only } => {
            names.iter().map(|name| format!("{}:{} {first_only}", name.name, name.port)).collect()
        }
        ir::EndpointSource::Dynamic(dynamic) => vec![format!("dynamic {:?}", dynamic.port)],
        ir::EndpointSource::Never(_) => vec!["never".to_owned()],
        ir::EndpointSource::Withheld(..) => vec!["no TLS".to_owned()],
    }
}
