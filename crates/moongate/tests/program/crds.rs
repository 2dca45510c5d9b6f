//! The definitions that `moongate crds` prints, beside Istio's and on a real API server: it takes them, and holds objects to them. What Moongate
//! accepts it accepts, of what Moongate rejects it rejects what a schema can tell, and it drops no field of any object.

use crate::program::cluster::OBJECTS;
use resources::api::ApiResource;
use resources::code;
use resources::read::{documents, from_yaml, read_value, written};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::cluster::{self, Cluster};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases");

fn printed() -> String {
    String::from_utf8(Command::new(PROGRAM).arg("crds").output().unwrap().stdout).unwrap()
}

fn cluster() -> Option<Cluster> {
    let cluster = cluster::start().unwrap()?;
    cluster.apply(&printed()).unwrap();
    cluster.wait_for_kinds().unwrap();
    Some(cluster)
}

#[test]
fn the_definitions_of_the_kinds_are_those_that_the_server_takes_and_holds_objects_to() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(OBJECTS).unwrap();
    let shown = |kind: &str| cluster.must(&["get", kind, "--no-headers"]).unwrap();
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(shown("gw"))[0], "site");
    assert_eq!(words(shown("vs"))[..3], ["answer", "[\"site\"]", "[\"a.test\"]"]);
    let spec = |kind: &str, group: &str, spec: &str| {
        format!(
            "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: bad, namespace: default}}\nspec: {spec}\n"
        )
    };
    let refused = [
        (spec("Gateway", "networking", "{servers: []}"), "a Gateway needs at least one server"),
        (spec("Gateway", "networking", "").replace("spec: \n", ""), "spec: Required value"),
        (spec("VirtualService", "networking", "{hosts: [a.test]}"), "a VirtualService needs at least one rule"),
        (spec("ServiceEntry", "networking", "{hosts: []}"), "a ServiceEntry needs at least one host"),
        (spec("ServiceEntry", "networking", "{hosts: [a.test], resolution: SLOW}"), "Unsupported value"),
        (spec("DestinationRule", "networking", "{subsets: []}"), "spec.host"),
        (
            spec(
                "DestinationRule",
                "networking",
                "{host: a, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 1us}}}}",
            ),
            "must be 0s, or 1ms or more",
        ),
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

/// Fields of Istio's that no type has: an object with one of them is reported, and counts as its guard does.
const UNREAD: &[&str] = &[
    "AuthorizationPolicy .rules[].from[].source.notTrustDomains",
    "AuthorizationPolicy .rules[].from[].source.trustDomains",
    "DestinationRule .trafficPolicy.loadBalancer.backendUtilization",
    "DestinationRule .trafficPolicy.loadBalancer.zoneAwareLbSetting",
    "DestinationRule .trafficPolicy.outlierDetection.failurePercentageThreshold",
    "DestinationRule .trafficPolicy.retryBudget.budgetInterval",
    "DestinationRule .trafficPolicy.tls.caCertCredentialName",
    "Gateway .servers[].tls.alpnProtocols",
    "RequestAuthentication .jwtRules[].presence",
];

#[test]
fn every_field_of_istio_is_of_the_same_type_or_kept_as_it_is() {
    let Some(file) = cluster::istio().unwrap() else { return };
    let definitions = |text: &str| {
        let all = documents(text).map(|one| from_yaml::<Value>(one.text).unwrap());
        let named = |one: Value| Some((one.pointer("/metadata/name")?.as_str()?.to_owned(), one));
        all.filter_map(named).collect::<BTreeMap<_, _>>()
    };
    let (istio, own) = (definitions(&fs::read_to_string(file).unwrap()), definitions(&printed()));
    let mut compared = Compared::default();
    for (name, own) in &own {
        let versions = |one: &Value| {
            let versions = one.pointer("/spec/versions").unwrap().as_array().unwrap().iter();
            versions.map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone())).collect::<BTreeMap<_, _>>()
        };
        let (istio, own, kind) = (versions(&istio[name]), versions(own), &own["spec"]["names"]["kind"]);
        assert_eq!(istio.keys().collect::<Vec<_>>(), own.keys().collect::<Vec<_>>(), "{name}");
        for (version, istio) in istio {
            let (columns, own) = (column_names(&istio), &own[&version]);
            assert_eq!(column_names(own), columns, "{name} {version}");
            let spec = |one: &Value| one.pointer("/schema/openAPIV3Schema/properties/spec").unwrap().clone();
            compared.schemas(&format!("{} ", kind.as_str().unwrap()), &spec(&istio), &spec(own));
        }
    }
    assert!(compared.count > 500, "{}", compared.count);
    assert!(compared.wrong.is_empty(), "{:#?}", compared.wrong);
    // Fields of policies are at three places.
    let places = compared
        .unread
        .iter()
        .map(|path| path.replace(".subsets[].trafficPolicy", ".trafficPolicy").replace(".portLevelSettings[]", ""));
    let unread: BTreeSet<String> = places.collect();
    assert_eq!(unread.iter().collect::<Vec<_>>(), UNREAD, "fields of Istio's that no type has");
}

/// Names, paths and types; a kind without any has the column that the server gives it.
fn column_names(version: &Value) -> Vec<[String; 3]> {
    let text = |column: &Value, field: &str| column[field].as_str().unwrap().to_owned();
    let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let named = |column: &Value| ["name", "jsonPath", "type"].map(|field| text(column, field));
    match columns {
        Some(columns) => columns.iter().map(named).collect(),
        None => vec![["Age", ".metadata.creationTimestamp", "date"].map(str::to_owned)],
    }
}

/// Istio's schemas beside our own.
#[derive(Default)]
struct Compared {
    count: usize,
    /// Fields that would be dropped, or whose values are of another type.
    wrong: BTreeSet<String>,
    /// Fields that no type has.
    unread: BTreeSet<String>,
}

impl Compared {
    fn schemas(&mut self, path: &str, istio: &Value, own: &Value) {
        self.count += 1;
        let is_set = |schema: &Value, key: &str| schema.get(key) == Some(&Value::Bool(true));
        let is_open = is_set(own, "x-kubernetes-preserve-unknown-fields");
        for key in ["type", "x-kubernetes-int-or-string"] {
            if istio.get(key) != own.get(key) && !(is_open && own.get("type").is_none()) {
                self.wrong.insert(format!("{path}: {key} is {:?}, not {:?}", own.get(key), istio.get(key)));
            }
        }
        if is_set(istio, "nullable") && !is_set(own, "nullable") {
            self.wrong.insert(format!("{path}: it may be null"));
        }
        let words = |schema: &Value| schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
        let known = words(own);
        if let Some(word) = words(istio).iter().find(|word| !known.is_empty() && !known.contains(word)) {
            self.wrong.insert(format!("{path}: {word} is no value of it"));
        }
        for (name, below) in istio.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}.{name}");
            match own.get("properties").and_then(|fields| fields.get(name)) {
                Some(own) => self.schemas(&path, below, own),
                None if !is_open => drop(self.wrong.insert(format!("{path}: the server drops it"))),
                // A name in the form of proto is one that is read.
                None if name.contains('_') => {}
                None => drop(self.unread.insert(path)),
            }
        }
        for key in ["items", "additionalProperties"] {
            match (istio.get(key), own.get(key)) {
                (Some(istio), Some(own)) => self.schemas(&format!("{path}[]"), istio, own),
                (Some(_), None) if !is_open => drop(self.wrong.insert(format!("{path}: it has no {key}"))),
                _ => {}
            }
        }
    }
}

#[test]
fn the_server_drops_nothing_so_that_what_is_not_known_is_reported_and_guarded() {
    let Some(cluster) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    // As written: an apply of the server's own would take null for an order to remove the field.
    let stored = |kind: &str, object: Value| {
        let file = folder.path().join("object.json");
        fs::write(&file, object.to_string()).unwrap();
        cluster.must(&["create", "-f", &file.display().to_string()]).unwrap();
        let text = cluster.must(&["get", kind, object["metadata"]["name"].as_str().unwrap(), "-o", "json"]).unwrap();
        let stored: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(stored["spec"], object["spec"], "{kind}");
        read_value(stored)
    };
    let object = |kind: &str, group: &str, spec: Value| {
        let metadata = json!({"name": "a", "namespace": "default"});
        json!({"apiVersion": format!("{group}.istio.io/v1"), "kind": kind, "metadata": metadata, "spec": spec})
    };
    let policy = json!({"action": "DENY", "rules": [{"from": [{"source": {"trustDomains": ["elsewhere"]}}]}]});
    let read = stored("ap", object("AuthorizationPolicy", "security", policy));
    assert_eq!((read.rejected[0].code, read.rejected[0].guard.is_some()), (code::UNKNOWN_FIELD, true));
    let rule = json!({"issuer": "i", "jwks_uri": "https://keys.test/", "presence": "REQUIRED"});
    let read = stored("ra", object("RequestAuthentication", "security", json!({"jwtRules": [rule]})));
    assert_eq!((read.rejected[0].code, read.rejected[0].guard.is_some()), (code::UNKNOWN_FIELD, true));
    // What Istio's own definitions accept.
    let rule = json!({"host": "a.test", "trafficPolicy": {
        "retryBudget": {"percent": 20}, "connectionPool": {"tcp": {"idleTimeout": "0s"}},
        "outlierDetection": {"outlierDetectionHttpErrorCodes": [404, 599], "consecutive5xxErrors": null},
        "loadBalancer": {"localityLbSetting": {"enabled": null}}, "tls": {"mode": "SIMPLE", "insecureSkipVerify": null},
    }});
    let read = stored("dr", object("DestinationRule", "networking", rule));
    assert!(read.rejected.is_empty() && read.objects.len() == 1, "{:?}", read.diagnostics);
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
