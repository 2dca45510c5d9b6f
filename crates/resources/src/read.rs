//! Documents to objects: a file is cut into documents, each is read by itself, and all that is wrong with it is reported.
//!
//! `sources` calls this for every document that changed; the program takes a [`SourceText`] when it draws a frame.

mod absent;
mod cut;
mod document;
mod field_path;
mod kinds;
mod source_text;
mod typed;
mod written;

use crate::api::ApiResource;
use crate::code;
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::key::{Key, Kind, ObjectRef};
use crate::set::{AnyObject, Meta, Object};
use crate::shown::Aside;
use crate::spec::Spec;
use crate::spec::mesh_config::MeshConfig;
use crate::spec::metadata::{CreationTime, Metadata};
use crate::spec::text_match::Labels;
use crate::yaml;
use document::Document;
use field_path::join;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use written::{inherit, key};

pub use cut::{DocumentText, documents};
pub use source_text::SourceText;
pub use written::written;

/// What a document gave.
#[derive(Debug, Default)]
pub struct Reading {
    /// Objects without errors.
    pub objects: Vec<AnyObject>,
    /// Objects with errors; their last version without is to be kept.
    pub rejected: Vec<Rejected>,
    /// Whether it is not known which objects the document holds: it is no YAML, or lacks what tells an object apart.
    pub unreadable: bool,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects of kinds that are not read.
    pub foreign: Vec<Foreign>,
}

/// An object with errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Its kind and key.
    pub object: ObjectRef,
    /// The code of its first error.
    pub code: &'static str,
    /// What counts in its place while there is no version of it without errors, where traffic would go unsecured otherwise.
    pub guard: Option<AnyObject>,
    /// Of a Gateway, which workloads it is for, where that could be read.
    pub selector: Option<Labels>,
}

/// An object of a kind that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Its `apiVersion`.
    pub version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its namespace and name.
    pub key: Key,
}

/// Reads one document, `kind: List` written out.
pub fn read(file: &Arc<Path>, text: DocumentText<'_>) -> Reading {
    let mut reading = Reading::default();
    let document = Document::new(file, text);
    match yaml::parse(text.text) {
        Err(fault) => {
            reading.unreadable = true;
            reading.diagnostics.push(document.unreadable(&fault));
        }
        Ok(parsed) if parsed.value.is_null() => {}
        Ok(parsed) => {
            let mut reader = Reader { document: &document, odd_keys: parsed.odd_keys, reading: &mut reading };
            reader.value(parsed.value, "");
        }
    }
    reading
}

/// Reads an object of an API server, which has no text: findings have the path of their field alone.
pub fn read_value(value: Value) -> Reading {
    let mut reading = Reading::default();
    let document = Document::without_text();
    Reader { document: &document, odd_keys: false, reading: &mut reading }.value(value, "");
    reading
}

/// Reads a YAML or JSON text into any type; the error is one line for people.
pub fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let parsed = yaml::parse(text).map_err(|fault| format!("line {}: {}", fault.line, fault.message))?;
    serde_path_to_error::deserialize(parsed.value).map_err(|error| error.to_string())
}

/// Reads mesh settings from the text of a file; what is wrong is reported, and the defaults take its place.
pub fn read_mesh_config(file: &Arc<Path>, text: &str) -> (MeshConfig, Vec<Diagnostic>) {
    let document = Document::new(file, DocumentText { first_line: 1, text });
    let value = match yaml::parse(text) {
        Err(fault) => return (MeshConfig::default(), vec![document.unreadable(&fault)]),
        Ok(parsed) if parsed.value.is_null() => return (MeshConfig::default(), Vec::new()),
        Ok(parsed) => parsed.value,
    };
    let mut findings = Vec::new();
    let written = document.below(String::new());
    let mut config = typed::deserialize(value, &written, true, &mut findings).unwrap_or_default();
    let mut checked = crate::diagnostic::Findings::default();
    crate::validate::mesh_config::settle(&mut config, &mut checked);
    findings.extend(checked.into_vec());
    let known = |finding: Finding| match finding.code {
        code::UNKNOWN_FIELD => Finding { code: code::MESH_CONFIG, severity: Severity::Warning, ..finding },
        _ => Finding { code: code::MESH_CONFIG, ..finding },
    };
    let without_effect = config.without_effect().into_iter().map(|(field, cause)| Finding {
        code: code::MESH_NO_EFFECT,
        severity: Severity::Info,
        field: field.to_owned(),
        message: format!("it has no effect: {cause}"),
        help: Some("it may stay, or be left out".to_owned()),
    });
    let found = findings.into_iter().map(known).chain(without_effect).collect();
    (config, document.diagnostics(None, "", found))
}

/// Reads the objects of a document.
struct Reader<'a> {
    document: &'a Document<'a>,
    /// Whether the document has keys that are read as something else than what was written.
    odd_keys: bool,
    reading: &'a mut Reading,
}

impl Reader<'_> {
    /// A finding about what is not known as an object, so that it may be any.
    fn add(&mut self, prefix: &str, finding: Finding) {
        self.reading.unreadable = true;
        self.reading.diagnostics.extend(self.document.diagnostics(None, prefix, vec![finding]));
    }

    fn value(&mut self, value: Value, prefix: &str) {
        let Value::Object(mut fields) = value else {
            let help = "write `apiVersion`, `kind`, `metadata` and `spec`";
            return self.add(prefix, general(code::NO_KIND, "", "not a Kubernetes object: no `kind`", help));
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array) {
            if let Some(Value::Array(items)) = fields.remove("items") {
                for (at, mut item) in items.into_iter().enumerate() {
                    inherit(&mut item, &version, &kind);
                    self.value(item, &join(prefix, &format!("items[{at}]")));
                }
            }
            return;
        }
        if version.is_empty() || kind.is_empty() {
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            let message = format!("not a Kubernetes object: no `{missing}`");
            return self.add(prefix, general(code::NO_KIND, "", message, format!("add `{missing}`")));
        }
        self.kind(fields, prefix, version, kind);
    }

    fn kind(&mut self, fields: Map<String, Value>, prefix: &str, version: String, kind: String) {
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let Some(resource) = ApiResource::named(group, &kind) else {
            return self.other(&fields, prefix, version, kind);
        };
        let number = version.rsplit('/').next().unwrap_or_default();
        if !resource.versions.contains(&number) {
            let known = resource.versions.iter().map(|number| format!("`{}`", resource.api_version(number)));
            let help = format!("use one of {}", known.collect::<Vec<_>>().join(", "));
            let message = format!("`{version}` has no {kind}");
            return self.add(prefix, general(code::WRONG_VERSION, "apiVersion", message, help));
        }
        self.known(resource.kind, fields, prefix);
    }

    fn known(&mut self, kind: Kind, fields: Map<String, Value>, prefix: &str) {
        macro_rules! typed {
            ($($kind:ident)+) => {
                match kind { $(Kind::$kind => self.object(fields, prefix, AnyObject::$kind)),+ }
            };
        }
        typed! {
            Gateway VirtualService DestinationRule ServiceEntry WorkloadEntry RequestAuthentication AuthorizationPolicy
            PeerAuthentication Service Endpoints Pod Node Secret Namespace ConfigMap EndpointSlice
        }
    }

    /// An object of a kind that is not read: one that is misspelt, or another project's.
    fn other(&mut self, fields: &Map<String, Value>, prefix: &str, version: String, kind: String) {
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        if let Some((field, message, help)) = kinds::misspelt(&version, group, &kind) {
            return self.add(prefix, general(code::UNKNOWN_KIND, field, message, help));
        }
        let text = |name: &str| fields.get("metadata").and_then(|metadata| metadata.get(name)?.as_str());
        let namespace = text("namespace").filter(|namespace| !namespace.is_empty()).unwrap_or("default");
        let key = Key::new(namespace, text("name").unwrap_or_default());
        self.reading.foreign.push(Foreign { version, kind, key });
    }
}

impl Reader<'_> {
    fn object<T: Spec>(&mut self, mut fields: Map<String, Value>, prefix: &str, wrap: fn(Arc<Object<T>>) -> AnyObject) {
        let mut findings = if self.odd_keys { self.odd_keys(prefix) } else { Vec::new() };
        let metadata = self.metadata(fields.remove("metadata"), prefix, T::KIND, &mut findings);
        let key = key(T::KIND, &metadata.name, &metadata.namespace);
        let object = (!key.name.is_empty()).then(|| ObjectRef { kind: T::KIND, key: key.clone() });
        // Kinds of Istio have all they say in `spec`, some of Kubernetes' own have it beside the metadata.
        let (spec, under, status) = if spec_is_root(T::KIND) {
            (Value::Object(fields), "", None)
        } else {
            (fields.remove("spec").unwrap_or_else(|| Value::Object(Map::new())), "spec", fields.remove("status"))
        };
        let mut found = Vec::new();
        let written = self.document.below(join(prefix, under));
        let mut spec: Option<T> = typed::deserialize(spec, &written, is_of_kubernetes(T::KIND), &mut found);
        let broken: Vec<String> = found.iter().map(|finding| join(under, &finding.field)).collect();
        findings.extend(found.into_iter().map(|finding| Finding { field: join(under, &finding.field), ..finding }));
        if let Some(spec) = &mut spec {
            let mut checked = crate::diagnostic::Findings::default();
            spec.validate(&key, &mut checked);
            findings.extend(checked.into_vec().into_iter().filter(|finding| !follows(&finding.field, &broken)));
            spec.normalise();
            spec.set_aside(Aside { ends: metadata.deletion_timestamp, status });
        }
        let error = findings.iter().find(|finding| finding.severity == Severity::Error).map(|finding| finding.code);
        self.reading.diagnostics.extend(self.document.diagnostics(object.as_ref(), prefix, findings));
        // With a name that is none it may be any object.
        self.reading.unreadable |= error == Some(code::NO_NAME);
        let Some(object) = object else {
            self.reading.unreadable = true;
            return;
        };
        let created = metadata.creation_timestamp.map(CreationTime::from);
        let meta = Meta { labels: metadata.labels, annotations: metadata.annotations, created };
        let source = self.document.source();
        let any = |spec| wrap(Arc::new(Object { key, meta, source, spec }));
        match (spec, error) {
            (Some(spec), None) => self.reading.objects.push(any(spec)),
            (spec, error) => {
                let selector =
                    spec.as_ref().and_then(T::selector).filter(|_| !broken.iter().any(|path| is_selector(path)));
                let selector = selector.cloned();
                let guard = spec.and_then(T::guard).map(any);
                let code = error.unwrap_or(code::WRONG_VALUE);
                self.reading.rejected.push(Rejected { object, code, guard, selector });
            }
        }
    }

    /// Keys that YAML reads as something else than what was written. kubectl takes them for what they are read as, but for null.
    fn odd_keys(&self, prefix: &str) -> Vec<Finding> {
        let finding = |odd: yaml::OddKey| {
            let null = matches!(&*odd.written, "~" | "null" | "Null" | "NULL");
            let kind = match (null, &*odd.read) {
                (true, _) => "null",
                (false, "true" | "false") => "a boolean",
                _ => "a number",
            };
            let message = format!("YAML reads the key `{}` as {kind}, so that it becomes `{}`", odd.written, odd.read);
            Finding {
                code: code::ODD_KEY,
                severity: if null { Severity::Error } else { Severity::Warning },
                field: odd.path,
                message,
                help: Some(format!("write it in quotes: \"{}\"", odd.written)),
            }
        };
        self.document.below(prefix.to_owned()).odd_keys().into_iter().map(finding).collect()
    }

    fn metadata(&self, value: Option<Value>, prefix: &str, kind: Kind, findings: &mut Vec<Finding>) -> Metadata {
        let mut found = Vec::new();
        let written = self.document.below(join(prefix, "metadata"));
        let read = typed::deserialize(value.unwrap_or_default(), &written, true, &mut found);
        let metadata: Metadata = read.unwrap_or_default();
        let named = |finding: &Finding| &*finding.field == "name" || finding.field.is_empty();
        let unnamed = found.iter().any(named);
        findings
            .extend(found.into_iter().map(|finding| Finding { field: join("metadata", &finding.field), ..finding }));
        check_name(&metadata.name, kind, unnamed, findings);
        metadata
    }
}

/// `reported`: that there is none follows from an error that was found before.
fn check_name(name: &str, kind: Kind, reported: bool, findings: &mut Vec<Finding>) {
    let character = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |c: char| c.is_ascii_alphanumeric();
    if name.is_empty() {
        if !reported {
            findings.push(general(code::NO_NAME, "metadata", format!("the {kind} has no name"), "add `metadata.name`"));
        }
    } else if name.len() > 253 || !name.bytes().all(character) || !name.starts_with(ends) || !name.ends_with(ends) {
        let help = "use lower-case letters, digits, `-` and `.`";
        findings.push(general(code::NO_NAME, "metadata.name", format!("invalid name `{name}`"), help));
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

/// Whether a path is that of the selector, of a part of it, or of what it may have been meant to be.
fn is_selector(path: &str) -> bool {
    path.starts_with("spec.selector")
}

/// Whether what the object says is beside its metadata, not in `spec`.
pub fn spec_is_root(kind: Kind) -> bool {
    matches!(kind, Kind::Endpoints | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap | Kind::Pod)
}

/// Whether Go's own JSON reads the kind, which takes null for an empty text; kinds of Istio are read by the rules of protobuf.
fn is_of_kubernetes(kind: Kind) -> bool {
    spec_is_root(kind) || matches!(kind, Kind::Service | Kind::Namespace | Kind::Node)
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

#[cfg(test)]
mod tests;
