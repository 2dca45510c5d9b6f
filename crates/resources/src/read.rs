//! Documents to objects: a file is cut into documents, each is read by itself, and all that is wrong with it is told.
//!
//! `sources` calls this for every document that changed; the program calls [`locate`] when it draws a frame.

mod places;
mod typed;

use crate::code;
use crate::diagnostic::{Diagnostic, Finding, Position, Severity, SourceLocation};
use crate::key::{Key, Kind, ObjectRef};
use crate::set::{AnyObject, Meta, Object};
use crate::spec::Spec;
use crate::spec::mesh_config::MeshConfig;
use crate::spec::metadata::Metadata;
use crate::yaml;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

pub use places::locate;

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentText<'a> {
    /// The line of the file on which it begins, from 1.
    pub first_line: u32,
    /// Its text.
    pub text: &'a str,
}

/// What a document gave.
#[derive(Debug, Default)]
pub struct Reading {
    /// Objects without errors.
    pub objects: Vec<AnyObject>,
    /// Objects that are refused; their last good version is to be kept.
    pub refused: Vec<ObjectRef>,
    /// Whether the document is no YAML at all, so that it is not known which objects it holds.
    pub unreadable: bool,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
    /// Kinds that do not act here: `apiVersion` and `kind`.
    pub foreign: Vec<(String, String)>,
}

/// Cuts a file at lines that begin with `---`, before anything is parsed, so that a broken document spoils no other.
pub fn documents(text: &str) -> impl Iterator<Item = DocumentText<'_>> {
    let mut found = Vec::new();
    let (mut start, mut first_line, mut line) = (0, 1, 1);
    let mut offset = 0;
    for piece in text.split_inclusive('\n') {
        if piece.starts_with("---") && offset > start {
            found.push(DocumentText { first_line, text: &text[start..offset] });
            (start, first_line) = (offset, line);
        }
        offset += piece.len();
        line += 1;
    }
    found.push(DocumentText { first_line, text: &text[start..] });
    found.into_iter().filter(|document| !is_blank(document.text))
}

/// Whether there is nothing but comments and marks.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || matches!(line, "---" | "...")
    })
}

/// Reads one document, `kind: List` written out.
pub fn read(file: &Arc<Path>, document: DocumentText<'_>) -> Reading {
    let mut reading = Reading::default();
    let place = Place { file, document };
    match yaml::parse(document.text) {
        Err(fault) => {
            reading.unreadable = true;
            reading.diagnostics.push(place.unreadable(&fault));
        }
        Ok(Value::Null) => {}
        Ok(value) => read_value(&place, value, "", &mut reading),
    }
    reading
}

/// Reads a YAML or JSON text into any type; the error is one line for people.
pub fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = yaml::parse(text).map_err(|fault| format!("line {}: {}", fault.line, fault.message))?;
    serde_path_to_error::deserialize(value).map_err(|error| error.to_string())
}

/// Reads mesh settings from the text of a file; what is wrong is told, and the defaults stand in for it.
pub fn read_mesh_config(file: &Arc<Path>, text: &str) -> (MeshConfig, Vec<Diagnostic>) {
    let place = Place { file, document: DocumentText { first_line: 1, text } };
    let value = match yaml::parse(text) {
        Err(fault) => return (MeshConfig::default(), vec![place.unreadable(&fault)]),
        Ok(Value::Null) => return (MeshConfig::default(), Vec::new()),
        Ok(value) => value,
    };
    let mut findings = Vec::new();
    let mut config = typed::deserialize(value, &mut findings).unwrap_or_default();
    let mut checked = crate::diagnostic::Findings::default();
    crate::validate::mesh_config::settle(&mut config, &mut checked);
    findings.extend(checked.into_vec());
    let known = |finding: Finding| match finding.code {
        code::UNKNOWN_FIELD => Finding { code: code::MESH_CONFIG, severity: Severity::Warning, ..finding },
        _ => Finding { code: code::MESH_CONFIG, ..finding },
    };
    let inert = config.inert().into_iter().map(|(field, cause)| Finding {
        code: code::MESH_INERT,
        severity: Severity::Info,
        field: field.to_owned(),
        message: format!("it has no effect: {cause}"),
        help: Some("it may stay, or be left out".to_owned()),
    });
    let found = findings.into_iter().map(known).chain(inert).collect();
    (config, place.diagnostics(None, "", found))
}

/// A document and the file it stands in.
struct Place<'a> {
    file: &'a Arc<Path>,
    document: DocumentText<'a>,
}

impl Place<'_> {
    fn unreadable(&self, fault: &yaml::Fault) -> Diagnostic {
        Diagnostic {
            code: code::NOT_YAML,
            severity: Severity::Error,
            object: None,
            field: String::new(),
            position: Some(self.position(fault.line, fault.column)),
            message: fault.message.clone(),
            help: Some("mend the document; the others of the file are read without it".to_owned()),
        }
    }

    fn position(&self, line: u32, column: u32) -> Position {
        Position { file: Arc::clone(self.file), line: self.document.first_line + line - 1, column }
    }

    /// Findings with their places; the document is read once more for that.
    fn diagnostics(&self, object: Option<&ObjectRef>, prefix: &str, findings: Vec<Finding>) -> Vec<Diagnostic> {
        if findings.is_empty() {
            return Vec::new();
        }
        let (_, places) = yaml::parse_with_places(self.document.text);
        let place = |finding: Finding| {
            let (line, column) = places::nearest(&places, prefix, &finding.field);
            finding.of(object.cloned(), Some(self.position(line, column)))
        };
        findings.into_iter().map(place).collect()
    }

    fn source(&self) -> SourceLocation {
        SourceLocation { file: Arc::clone(self.file), line: self.document.first_line }
    }
}

fn read_value(place: &Place<'_>, value: Value, prefix: &str, reading: &mut Reading) {
    let Value::Object(mut fields) = value else {
        let help = "write `apiVersion`, `kind`, `metadata` and `spec`";
        let finding = general(code::NO_KIND, "", "the document is no object", help);
        reading.diagnostics.extend(place.diagnostics(None, prefix, vec![finding]));
        return;
    };
    let text = |fields: &Map<String, Value>, name: &str| {
        fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (version, kind) = (text(&fields, "apiVersion"), text(&fields, "kind"));
    if kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array) {
        if let Some(Value::Array(items)) = fields.remove("items") {
            for (at, mut item) in items.into_iter().enumerate() {
                inherit(&mut item, &version, &kind);
                read_value(place, item, &join(prefix, &format!("items[{at}]")), reading);
            }
        }
        return;
    }
    if version.is_empty() || kind.is_empty() {
        let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
        let finding =
            general(code::NO_KIND, "", format!("the document has no `{missing}`"), format!("add `{missing}`"));
        reading.diagnostics.extend(place.diagnostics(None, prefix, vec![finding]));
        return;
    }
    read_kind(place, fields, prefix, (version, kind), reading);
}

/// Items of a typed list (`VirtualServiceList`) may leave out what the list says of all of them.
fn inherit(item: &mut Value, version: &str, kind: &str) {
    let (Value::Object(fields), Some(kind)) = (item, kind.strip_suffix("List").filter(|kind| !kind.is_empty())) else {
        return;
    };
    fields.entry("apiVersion").or_insert_with(|| version.into());
    fields.entry("kind").or_insert_with(|| kind.into());
}

fn read_kind(
    place: &Place<'_>,
    fields: Map<String, Value>,
    prefix: &str,
    (version, kind): (String, String),
    reading: &mut Reading,
) {
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    macro_rules! known {
        ($($kind:ident in $group:literal [$($version:literal),+]),+ $(,)?) => {
            match (group, kind.as_str()) {
                $(($group, stringify!($kind)) => {
                    let versions = [$($version),+];
                    let number = version.rsplit('/').next().unwrap_or_default();
                    if versions.contains(&number) {
                        object(place, fields, prefix, AnyObject::$kind, reading);
                    } else {
                        let help = format!("use one of {}", versions.map(|v| join_version($group, v)).join(", "));
                        let finding = general(code::WRONG_VERSION, "apiVersion", format!("`{version}` has no {kind}"), help);
                        reading.diagnostics.extend(place.diagnostics(None, prefix, vec![finding]));
                    }
                })+
                _ => reading.foreign.push((version, kind)),
            }
        };
    }
    known! {
        Gateway in "networking.istio.io" ["v1", "v1beta1", "v1alpha3"],
        VirtualService in "networking.istio.io" ["v1", "v1beta1", "v1alpha3"],
        DestinationRule in "networking.istio.io" ["v1", "v1beta1", "v1alpha3"],
        ServiceEntry in "networking.istio.io" ["v1", "v1beta1", "v1alpha3"],
        WorkloadEntry in "networking.istio.io" ["v1", "v1beta1", "v1alpha3"],
        Service in "" ["v1"],
        Endpoints in "" ["v1"],
        Secret in "" ["v1"],
        Namespace in "" ["v1"],
        ConfigMap in "" ["v1"],
        EndpointSlice in "discovery.k8s.io" ["v1", "v1beta1"],
    }
}

fn join_version(group: &str, version: &str) -> String {
    if group.is_empty() { format!("`{version}`") } else { format!("`{group}/{version}`") }
}

fn object<T: Spec>(
    place: &Place<'_>,
    mut fields: Map<String, Value>,
    prefix: &str,
    wrap: fn(Arc<Object<T>>) -> AnyObject,
    reading: &mut Reading,
) {
    let mut findings = Vec::new();
    let metadata = metadata(fields.remove("metadata"), T::KIND, &mut findings);
    let key = key(T::KIND, &metadata);
    let object = (!key.name.is_empty()).then(|| ObjectRef { kind: T::KIND, key: key.clone() });
    // Kinds of Istio have all they say in `spec`, some of Kubernetes' own have it beside the metadata.
    let spec = match T::KIND {
        Kind::Endpoints | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap => Value::Object(fields),
        _ => fields.remove("spec").unwrap_or_else(|| Value::Object(Map::new())),
    };
    let under = if spec_is_root(T::KIND) { "" } else { "spec" };
    let mut found = Vec::new();
    let mut spec: Option<T> = typed::deserialize(spec, &mut found);
    let broken: Vec<String> = found.iter().map(|finding| join(under, &finding.field)).collect();
    findings.extend(found.into_iter().map(|finding| Finding { field: join(under, &finding.field), ..finding }));
    if let Some(spec) = &mut spec {
        let mut checked = crate::diagnostic::Findings::default();
        spec.validate(&key, &mut checked);
        findings.extend(checked.into_vec().into_iter().filter(|finding| !follows(&finding.field, &broken)));
        spec.normalise();
    }
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    reading.diagnostics.extend(place.diagnostics(object.as_ref(), prefix, findings));
    match (spec, object) {
        (Some(spec), Some(_)) if !refused => {
            let meta = Meta {
                labels: metadata.labels,
                annotations: metadata.annotations,
                created: metadata.creation_timestamp,
            };
            reading.objects.push(wrap(Arc::new(Object { key, meta, source: Some(place.source()), spec })));
        }
        (_, Some(object)) => reading.refused.push(object),
        (_, None) => {}
    }
}

/// Whether a field is said to be wrong only because a value in it, around it or beside it could not be read and was left out.
fn follows(field: &str, broken: &[String]) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let parent = |path: &str| path.rfind(['.', '[']).map_or(0, |end| end);
    broken.iter().any(|path| within(field, path) || path.get(..parent(path)) == Some(field))
}

fn spec_is_root(kind: Kind) -> bool {
    matches!(kind, Kind::Endpoints | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap)
}

fn metadata(value: Option<Value>, kind: Kind, findings: &mut Vec<Finding>) -> Metadata {
    let mut found = Vec::new();
    let metadata: Metadata = typed::deserialize(value.unwrap_or_default(), &mut found).unwrap_or_default();
    findings.extend(found.into_iter().map(|finding| Finding { field: join("metadata", &finding.field), ..finding }));
    let name = &metadata.name;
    let character = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |c: char| c.is_ascii_alphanumeric();
    if name.is_empty() {
        findings.push(general(code::NO_NAME, "metadata", format!("the {kind} has no name"), "add `metadata.name`"));
    } else if name.len() > 253 || !name.bytes().all(character) || !name.starts_with(ends) || !name.ends_with(ends) {
        let help = "use lower-case letters, digits, `-` and `.`";
        findings.push(general(code::NO_NAME, "metadata.name", format!("`{name}` is no name of an object"), help));
    }
    metadata
}

fn key(kind: Kind, metadata: &Metadata) -> Key {
    let namespace: Arc<str> = match (kind, &*metadata.namespace) {
        (Kind::Namespace, _) => "".into(),
        (_, "") => "default".into(),
        (_, namespace) => namespace.into(),
    };
    Key { namespace, name: Arc::from(&*metadata.name) }
}

fn general(code: &'static str, field: &str, message: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding {
        code,
        severity: Severity::Error,
        field: field.to_owned(),
        message: message.into(),
        help: Some(help.into()),
    }
}

fn join(prefix: &str, field: &str) -> String {
    match (prefix.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (_, true) => prefix.to_owned(),
        _ if field.starts_with('[') => format!("{prefix}{field}"),
        _ => format!("{prefix}.{field}"),
    }
}

#[cfg(test)]
mod tests;
