//! The definitions that `moongate crds` prints, on a real API server: it takes them, and holds objects to them. What Moongate accepts it accepts,
//! and of what Moongate rejects it rejects what a schema can tell.

use crate::program::cluster::OBJECTS;
use resources::api::ApiResource;
use resources::read::{documents, read_value, written};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::cluster::{self, Cluster};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases");

fn cluster() -> Option<Cluster> {
    let cluster = cluster::start().unwrap()?;
    let definitions = Command::new(PROGRAM).arg("crds").output().unwrap();
    cluster.apply(&String::from_utf8(definitions.stdout).unwrap()).unwrap();
    cluster.wait_for_kinds().unwrap();
    Some(cluster)
}

#[test]
fn the_definitions_of_the_kinds_are_those_that_the_server_takes_and_holds_objects_to() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(OBJECTS).unwrap();
    let shown = |kind: &str| cluster.must(&["get", kind, "--no-headers"]).unwrap();
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(shown("gw"))[..2], ["site", "[\"*\"]"], "the hosts of a Gateway");
    assert_eq!(words(shown("vs"))[..3], ["answer", "[\"site\"]", "[\"a.test\"]"]);
    let spec = |kind: &str, group: &str, spec: &str| {
        format!(
            "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: bad, namespace: default}}\nspec: {spec}\n"
        )
    };
    let refused = [
        (spec("Gateway", "networking", "{servers: []}"), "a Gateway needs at least one server"),
        (spec("VirtualService", "networking", "{hosts: [a.test]}"), "a VirtualService needs at least one rule"),
        (spec("ServiceEntry", "networking", "{hosts: []}"), "a ServiceEntry needs at least one host"),
        (spec("ServiceEntry", "networking", "{hosts: [a.test], resolution: SLOW}"), "Unsupported value"),
        (spec("DestinationRule", "networking", "{subsets: []}"), "spec.host"),
        (spec("WorkloadEntry", "networking", "{weight: 1}"), "Address is required"),
        (spec("AuthorizationPolicy", "security", "{action: CUSTOM}"), "have a provider"),
        (
            spec("RequestAuthentication", "security", "{selector: {}, targetRefs: [{}]}"),
            "only one of targetRefs or selector",
        ),
        (spec("PeerAuthentication", "security", "{portLevelMtls: {}}"), "portLevelMtls requires selector"),
    ];
    for (object, message) in refused {
        let error = cluster.apply(&object).expect_err(&object).to_string();
        assert!(error.contains(message), "{object}: {error}");
    }
}

/// Objects that a schema can tell to be wrong: those of `cases/broken`, whose others have texts that may not be sent in the head of a message,
/// and some more; without a name, at least one of the case.
const TOLD: &[(&str, &str, &str)] = &[
    ("destination-rule", "DestinationRule", "secured"),
    ("no-action", "VirtualService", "none"),
    ("no-action", "VirtualService", "two"),
    ("no-action", "VirtualService", "both"),
    ("one-bad-document", "VirtualService", "bad"),
    ("http2", "DestinationRule", ""),
    ("resolutions", "ServiceEntry", ""),
    ("wildcard-entry", "ServiceEntry", ""),
    ("tls-that-does-not-fit", "Gateway", ""),
];

/// An object of a case, under a name of its own.
struct Object {
    case: String,
    name: String,
    value: Value,
    is_good: bool,
}

#[test]
fn objects_of_the_cases_are_accepted_or_rejected_as_they_are_here() {
    let Some(cluster) = cluster() else { return };
    let mut objects: BTreeMap<String, Object> = BTreeMap::new();
    for case in folders(Path::new(CASES)).iter().flat_map(|topic| folders(topic)) {
        let Ok(text) = fs::read_to_string(case.join("in.yaml")) else { continue };
        for (_, mut value) in documents(&text).flat_map(written) {
            let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let group = text("/apiVersion").rsplit_once('/').map_or(String::new(), |(group, _)| group.to_owned());
            let resource = ApiResource::named(&group, &text("/kind")).filter(|resource| resource.is_istio());
            if resource.is_none() || value.get("spec").is_none() {
                continue;
            }
            let name = text("/metadata/name");
            let found = read_value(value.clone());
            let is_good = found.rejected.is_empty() && !found.objects.is_empty();
            let own = format!("case-{}", objects.len());
            value["metadata"] = json!({"name": own, "namespace": "default"});
            let case = case.file_name().unwrap().to_string_lossy().into_owned();
            objects.insert(own, Object { case, name, value, is_good });
        }
    }
    assert!(objects.len() > 300, "{}", objects.len());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects.values().map(|one| &one.value).collect::<Vec<_>>()});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.json");
    fs::write(&file, list.to_string()).unwrap();
    let file = file.display().to_string();
    // The server is asked, and not what kubectl makes of the schemas, which stops at the first object.
    let applied = cluster
        .kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=false", "-o", "name", "-f", &file])
        .unwrap();
    let accepted = String::from_utf8_lossy(&applied.stdout).into_owned();
    let errors = String::from_utf8_lossy(&applied.stderr).into_owned();
    let is_accepted = |name: &str| accepted.lines().any(|line| line.rsplit('/').next() == Some(name));
    let why = |name: &str| {
        let named = format!("\"{name}\"");
        errors.lines().find(|line| line.contains(&named)).unwrap_or_default().to_owned()
    };
    let refused: Vec<String> = objects
        .iter()
        .filter(|(own, one)| one.is_good && !is_accepted(own))
        .map(|(own, one)| format!("{} {}: {}", one.case, one.name, why(own)))
        .collect();
    let said: String = errors.chars().take(2000).collect();
    assert!(refused.is_empty(), "good objects are rejected:\n{}\n{said}", refused.join("\n"));
    let bad = objects.values().filter(|one| !one.is_good).count();
    let told = objects.iter().filter(|(own, one)| !one.is_good && !is_accepted(own)).count();
    println!("{} objects; of {bad} with errors of their own, a schema tells {told}", objects.len());
    for (case, kind, name) in TOLD {
        let is_meant =
            |one: &Object| one.case == *case && one.value["kind"] == *kind && (name.is_empty() || one.name == *name);
        let mut meant = objects.iter().filter(|(_, one)| !one.is_good && is_meant(one));
        assert!(meant.any(|(own, _)| !is_accepted(own)), "{case} {kind} {name} is accepted");
    }
}

fn folders(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}
