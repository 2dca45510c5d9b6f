//! What ServiceEntries that there are lack: ports, and addresses that a person has to allow. A second ServiceEntry would not do: of a wildcard's name
//! it would take the other ports, and the addresses that the first one allows hold for its own ports alone.

use super::denials::{Denial, Target};
use super::entries::{self, Protocol, port_yaml, put_port};
use crate::words::printable;
use resources::key::Key;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The annotation with the addresses that the hosts of a ServiceEntry may have.
const ALLOWED: &str = "moongate.dev/allowed-addresses";
/// What an API server adds to an object, and does not take back.
const OF_SERVER: [&str; 6] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a ServiceEntry lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addition {
    pub(super) ports: BTreeMap<u16, Protocol>,
    /// Addresses that are not of the internet.
    pub(super) addresses: BTreeSet<String>,
    pub(super) remarks: BTreeSet<String>,
    /// The hosts that clients asked for with these ports, and those that have these addresses.
    pub(super) hosts: BTreeSet<String>,
    pub(super) addressed: BTreeSet<String>,
}

/// By ServiceEntry.
pub(super) type Additions = BTreeMap<Key, Addition>;

/// The ServiceEntries of the configuration, as far as it is given.
#[derive(Debug, Default)]
pub(super) struct Known(pub(super) BTreeMap<Key, Value>);

impl Known {
    /// The ServiceEntry whose ports count for a host: the one with the most specific of its hosts.
    fn of_host(&self, host: &str) -> Option<&Key> {
        let length = |object: &Value| {
            let hosts = object.get("spec")?.get("hosts")?.as_array()?;
            let covering = hosts.iter().filter_map(Value::as_str).filter_map(|own| match own.strip_prefix('*') {
                None => own.eq_ignore_ascii_case(host).then_some(usize::MAX),
                Some(suffix) => host.ends_with(&suffix.to_ascii_lowercase()).then_some(suffix.len()),
            });
            covering.max()
        };
        let found = self.0.iter().filter_map(|(key, object)| Some((length(object)?, key)));
        found.max_by_key(|(length, key)| (*length, std::cmp::Reverse(*key))).map(|(_, key)| key)
    }
}

/// Adds what a ServiceEntry lacks for a destination that was denied for `reason`, and says which; `None` where none has the host, or where it is not
/// known.
pub(super) fn add(
    additions: &mut Additions,
    known: &Known,
    target: &Target,
    denial: &Denial,
    reason: &str,
) -> Option<String> {
    let detail = reason.strip_prefix("egress_denied{").and_then(|rest| rest.strip_suffix('}'))?;
    let is_port = match detail {
        "port" => true,
        "address" => false,
        _ => return None,
    };
    let key = denial.entry.clone().or_else(|| known.of_host(&target.host).cloned())?;
    let text = format!("ServiceEntry {key} has the host, see below");
    let refused = entries::refused(denial);
    if !is_port && refused.is_empty() {
        return None;
    }
    // A text that is no destination has no port, and there is nothing to add for it.
    let port = target.port?;
    let addition = additions.entry(key).or_default();
    if is_port {
        let protocol = Protocol::of(target.way, port);
        put_port(&mut addition.ports, &mut addition.remarks, port, protocol);
        addition.hosts.insert(target.host.clone());
    } else {
        addition.addresses.extend(refused);
        addition.addressed.insert(target.host.clone());
    }
    Some(text)
}

/// What is suggested for a ServiceEntry: itself with all that it lacks where it is known, and otherwise what to add to it.
pub(super) fn text(key: &Key, addition: &Addition, known: &Known) -> String {
    let (mut out, known) = (String::new(), known.0.get(key));
    if !addition.ports.is_empty() {
        let with = known.map(|object| with_ports(object, &addition.ports));
        ports(key, addition, with.as_ref(), &mut out);
    }
    if !addition.addresses.is_empty() {
        addresses(key, addition, known, &mut out);
    }
    out
}

/// A line of a comment. Names and values of somebody else cannot end it.
fn comment(out: &mut String, text: &str) {
    let _ = writeln!(out, "# {}", printable(text));
}

fn ports(key: &Key, addition: &Addition, with: Option<&Value>, out: &mut String) {
    let hosts = addition.hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    out.push('\n');
    for remark in &addition.remarks {
        comment(out, remark);
    }
    if let Some(object) = with {
        comment(
            out,
            &format!("{key} as it is, with the ports that clients of {hosts} asked for, for all of its hosts"),
        );
        let _ = write!(out, "---\n{}", crate::yaml::to_yaml(object));
        return;
    }
    comment(
        out,
        &format!("ServiceEntry {key} has {hosts} without these ports. Add them to `spec.ports`, for all of its hosts:"),
    );
    for (number, protocol) in &addition.ports {
        for line in port_yaml(*number, *protocol).lines() {
            comment(out, line);
        }
    }
    let operations: Vec<Value> = addition
        .ports
        .iter()
        .map(|(number, protocol)| json!({"op": "add", "path": "/spec/ports/-", "value": port(*number, *protocol)}))
        .collect();
    let (namespace, name) = (&key.namespace, &key.name);
    let operations = Value::from(operations);
    comment(
        out,
        &format!("kubectl patch serviceentry {name} --namespace {namespace} --type json --patch '{operations}'"),
    );
    comment(out, "With `-f PATH`, the files with the configuration, the whole object is printed.");
}

fn addresses(key: &Key, addition: &Addition, known: Option<&Value>, out: &mut String) {
    let hosts = addition.addressed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let before = known.and_then(|object| object.get("metadata")?.get("annotations")?.get(ALLOWED)?.as_str());
    let before = before.unwrap_or_default().split(',').map(str::trim).filter(|range| !range.is_empty());
    let all: Vec<&str> = before.chain(addition.addresses.iter().map(String::as_str)).collect();
    // A JSON string is one of YAML as well.
    let all = Value::from(printable(&all.join(", ")));
    out.push('\n');
    for line in [
        "Not without a decision of a person:",
        &format!(
            "the names of ServiceEntry {key} ({hosts}) have addresses that are not of the internet. Allow them only if the destination is one of your own:"
        ),
        "metadata:",
        "  annotations:",
        &format!("    {ALLOWED}: {all}"),
    ] {
        comment(out, line);
    }
}

/// The object with further ports, in the form in which it can be applied.
fn with_ports(object: &Value, ports: &BTreeMap<u16, Protocol>) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        OF_SERVER.iter().for_each(|field| drop(metadata.remove(*field)));
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
        }
    }
    if let Some(Value::Object(spec)) = object.get_mut("spec")
        && let Value::Array(list) = spec.entry("ports").or_insert_with(|| Value::Array(Vec::new()))
    {
        for (number, protocol) in ports {
            if !list.iter().any(|port| port.get("number") == Some(&json!(number))) {
                list.push(Value::Object(port(*number, *protocol)));
            }
        }
    }
    object
}

fn port(number: u16, protocol: Protocol) -> Map<String, Value> {
    let protocol = protocol.as_str();
    let fields = [
        ("name", Value::from(format!("{}-{number}", protocol.to_ascii_lowercase()))),
        ("number", number.into()),
        ("protocol", protocol.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
