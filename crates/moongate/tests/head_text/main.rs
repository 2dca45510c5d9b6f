//! Strings of configuration as parts of message heads: every string field of every kind is given line breaks, NUL, spaces and
//! characters beyond ASCII. Either the object is rejected at that field, or every head of the snapshot is still one message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod heads;

use compiler::{Memo, Settings, compile};
use resources::diagnostic::{Diagnostic, Severity};
use resources::read::{documents, read, read_mesh_config};
use resources::set::{AnyObject, Change, ResourceSet};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SAMPLE: &str = include_str!("sample.yaml");
const MESH: &str = include_str!("mesh.yaml");

/// Texts that break a head, or would if they were written into one.
const PIECES: &[&str] = &[
    "\r\n\r\nGET /SMUG HTTP/1.1\r\nhost: y",
    "\r\nx-smug: 1",
    "\nx-smug: 1",
    "\r",
    "\n",
    "\0",
    "\u{7f}",
    " ",
    "\t",
    "é",
    "\u{2028}",
    "\u{85}",
    "%0d%0ax-smug: 1",
    "%REQ(x-in)%",
    ";",
    ",",
    ":",
    "/",
    "@",
    "#",
    "?",
    "\\",
    "\"",
];

/// Those that every field is given.
const EVERYWHERE: &[&str] = &["\r\n\r\nGET /SMUG HTTP/1.1\r\nhost: y", "\r\nx-smug: 1", "\0", " ", "é"];

/// How many of the pieces no part of a head may have.
const FORBIDDEN: usize = 7;

/// Every field that reaches a head: whatever of the forbidden is added to it, it is an error at that field. A star is any name.
const HEAD_FIELDS: &[&str] = &[
    "VirtualService spec.http[].headers.request.add.*",
    "VirtualService spec.http[].headers.request.remove[]",
    "VirtualService spec.http[].headers.request.set.*",
    "VirtualService spec.http[].headers.response.add.*",
    "VirtualService spec.http[].headers.response.remove[]",
    "VirtualService spec.http[].headers.response.set.*",
    "VirtualService spec.http[].route[].headers.request.add.*",
    "VirtualService spec.http[].route[].headers.request.remove[]",
    "VirtualService spec.http[].route[].headers.request.set.*",
    "VirtualService spec.http[].route[].headers.response.add.*",
    "VirtualService spec.http[].route[].headers.response.remove[]",
    "VirtualService spec.http[].route[].headers.response.set.*",
    "VirtualService spec.http[].rewrite.authority",
    "VirtualService spec.http[].rewrite.uri",
    "VirtualService spec.http[].rewrite.uriRegexRewrite.rewrite",
    "VirtualService spec.http[].redirect.authority",
    "VirtualService spec.http[].redirect.prefixRewrite",
    "VirtualService spec.http[].redirect.scheme",
    "VirtualService spec.http[].redirect.uri",
    "VirtualService spec.http[].corsPolicy.allowHeaders[]",
    "VirtualService spec.http[].corsPolicy.allowMethods[]",
    "VirtualService spec.http[].corsPolicy.exposeHeaders[]",
    "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[].name",
    "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[].value",
    "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name",
    "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.path",
    "DestinationRule spec.trafficPolicy.tunnel.protocol",
    "DestinationRule spec.trafficPolicy.tunnel.targetHost",
    "DestinationRule spec.subsets[].trafficPolicy.tunnel.targetHost",
    "MeshConfig defaultConfig.proxyHeaders.server.value",
];

/// Fields that no valid object has, or that the sample cannot have beside others; none of them reaches a head.
const UNCOVERED: &[&str] = &["VirtualService abort.http2Error", "VirtualService delay.exponentialDelay"];

/// Maps whose keys are texts of their own.
const MAPS: &[&str] = &[
    "add",
    "set",
    "labels",
    "headers",
    "withoutHeaders",
    "queryParams",
    "sourceLabels",
    "selector",
    "to",
    "data",
    "proxyMetadata",
    "includeAdditionalHeadersInCheck",
];

/// The position of a field in a document.
#[derive(Clone)]
struct FieldPosition {
    /// As serde_json has it.
    pointer: String,
    /// As diagnostics have it, and the same without numbers and names.
    field: String,
    shape: String,
    /// The key that is changed; `None` is the value.
    key: Option<String>,
}

/// Whether a field is a map of names to something; `headers` are one in matches alone.
fn is_map(parent: &str, name: &str, value: &Value) -> bool {
    match name {
        "headers" => parent.ends_with("match[]"),
        "ports" => value.is_object(),
        name => MAPS.contains(&name),
    }
}

fn places(value: &Value, at: &FieldPosition, map: bool, found: &mut Vec<FieldPosition>) {
    match value {
        Value::String(_) => found.push(at.clone()),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let pointer = format!("{}/{number}", at.pointer);
                let (field, shape) = (format!("{}[{number}]", at.field), format!("{}[]", at.shape));
                places(item, &FieldPosition { pointer, field, shape, key: None }, false, found);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let dot = if at.field.is_empty() { "" } else { "." };
                let shown = if map { "*" } else { name };
                let below = FieldPosition {
                    pointer: format!("{}/{escaped}", at.pointer),
                    field: format!("{}{dot}{name}", at.field),
                    shape: format!("{}{dot}{shown}", at.shape),
                    key: None,
                };
                if map {
                    found.push(FieldPosition { key: Some(name.clone()), pointer: at.pointer.clone(), ..below.clone() });
                }
                places(item, &below, is_map(&at.shape, name, item), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn places_of(document: &Value) -> Vec<FieldPosition> {
    let mut found = Vec::new();
    let root = FieldPosition { pointer: String::new(), field: String::new(), shape: String::new(), key: None };
    places(document, &root, false, &mut found);
    found.retain(|place| !matches!(place.field.as_str(), "apiVersion" | "kind"));
    found
}

/// The document with another text at a place.
fn with(document: &Value, place: &FieldPosition, change: impl FnOnce(&str) -> String) -> Value {
    let mut document = document.clone();
    let at = document.pointer_mut(&place.pointer).unwrap();
    match (&place.key, at) {
        (Some(key), Value::Object(fields)) => {
            let value = fields.shift_remove(key).unwrap();
            fields.insert(change(key), value);
        }
        (None, Value::String(text)) => *text = change(text),
        _ => panic!("{} is no text", place.field),
    }
    document
}

fn file() -> Arc<Path> {
    Arc::from(PathBuf::from("in.yaml"))
}

/// What an object says, written out with every field that its kind has.
fn document(object: &AnyObject) -> Value {
    macro_rules! written {
        ($($kind:ident $version:literal $root:literal),+ $(,)?) => {
            match object {
                $(AnyObject::$kind(object) => {
                    let spec = serde_json::to_value(&object.spec).unwrap();
                    let mut labels = Map::new();
                    labels.extend(object.meta.labels.iter().map(|(name, value)| (name.to_string(), json!(value))));
                    let (namespace, name) = (&*object.key.namespace, &*object.key.name);
                    let mut metadata = json!({ "name": name, "labels": labels });
                    if !namespace.is_empty() {
                        metadata["namespace"] = json!(namespace);
                    }
                    let mut whole = json!({ "apiVersion": $version, "kind": stringify!($kind), "metadata": metadata });
                    match (spec, $root) {
                        (Value::Object(fields), true) => whole.as_object_mut().unwrap().extend(fields),
                        (spec, _) => whole["spec"] = spec,
                    }
                    whole
                })+
                other => panic!("the sample has {other:?}"),
            }
        };
    }
    written! {
        Gateway "networking.istio.io/v1" false,
        VirtualService "networking.istio.io/v1" false,
        DestinationRule "networking.istio.io/v1" false,
        ServiceEntry "networking.istio.io/v1" false,
        WorkloadEntry "networking.istio.io/v1" false,
        AuthorizationPolicy "security.istio.io/v1" false,
        Service "v1" false,
        Endpoints "v1" true,
        EndpointSlice "discovery.k8s.io/v1" true,
        ConfigMap "v1" true,
        Namespace "v1" false,
    }
}

/// As JSON with nothing beyond printable ASCII, which YAML reads as it is.
fn escaped(document: &Value) -> String {
    let mut out = String::new();
    for c in serde_json::to_string(document).unwrap().chars() {
        if matches!(c, ' '..='~') { out.push(c) } else { out.push_str(&format!("\\u{:04x}", u32::from(c))) }
    }
    out
}

fn read_one(document: &Value) -> (Option<AnyObject>, Vec<Diagnostic>) {
    let text = escaped(document);
    let mut reading = read(&file(), documents(&text).next().unwrap());
    (reading.objects.pop(), reading.diagnostics)
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error
}

struct Sample {
    set: ResourceSet,
    documents: Vec<Value>,
    mesh: Value,
}

impl Sample {
    fn read() -> Self {
        let mut objects = Vec::new();
        for document in documents(SAMPLE) {
            let reading = read(&file(), document);
            let errors: Vec<_> = reading.diagnostics.iter().filter(|diagnostic| is_error(diagnostic)).collect();
            assert!(errors.is_empty(), "{errors:?}");
            objects.extend(reading.objects);
        }
        let (mesh, found) = read_mesh_config(&file(), MESH);
        assert!(!found.iter().any(is_error), "{found:?}");
        let documents = objects.iter().map(document).collect();
        let set = ResourceSet::default().with(objects.into_iter().map(Change::Put));
        Self { set, documents, mesh: serde_json::to_value(mesh).unwrap() }
    }

    /// All texts, with the number of their document; the mesh's settings come last.
    fn places(&self) -> Vec<(usize, FieldPosition)> {
        let all = self.documents.iter().chain([&self.mesh]).enumerate();
        all.flat_map(|(number, document)| places_of(document).into_iter().map(move |place| (number, place))).collect()
    }

    fn kind(&self, number: usize) -> &str {
        self.documents.get(number).map_or("MeshConfig", |document| document["kind"].as_str().unwrap())
    }

    /// Changes a text: the errors that this gives, or none when it is accepted; then every head is checked.
    fn change(&self, number: usize, place: &FieldPosition, change: impl FnOnce(&str) -> String) -> Vec<Diagnostic> {
        let from = format!("{} {}", self.kind(number), place.field);
        let mut settings = Settings::default();
        let mut set = self.set.clone();
        let found = match self.documents.get(number) {
            Some(document) => {
                let (object, found) = read_one(&with(document, place, change));
                match object {
                    Some(object) => set = set.with([Change::Put(object)]),
                    None => return found.into_iter().filter(is_error).collect(),
                }
                found
            }
            None => {
                let text = escaped(&with(&self.mesh, place, change));
                let (mesh, found) = read_mesh_config(&file(), &text);
                settings.mesh = mesh;
                found
            }
        };
        let snapshot = compile(&set, &settings, &mut Memo::default()).snapshot;
        heads::check(&snapshot, &from);
        found.into_iter().filter(is_error).collect()
    }
}

#[test]
fn the_sample_has_every_field_of_every_kind_and_yields_heads() {
    let sample = Sample::read();
    let mut filled: BTreeMap<String, bool> = BTreeMap::new();
    for (number, document) in sample.documents.iter().chain([&sample.mesh]).enumerate() {
        let (again, found) = if number < sample.documents.len() { read_one(document) } else { (None, Vec::new()) };
        assert!(again.is_some() || number == sample.documents.len(), "{document}: {found:?}");
        leaves(document, &format!("{} ", sample.kind(number)), &mut filled);
    }
    let missing: BTreeSet<_> = filled.iter().filter(|(_, filled)| !**filled).map(|(path, _)| path.as_str()).collect();
    let known: BTreeSet<_> = UNCOVERED.iter().copied().collect();
    assert_eq!(missing.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "add them to the sample");
    let snapshot = compile(&sample.set, &Settings::default(), &mut Memo::default()).snapshot;
    let heads = heads::check(&snapshot, "the sample");
    assert!(heads >= 40, "{heads}");
    // The mesh settings have the service that the policy names.
    let settings = Settings { mesh: read_mesh_config(&file(), MESH).0, ..Settings::default() };
    let snapshot = compile(&sample.set, &settings, &mut Memo::default()).snapshot;
    assert!(heads::check(&snapshot, "the sample with its mesh settings") > heads);
}

/// Which fields have something in them in some object, by their name and that of what they are in: blocks of one type stand in many
/// places.
fn leaves(value: &Value, path: &str, filled: &mut BTreeMap<String, bool>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, filled)),
        Value::Object(fields) => {
            for (name, item) in fields {
                let parent = path.rsplit(['.', ' ']).next().unwrap_or_default();
                let kind = path.split(' ').next().unwrap_or_default();
                let is_empty = item.is_null() || item.as_array().is_some_and(Vec::is_empty);
                *filled.entry(format!("{kind} {parent}.{name}")).or_default() |= !is_empty;
                if !is_map(if parent == "match" { "match[]" } else { "" }, name, item) {
                    leaves(item, &format!("{path}.{name}"), filled);
                }
            }
        }
        // A text that is left out is a text all the same: it is walked as an empty one.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_text_of_any_field_breaks_a_head() {
    let sample = Sample::read();
    let mut seen = BTreeSet::new();
    let (mut rejected, mut accepted) = (0, 0);
    let mut walked = BTreeSet::new();
    for (number, place) in sample.places() {
        let shape = format!("{} {}", sample.kind(number), place.shape);
        let is_head = HEAD_FIELDS.contains(&shape.as_str());
        if !is_head && !walked.insert((shape.clone(), place.key.is_some())) {
            continue;
        }
        for (at, piece) in PIECES.iter().enumerate().filter(|(_, piece)| is_head || EVERYWHERE.contains(piece)) {
            for before in [false, true] {
                let change = |text: &str| if before { format!("{piece}{text}") } else { format!("{text}{piece}") };
                if !is_head && before && at > 1 {
                    continue;
                }
                let errors = sample.change(number, &place, change);
                if errors.is_empty() {
                    accepted += 1
                } else {
                    rejected += 1
                }
                let own = |error: &Diagnostic| error.field == place.field || place.key.is_some();
                if is_head && at < FORBIDDEN {
                    assert!(errors.iter().any(own), "{shape} takes {piece:?}: {errors:?}");
                    seen.insert(shape.clone());
                }
            }
        }
    }
    println!("{rejected} changes were rejected, {accepted} accepted");
    assert_eq!(
        seen.len(),
        HEAD_FIELDS.len(),
        "{:?}",
        HEAD_FIELDS.iter().filter(|f| !seen.contains(**f)).collect::<Vec<_>>()
    );
    assert!(rejected > 1_000 && accepted > 1_000);
}

#[test]
fn seeded_mutations_of_texts_break_no_head() {
    mutate(500);
}

#[test]
#[ignore = "takes more than a minute without optimisation; .ci/run has it in a release build"]
fn ten_thousand_seeded_mutations_of_texts_break_no_head() {
    mutate(10_000);
}

fn mutate(mutations: usize) {
    let sample = Sample::read();
    let places = sample.places();
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    };
    for _ in 0..mutations {
        let (number, place) = &places[below(places.len())];
        let (rounds, mut texts) = (1 + below(3), Vec::new());
        for _ in 0..rounds {
            texts.push((PIECES[below(PIECES.len())], below(64), below(4) == 0));
        }
        sample.change(*number, place, |text| {
            let mut chars: Vec<char> = text.chars().collect();
            for (piece, at, replaces) in texts {
                let at = at % (chars.len() + 1);
                let end = if replaces { chars.len() } else { at };
                chars.splice(at..end, piece.chars());
            }
            chars.into_iter().collect()
        });
    }
}
