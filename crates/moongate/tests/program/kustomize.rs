//! The files of `deploy/kustomize`, as kubectl puts them together.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::cluster;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize");
const DOCUMENTATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kubernetes.md");

/// Folders of kustomizations, and kubectl.
struct World {
    kubectl: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    /// With the folder `base`, a copy of that of the repository.
    fn new() -> Option<Self> {
        let (kubectl, folder) = (cluster::kubectl().unwrap()?, tempfile::tempdir().unwrap());
        copy(Path::new(FOLDER), &folder.path().join("base"));
        Some(Self { kubectl, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).join("kustomization.yaml")
    }

    /// Writes a kustomization beside the base.
    fn overlay(&self, name: &str, text: &str) {
        fs::create_dir(self.folder.path().join(name)).unwrap();
        fs::write(self.file(name), text).unwrap();
    }

    /// The objects of a kustomization.
    fn build(&self, name: &str) -> Vec<Value> {
        let folder: &Path = &self.folder.path().join(name);
        let output = Command::new(&self.kubectl).arg("kustomize").arg(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.split("\n---\n").map(|document| resources::read::from_yaml(document).unwrap()).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}

fn names(all: &[Value]) -> Vec<String> {
    let name = |one: &Value| format!("{}/{}", one["kind"].as_str().unwrap(), one["metadata"]["name"].as_str().unwrap());
    let mut names: Vec<String> = all.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn kustomize_takes_one_gateway_and_both() {
    let Some(world) = World::new() else { return };
    let ingress = world.build("base");
    assert_eq!(ingress.len(), 11, "{:?}", names(&ingress));
    let base = fs::read_to_string(world.file("base")).unwrap();
    fs::write(world.file("base"), base.replace("- ingress.yaml\n", "- ingress.yaml\n- egress.yaml\n")).unwrap();
    let both = world.build("base");
    assert_eq!(both.len(), 21, "{:?}", names(&both));
}

#[test]
fn kustomize_takes_the_kinds_beside_a_gateway() {
    let Some(world) = World::new() else { return };
    let kinds = world.build("base/crds");
    assert!(
        kinds.len() >= 8 && kinds.iter().all(|one| one["kind"] == "CustomResourceDefinition"),
        "{:?}",
        names(&kinds)
    );
    world.overlay(
        "all",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../base, ../base/crds]\n",
    );
    assert_eq!(world.build("all").len(), world.build("base").len() + kinds.len());
}

/// The overlay of the documentation.
#[test]
fn gateways_of_two_namespaces_share_no_object() {
    let Some(world) = World::new() else { return };
    let text = fs::read_to_string(DOCUMENTATION).unwrap();
    let (_, overlay) = text.split_once("```yaml\n# overlays/gw2/kustomization.yaml\n").unwrap();
    let (overlay, _) = overlay.split_once("```").unwrap();
    world.overlay("gw2", &overlay.replace("../../kustomize", "../base"));
    let (first, second) = (world.build("base"), world.build("gw2"));
    let of = |all: &[Value], kind: &str| all.iter().find(|one| one["kind"] == kind).unwrap().clone();
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let name = |all: &[Value]| of(all, kind)["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(name(&first), "istio-ingressgateway-istio-system");
        assert_eq!(name(&second), "istio-ingressgateway-gw2");
    }
    let binding = of(&second, "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], "istio-ingressgateway-gw2");
    assert_eq!(binding["subjects"][0]["namespace"], "gw2");
    assert_eq!(of(&second, "Namespace")["metadata"]["name"], "gw2");
    assert_eq!(of(&second, "Deployment")["metadata"]["namespace"], "gw2");
}
