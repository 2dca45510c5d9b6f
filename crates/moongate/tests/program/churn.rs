//! A real API server in which much changes, and which fails, while requests flow: none may fail that a change did not ask for.

use crate::program::cluster::{end, routed};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use testkit::backend::Backend;
use testkit::client;
use testkit::cluster::{self, Cluster};
use testkit::gateway::{Gateway, Start};
use testkit::load::{Load, Versions};
use testkit::wait;
use testkit::writes::{self, Write};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

const GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: site, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
"#;

struct World {
    gateway: Gateway,
    cluster: Cluster,
    backend: Backend,
    count: usize,
    /// What hosts may answer with at the moment.
    versions: Arc<Versions>,
}

impl World {
    fn new(count: usize) -> Option<Self> {
        let cluster = cluster::start().unwrap()?;
        cluster.apply_file(&cluster.istio()).unwrap();
        cluster.wait_for_kinds().unwrap();
        let manifests = Command::new(PROGRAM).arg("manifests").output().unwrap();
        cluster.apply(&String::from_utf8(manifests.stdout).unwrap()).unwrap();
        cluster.apply(GATEWAY).unwrap();
        let backend = Backend::start(1, None).unwrap();
        let kubeconfig = cluster.kubeconfig("gateway").display().to_string();
        let args = ["--kubernetes", "--kubeconfig", &kubeconfig, "--bind", "127.0.0.1"].map(str::to_owned).to_vec();
        let start = Start { program: Path::new(PROGRAM), paths: vec![], ports: vec![8080], args };
        let (gateway, versions) = (Gateway::start(&start).unwrap(), Arc::default());
        let world = Self { gateway, cluster, backend, count, versions };
        world.apply(&["steady"], 0);
        world.serves("steady", Some("0"));
        Some(world)
    }

    fn apply(&self, names: &[&str], version: usize) {
        names.iter().for_each(|name| self.versions.add(&format!("{name}.test"), &version.to_string()));
        let objects = names.iter().flat_map(|name| routed(name, self.backend.address.port(), version));
        writes::all(&self.cluster, objects.map(|object| Write::Apply(object, "test")).collect()).unwrap();
    }

    /// Waits until a host has an answer of this version, or none at all. From then on it has no other: workers share their tables.
    fn serves(&self, name: &str, version: Option<&str>) {
        wait::patiently(&format!("{name} is served in version {version:?}"), || {
            let Ok(answer) = client::get(self.gateway.address(8080), &format!("{name}.test"), "/") else {
                return false;
            };
            match version {
                Some(version) => answer.status == 200 && answer.header("x-version").as_deref() == Some(version),
                None => answer.status == 404,
            }
        });
        if let Some(version) = version {
            self.versions.settle(&format!("{name}.test"), version);
        }
    }

    /// Every object in turn, through its life, while requests flow and the API server fails.
    fn churn(&mut self) {
        let names: Vec<String> = (0..self.count).map(|number| format!("site-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let every = (self.count / 20).max(1);
        let some: Vec<&str> = names.iter().copied().step_by(every).chain(names.last().copied()).collect();
        let load = Load::start(self.gateway.address(8080), &["steady.test"]);
        wait::until("requests flow", || load.answered() > 20);

        self.apply(&names, 1);
        some.iter().for_each(|name| self.serves(name, Some("1")));
        let (first, second) = names.split_at(self.count / 2);
        let (gone, rest) = second.split_first().unwrap();
        // Hosts that change, from their first answer to their last.
        let contested = &names[..self.count.min(20)];
        contested.iter().for_each(|name| self.serves(name, Some("1")));
        let changed: BTreeSet<&str> = some.iter().chain(contested).copied().filter(|name| name != gone).collect();
        let hosts: Vec<String> = changed.iter().map(|name| format!("{name}.test")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let of_changed = Load::start_of_versions(self.gateway.address(8080), &hosts, &self.versions);
        self.apply(first, 2);

        // The API server dies. An object goes meanwhile, and with it all versions that the gateway has seen.
        self.cluster.kill_api_server();
        let report =
            || self.gateway.get(self.gateway.admin, "/report?format=text").map(|(_, text)| text).unwrap_or_default();
        wait::until("the failure is known", || report().contains("MG0030"));
        self.cluster
            .delete_and_compact(&format!("/registry/networking.istio.io/virtualservices/default/{gone}"))
            .unwrap();
        self.serves(gone, Some("1"));
        self.cluster.start_api_server().unwrap();
        self.serves(gone, None);
        self.apply(rest, 2);
        changed.iter().for_each(|name| self.serves(name, Some("2")));

        // Several writers of the same objects; what the API server has at the end is served.
        let write = |name: &&str, version: usize, manager: &'static str| {
            self.versions.add(&format!("{name}.test"), &version.to_string());
            let [_, route] = routed(name, self.backend.address.port(), version);
            Write::Apply(route, manager)
        };
        let fight = (3..10).flat_map(|version| contested.iter().map(move |name| (name, version)));
        let fight = fight
            .flat_map(|(name, version)| [write(name, version, "one"), write(name, version + 100, "two")])
            .collect();
        writes::all(&self.cluster, fight).unwrap();
        for name in contested {
            let path = "-o=jsonpath={.spec.http[0].headers.response.set.x-version}";
            let last = self.cluster.must(&["get", "vs", name, path]).unwrap();
            self.serves(name, Some(&last));
        }

        end(of_changed);

        let doomed = names.iter().flat_map(|name| routed(name, 1, 0)).map(Write::Delete);
        writes::all(&self.cluster, doomed.collect()).unwrap();
        some.iter().for_each(|name| self.serves(name, None));

        end(load);
    }
}

#[test]
fn hundreds_of_objects_come_change_and_go_while_requests_flow() {
    let Some(mut world) = World::new(150) else { return };
    world.churn();
}

/// The same for a release, as `.ci/run` builds it.
#[test]
#[ignore = "minutes without optimisation"]
fn five_thousand_objects_come_change_and_go_while_requests_flow() {
    let Some(mut world) = World::new(5000) else { return };
    world.churn();
}
