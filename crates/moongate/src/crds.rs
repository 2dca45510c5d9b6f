//! `moongate crds`: the definitions of Istio's kinds, for clusters without Istio's. The kinds, their names and versions are those that
//! are read (`resources::api`); the fields at the top of each are declared, with the demands that Istio's validation makes of them as rules in
//! CEL. What is below them is checked when it is read.

use crate::{output, yaml};
use anyhow::Result;
use resources::api::{ALL, ApiResource};
use resources::key::Kind;
use serde_json::{Map, Value, json};

/// Prints the definitions.
pub(crate) fn crds() -> Result<()> {
    output::print(&text())
}

fn text() -> String {
    let definitions: Vec<String> = ALL.iter().filter_map(definition).map(|one| yaml::to_yaml(&one)).collect();
    definitions.join("---\n")
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    Texts,
    /// Texts by name.
    Map,
    /// An object that is not described further.
    Object,
    /// A list of such objects.
    Objects,
}

/// What is declared of a kind.
struct Declared {
    fields: &'static [(&'static str, Type)],
    required: &'static [&'static str],
    /// Rules in CEL, each with its message.
    rules: &'static [(&'static str, &'static str)],
    /// Columns of `kubectl get`: name, path, and whether it is shown by `-o wide` alone.
    columns: &'static [(&'static str, &'static str, bool)],
}

/// Rules for `selector`, `targetRef` and `targetRefs` of policies.
const ONE_TARGET: (&str, &str) = (
    "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    "only one of targetRefs or selector can be set",
);

fn declared(kind: Kind) -> Option<Declared> {
    use Type::{Map, Object, Objects, OneOf, Text, Texts};
    Some(match kind {
        Kind::Gateway => Declared {
            fields: &[("selector", Map), ("servers", Objects)],
            required: &["servers"],
            rules: &[("size(self.servers) > 0", "a Gateway needs at least one server")],
            columns: &[("Selector", ".spec.selector", true), ("Hosts", ".spec.servers[*].hosts", false)],
        },
        Kind::VirtualService => Declared {
            fields: &[
                ("hosts", Texts),
                ("gateways", Texts),
                ("http", Objects),
                ("tls", Objects),
                ("tcp", Objects),
                ("exportTo", Texts),
            ],
            required: &[],
            rules: &[
                (
                    "has(self.http) && size(self.http) > 0 || has(self.tls) && size(self.tls) > 0 || has(self.tcp) && size(self.tcp) > 0",
                    "a VirtualService needs at least one rule",
                ),
                (
                    "!has(self.gateways) || !has(self.hosts) || !('*' in self.hosts) || !('mesh' in self.gateways)",
                    "`*` may not be bound to the mesh",
                ),
            ],
            columns: &[("Gateways", ".spec.gateways", false), ("Hosts", ".spec.hosts", false)],
        },
        Kind::DestinationRule => Declared {
            fields: &[
                ("host", Text),
                ("trafficPolicy", Object),
                ("subsets", Objects),
                ("exportTo", Texts),
                ("workloadSelector", Object),
            ],
            required: &["host"],
            rules: &[("size(self.host) > 0", "the host of a DestinationRule is a name or a wildcard")],
            columns: &[("Host", ".spec.host", false)],
        },
        Kind::ServiceEntry => Declared {
            fields: &[
                ("hosts", Texts),
                ("addresses", Texts),
                ("ports", Objects),
                ("location", OneOf(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
                ("resolution", OneOf(&["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"])),
                ("endpoints", Objects),
                ("workloadSelector", Object),
                ("exportTo", Texts),
                ("subjectAltNames", Texts),
            ],
            required: &["hosts"],
            rules: &[
                ("size(self.hosts) > 0", "a ServiceEntry needs at least one host"),
                (
                    "!(has(self.workloadSelector) && has(self.endpoints))",
                    "only one of WorkloadSelector or Endpoints can be set",
                ),
            ],
            columns: &[
                ("Hosts", ".spec.hosts", false),
                ("Location", ".spec.location", false),
                ("Resolution", ".spec.resolution", false),
            ],
        },
        Kind::WorkloadEntry => Declared {
            fields: &[
                ("address", Text),
                ("ports", Object),
                ("labels", Map),
                ("network", Text),
                ("locality", Text),
                ("serviceAccount", Text),
            ],
            required: &[],
            rules: &[("has(self.address) || has(self.network)", "Address is required")],
            columns: &[("Address", ".spec.address", false)],
        },
        Kind::RequestAuthentication => Declared {
            fields: &[("selector", Object), ("targetRef", Object), ("targetRefs", Objects), ("jwtRules", Objects)],
            required: &[],
            rules: &[ONE_TARGET],
            columns: &[],
        },
        Kind::AuthorizationPolicy => Declared {
            fields: &[
                ("selector", Object),
                ("targetRef", Object),
                ("targetRefs", Objects),
                ("rules", Objects),
                ("action", OneOf(&["ALLOW", "DENY", "AUDIT", "CUSTOM"])),
                ("provider", Object),
            ],
            required: &[],
            rules: &[
                ONE_TARGET,
                (
                    "(has(self.action) && self.action == 'CUSTOM') == has(self.provider)",
                    "CUSTOM policies, and no others, have a provider",
                ),
            ],
            columns: &[("Action", ".spec.action", false)],
        },
        Kind::PeerAuthentication => Declared {
            fields: &[("selector", Object), ("mtls", Object), ("portLevelMtls", Object)],
            required: &[],
            rules: &[("!has(self.portLevelMtls) || has(self.selector)", "portLevelMtls requires selector")],
            columns: &[("Mode", ".spec.mtls.mode", false)],
        },
        _ => return None,
    })
}

fn definition(resource: &ApiResource) -> Option<Value> {
    let declared = declared(resource.kind)?;
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    let column = |(name, path, wide): &(&str, &str, bool)| {
        let mut column = json!({"name": name, "type": "string", "jsonPath": path});
        if let (true, Value::Object(fields)) = (*wide, &mut column) {
            fields.insert("priority".to_owned(), 1.into());
        }
        column
    };
    let columns: Vec<Value> = declared.columns.iter().map(column).chain([age]).collect();
    // Objects are kept in the preferred version, and all versions say the same.
    let version = |(at, name): (usize, &&str)| {
        json!({
            "name": name, "served": true, "storage": at == 0, "subresources": {"status": {}},
            "additionalPrinterColumns": columns, "schema": {"openAPIV3Schema": schema(&declared)},
        })
    };
    let group = resource.group.split('.').next().unwrap_or_default();
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.full_name()},
        "spec": {
            "group": resource.group, "scope": "Namespaced",
            "names": {
                "kind": resource.kind.as_str(), "listKind": format!("{}List", resource.kind), "plural": resource.plural,
                "singular": resource.singular, "shortNames": resource.short, "categories": ["istio-io", format!("{group}-istio-io")],
            },
            "versions": resource.versions.iter().enumerate().map(version).collect::<Vec<_>>(),
        },
    }))
}

fn schema(declared: &Declared) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let field = |(name, kind): &(&str, Type)| {
        let schema = match kind {
            Type::Text => json!({"type": "string"}),
            Type::OneOf(values) => json!({"type": "string", "enum": values}),
            // Bounds let the server tell what a rule costs at most.
            Type::Texts => json!({"type": "array", "maxItems": 4096, "items": {"type": "string", "maxLength": 1024}}),
            Type::Map => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            Type::Object => open.clone(),
            Type::Objects => json!({"type": "array", "items": open.clone()}),
        };
        ((*name).to_owned(), schema)
    };
    let fields: Map<String, Value> = declared.fields.iter().map(field).collect();
    let rules: Vec<Value> =
        declared.rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect();
    let mut spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": fields});
    if let Value::Object(spec) = &mut spec {
        if !declared.required.is_empty() {
            spec.insert("required".to_owned(), json!(declared.required));
        }
        if !rules.is_empty() {
            spec.insert("x-kubernetes-validations".to_owned(), rules.into());
        }
    }
    let mut properties = Map::new();
    properties.insert("spec".to_owned(), spec);
    properties.insert("status".to_owned(), open);
    json!({"type": "object", "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::read::read_value;
    use std::collections::BTreeSet;

    fn definitions() -> Vec<Value> {
        ALL.iter().filter_map(definition).collect()
    }

    #[test]
    fn every_kind_of_istio_is_defined_under_its_names() {
        let names: BTreeSet<String> = definitions()
            .iter()
            .map(|one| one.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ALL.iter().filter(|one| one.is_istio()).map(ApiResource::full_name).collect());
    }

    /// A field that is declared is one that is read: `read_value` reports others.
    #[test]
    fn declared_fields_are_those_that_are_read() {
        for resource in ALL.iter().filter(|one| one.is_istio()) {
            let declared = declared(resource.kind).unwrap();
            for (field, _) in declared.fields {
                let object = json!({
                    "apiVersion": resource.api_version("v1"), "kind": resource.kind.as_str(), "metadata": {"name": "a"},
                    "spec": {*field: null},
                });
                let unknown = read_value(object).diagnostics.into_iter().find(|one| one.code == "MG0004");
                assert_eq!(unknown, None, "{} {field}", resource.kind);
            }
        }
    }

    #[test]
    fn the_folder_deploy_has_what_is_printed() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds.yaml");
        let found = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(found, text(), "run `cargo run -- crds > deploy/crds.yaml`");
    }
}
