//! `moongate get`: objects in kubectl's manner, of files and folders or of a running gateway.

mod age;
mod columns;
mod pod;
mod request;
mod selector;
mod table;
mod value;

use crate::cli::{GetArgs, Role};
use crate::gateway_services;
use crate::output;
use crate::page_client;
use crate::words::counted;
use crate::written;
use crate::yaml;
use anyhow::{Context, Result, anyhow, bail};
use compiler::Workload;
use jiff::Timestamp;
use request::Request;
use resources::api::ApiResource;
use resources::diagnostic::Severity;
use resources::key::{Kind, ObjectRef};
use selector::Selector;
use serde_json::{Map, Value, json};
use sources::{FileReader, LoadError};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The page of a running gateway that has its objects.
pub(crate) const OBJECTS: &str = "/objects";

/// The exit code of what kubectl calls an error.
const FAILED: u8 = 1;

type Objects = Vec<(ObjectRef, Value)>;

/// How objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table { wide: bool },
    Json,
    Yaml,
    Name,
}

/// Prints what is asked for.
pub(crate) fn get(args: &GetArgs) -> Result<ExitCode> {
    let selected = match select(args) {
        Ok(selected) => selected,
        Err(messages) => return Ok(fail(&messages)),
    };
    let objects =
        if args.files.is_empty() { of_gateway(args, &selected.kinds) } else { of_files(args, &selected.kinds) };
    let objects = match objects {
        Err(error) => match missing_path(&error) {
            Some(path) => return Ok(fail(&[format!("error: the path {path:?} does not exist")])),
            None => return Err(error),
        },
        Ok(objects) => objects,
    };
    let (found, missing) = selected.pick(objects, args);
    output::print(&selected.render(&found, args))?;
    if missing.is_empty() && found.is_empty() && matches!(selected.form, Form::Table { .. }) {
        let everywhere = args.all_namespaces || !selected.is_namespaced();
        let place = if everywhere { String::new() } else { format!(" in {} namespace.", args.namespace) };
        // kubectl says it there, and ends well.
        output::print_note(&format!("No resources found{place}"));
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { fail(&missing) })
}

/// The path that is not there, where that is the error.
fn missing_path(error: &anyhow::Error) -> Option<&Path> {
    let error: &LoadError = error.downcast_ref()?;
    (error.source.kind() == io::ErrorKind::NotFound).then_some(&*error.path)
}

fn fail(messages: &[String]) -> ExitCode {
    messages.iter().for_each(|message| output::print_note(message));
    ExitCode::from(FAILED)
}

/// What to show, and how.
struct Selected {
    request: Request,
    kinds: BTreeSet<Kind>,
    form: Form,
    labels: Selector,
}

/// The error has a line for each thing that is wrong.
fn select(args: &GetArgs) -> Result<Selected, Vec<String>> {
    let error = |message: String| vec![format!("error: {message}")];
    let request = request::parse(&args.resources).map_err(error)?;
    let form = match args.output.as_deref() {
        None => Form::Table { wide: false },
        Some("wide") => Form::Table { wide: true },
        Some("json") => Form::Json,
        Some("yaml") => Form::Yaml,
        Some("name") => Form::Name,
        Some(other) => {
            let message = "unable to match a printer suitable for the output format";
            return Err(error(format!("{message} \"{other}\", allowed formats are: json,name,wide,yaml")));
        }
    };
    if let (true, Some(other @ ("json" | "yaml" | "name"))) = (args.show_labels, args.output.as_deref()) {
        return Err(error(format!("--show-labels option cannot be used with {other} printer")));
    }
    let kinds: BTreeSet<Kind> = match &request {
        Request::Kinds(kinds, _) => kinds.iter().copied().collect(),
        Request::Objects(objects) => objects.iter().map(|(kind, _)| *kind).collect(),
    };
    let by_name = match &request {
        Request::Kinds(_, names) => !names.is_empty(),
        Request::Objects(_) => true,
    };
    let resources = || kinds.iter().filter_map(|kind| ApiResource::of(*kind));
    if by_name && args.all_namespaces && resources().any(|resource| resource.namespaced) {
        return Err(error("a resource cannot be retrieved by name across all namespaces".to_owned()));
    }
    let selector = args.selector.as_deref().unwrap_or_default().trim();
    if by_name && !selector.is_empty() {
        let message = match request {
            Request::Kinds(..) => "name cannot be provided when a selector is specified",
            Request::Objects(_) => "selectors and the all flag cannot be used when passing resource/name arguments",
        };
        return Err(error(message.to_owned()));
    }
    let labels = Selector::parse(selector).map_err(|message| unselectable(&request, selector, &message))?;
    Ok(Selected { request, kinds, form, labels })
}

/// Of each kind the server says by itself that it does not understand the selector.
fn unselectable(request: &Request, selector: &str, message: &str) -> Vec<String> {
    let kinds = if let Request::Kinds(kinds, _) = request { kinds.as_slice() } else { &[] };
    let say = |resource: &ApiResource| {
        let version = resource.api_version(resource.versions.first().copied().unwrap_or_default());
        // The core group has no name.
        let version = if resource.group.is_empty() { format!("/{version}") } else { version };
        format!(
            "Error from server (BadRequest): Unable to find \"{version}, Resource={}\" that match label selector {selector:?}, \
             field selector \"\": {message}",
            resource.plural
        )
    };
    kinds.iter().filter_map(|kind| ApiResource::of(*kind)).map(say).collect()
}

impl Selected {
    /// The objects that are asked for, in the order in which they are, and what there is to say about those that are missing.
    fn pick(&self, objects: Objects, args: &GetArgs) -> (Objects, Vec<String>) {
        let is_here = |object: &ObjectRef| {
            args.all_namespaces || object.key.namespace.is_empty() || *object.key.namespace == *args.namespace
        };
        let objects: Objects =
            objects.into_iter().filter(|(object, value)| is_here(object) && self.labels.selects(value)).collect();
        let names: Vec<(Kind, &str)> = match &self.request {
            Request::Kinds(kinds, names) if names.is_empty() => {
                let of = |kind: Kind| objects.iter().filter(move |(object, _)| object.kind == kind).cloned();
                return (kinds.iter().flat_map(|kind| of(*kind)).collect(), Vec::new());
            }
            Request::Kinds(kinds, names) => {
                kinds.iter().flat_map(|kind| names.iter().map(move |name| (*kind, &**name))).collect()
            }
            Request::Objects(all) => all.iter().map(|(kind, name)| (*kind, &**name)).collect(),
        };
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (kind, name) in names {
            match objects.iter().find(|(object, _)| object.kind == kind && *object.key.name == *name) {
                Some(one) => found.push(one.clone()),
                None => {
                    let resource = ApiResource::of(kind).map(ApiResource::full_name).unwrap_or_default();
                    missing.push(format!("Error from server (NotFound): {resource} \"{name}\" not found"));
                }
            }
        }
        (found, missing)
    }

    fn is_namespaced(&self) -> bool {
        self.kinds.iter().filter_map(|kind| ApiResource::of(*kind)).all(|resource| resource.namespaced)
    }

    fn render(&self, found: &Objects, args: &GetArgs) -> String {
        match self.form {
            Form::Name => found.iter().map(|(object, _)| qualified(object) + "\n").collect(),
            Form::Json => self.document(found).as_ref().map(json_text).unwrap_or_default(),
            Form::Yaml => self.document(found).as_ref().map(yaml::as_kubectl).unwrap_or_default(),
            Form::Table { wide } => self.tables(found, args, wide),
        }
    }

    /// One object where one is asked for, else a list, which may be empty.
    fn document(&self, found: &Objects) -> Option<Value> {
        let is_one = match &self.request {
            Request::Kinds(_, names) => names.len() == 1,
            Request::Objects(objects) => objects.len() == 1,
        };
        match found.as_slice() {
            [(_, value)] if is_one => Some(value.clone()),
            // The one that is asked for is not there.
            [] if is_one => None,
            found => {
                let items: Vec<&Value> = found.iter().map(|(_, value)| value).collect();
                Some(json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}))
            }
        }
    }

    /// A table for each kind that there is something of.
    fn tables(&self, found: &Objects, args: &GetArgs, wide: bool) -> String {
        let now = Timestamp::now();
        // Of single objects, those that were found decide whether names have their kind.
        let kinds_found = found.iter().map(|(object, _)| object.kind).collect::<BTreeSet<_>>().len();
        let kinds = if matches!(self.request, Request::Objects(_)) { kinds_found } else { self.kinds.len() };
        let several = kinds > 1;
        let mut tables = Vec::new();
        let mut rest = found.as_slice();
        while let Some((first, _)) = rest.first() {
            let kind = first.kind;
            let count = rest.iter().take_while(|(object, _)| object.kind == kind).count();
            let (these, others) = rest.split_at(count);
            rest = others;
            let in_namespace = args.all_namespaces && !first.key.namespace.is_empty();
            let row = |object: Option<(&ObjectRef, &Value)>| {
                let mut row = match object {
                    None => columns::names(kind, wide).into_iter().map(str::to_owned).collect(),
                    Some((_, value)) => columns::cells(kind, value, wide, now),
                };
                if let (Some((object, _)), Some(name), true) = (object, row.first_mut(), several) {
                    *name = qualified(object);
                }
                if in_namespace {
                    row.insert(0, object.map_or("NAMESPACE", |(object, _)| &*object.key.namespace).to_owned());
                }
                if args.show_labels {
                    let labels = |(_, value): (_, &Value)| columns::labels(value.pointer("/metadata/labels"));
                    row.push(object.map_or_else(|| "LABELS".to_owned(), labels));
                }
                row
            };
            let header = (!args.no_headers).then(|| row(None));
            let rows: Vec<_> =
                header.into_iter().chain(these.iter().map(|(object, value)| row(Some((object, value))))).collect();
            tables.push(table::render(&rows));
        }
        tables.join(if args.no_headers { "" } else { "\n" })
    }
}

/// `gateway.networking.istio.io/name`, `service/name`.
fn qualified(object: &ObjectRef) -> String {
    let resource = ApiResource::of(object.kind);
    let (singular, group) = resource.map_or(("", ""), |resource| (resource.singular, resource.group));
    let dot = if group.is_empty() { "" } else { "." };
    format!("{singular}{dot}{group}/{}", object.key.name)
}

/// JSON as kubectl prints it: keys sorted, four spaces a level, and what Go writes so that HTML may contain it.
fn json_text(value: &Value) -> String {
    use serde::Serialize as _;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A value of JSON can be written to memory.
    let _ = sorted(value).serialize(&mut serializer);
    let text = String::from_utf8_lossy(&out);
    let mut escaped = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        // They stand in strings alone.
        if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    escaped
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(fields.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Objects of files and folders, as they would be in a cluster: those with errors, which admission refuses, are left out and counted.
fn of_files(args: &GetArgs, kinds: &BTreeSet<Kind>) -> Result<Objects> {
    let mut source = FileReader::new(args.files.clone())?;
    let Some(loaded) = source.refresh() else { return Ok(Vec::new()) };
    let errors: BTreeSet<&ObjectRef> = loaded
        .diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .filter_map(|one| one.object.as_ref())
        .filter(|object| !loaded.set.contains(object))
        .collect();
    let unreadable = loaded.diagnostics.iter().any(|one| one.severity == Severity::Error && one.object.is_none());
    if !errors.is_empty() || unreadable {
        let what = if errors.is_empty() { "something".to_owned() } else { counted(errors.len(), "object") };
        output::print_note(&format!("Warning: {what} with errors left out; see `moongate check`"));
    }
    let mut objects = written::objects(&loaded.set, &loaded.streams, kinds);
    if kinds.contains(&Kind::Service) {
        let workloads = args.roles.iter().map(|role| workload(*role, args)).collect::<Vec<_>>();
        gateway_services::add(&mut objects, &loaded.set, &workloads, None);
    }
    Ok(objects)
}

fn workload(role: Role, args: &GetArgs) -> Workload {
    let workload = match role {
        Role::Ingress => Workload::ingress(),
        Role::Egress => Workload::egress(),
    };
    Workload { namespace: args.workload_namespace.as_str().into(), ..workload }
}

/// Objects of a running gateway.
fn of_gateway(args: &GetArgs, kinds: &BTreeSet<Kind>) -> Result<Objects> {
    let names: Vec<&str> = kinds.iter().filter_map(|kind| ApiResource::of(*kind)).map(|one| one.singular).collect();
    let target = format!("{OBJECTS}?kinds={}", names.join(","));
    let asked = || format!("cannot ask the gateway at {}", args.admin);
    let help = "give the files with -f, or the address of a running gateway's admin pages with --admin";
    let body = page_client::get(args.admin, &target).with_context(asked).map_err(|error| error.context(help))?;
    let list: Value = serde_json::from_slice(&body).with_context(asked)?;
    let Some(items) = list.get("items").and_then(Value::as_array) else { bail!("{}: it gave no list", asked()) };
    let mut objects = Vec::with_capacity(items.len());
    for item in items {
        let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let group = text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
        let kind = ApiResource::named(group, text("/kind")).ok_or_else(|| anyhow!("{}: unknown kind", asked()))?.kind;
        let key = resources::key::Key::new(text("/metadata/namespace"), text("/metadata/name"));
        objects.push((ObjectRef { kind, key }, item.clone()));
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_that_of_go() {
        let text = json_text(&json!({"b": "<a> & \u{2028}\u{2029}é\u{a0}\u{1}", "a": []}));
        let expected = "{\n    \"a\": [],\n    \"b\": \"\\u003ca\\u003e \\u0026 \\u2028\\u2029é\u{a0}\\u0001\"\n}\n";
        assert_eq!(text, expected);
    }
}
