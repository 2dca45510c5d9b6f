//! `moongate crds`: the definitions of Istio's kinds, for clusters without Istio's. The kinds, their names and versions are those that
//! are read (`resources::api`), the columns are those of Istio's CRDs, and the schemas are those of the types that read the kinds (`schema`), with
//! what validation demands of single fields (`rules`). The API server keeps fields that no type has, so that reading reports them: if it dropped
//! them, a policy would cover more or less than it says, and nothing would tell.

mod rules;
mod schema;

use crate::{output, yaml};
use anyhow::{Error, Result};
use resources::api::{ALL, ApiResource};
use resources::key::Kind;
use resources::spec::destination_rule::DestinationRule;
use resources::spec::gateway::Gateway;
use resources::spec::security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication};
use resources::spec::service_entry::ServiceEntry;
use resources::spec::virtual_service::VirtualService;
use resources::spec::workload_entry::WorkloadEntry;
use serde_json::{Value, json};

/// Prints the definitions.
pub(crate) fn crds() -> Result<()> {
    output::print(&text()?)
}

fn text() -> Result<String> {
    let definitions = ALL.iter().filter_map(definition).map(|one| one.map(|one| yaml::to_yaml(&one)));
    Ok(definitions.collect::<Result<Vec<String>>>()?.join("---\n"))
}

/// A column of `kubectl get`: name and path, of which the API server shows the first value alone.
type Column = (&'static str, &'static str);

/// What is shown of all kinds.
const AGE: Column = ("Age", ".metadata.creationTimestamp");

/// The schema of a kind's `spec`, and its columns; nothing for kinds that are not Istio's.
fn declared(kind: Kind) -> Option<(Result<Value, String>, &'static [Column])> {
    let (schema, columns): (_, &[Column]) = match kind {
        Kind::Gateway => (schema::of::<Gateway>(), &[AGE]),
        Kind::VirtualService => {
            (schema::of::<VirtualService>(), &[("Gateways", ".spec.gateways"), ("Hosts", ".spec.hosts"), AGE])
        }
        Kind::DestinationRule => (schema::of::<DestinationRule>(), &[("Host", ".spec.host"), AGE]),
        Kind::ServiceEntry => (
            schema::of::<ServiceEntry>(),
            &[("Hosts", ".spec.hosts"), ("Location", ".spec.location"), ("Resolution", ".spec.resolution"), AGE],
        ),
        Kind::WorkloadEntry => (schema::of::<WorkloadEntry>(), &[AGE, ("Address", ".spec.address")]),
        Kind::RequestAuthentication => (schema::of::<RequestAuthentication>(), &[AGE]),
        Kind::AuthorizationPolicy => (schema::of::<AuthorizationPolicy>(), &[("Action", ".spec.action"), AGE]),
        Kind::PeerAuthentication => (schema::of::<PeerAuthentication>(), &[("Mode", ".spec.mtls.mode"), AGE]),
        _ => return None,
    };
    let demanded = |mut schema| rules::add(kind, &mut schema).map(|()| schema);
    Some((schema.and_then(demanded), columns))
}

fn definition(resource: &ApiResource) -> Option<Result<Value>> {
    let (spec, columns) = declared(resource.kind)?;
    Some(spec.map(|spec| with_schema(resource, &spec, columns)).map_err(Error::msg))
}

fn with_schema(resource: &ApiResource, spec: &Value, columns: &[Column]) -> Value {
    let column = |column: &Column| {
        let (name, path) = column;
        json!({"name": name, "type": if *column == AGE { "date" } else { "string" }, "jsonPath": path})
    };
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut object = json!({"type": "object", "properties": {"spec": spec, "status": status}});
    if let (true, Value::Object(fields)) = (spec.get("required").is_some(), &mut object) {
        fields.insert("required".to_owned(), json!(["spec"]));
    }
    // Objects are kept in the preferred version, and all versions say the same.
    let version = |(at, name): (usize, &&str)| {
        json!({
            "name": name, "served": true, "storage": at == 0, "subresources": {"status": {}},
            "additionalPrinterColumns": columns, "schema": {"openAPIV3Schema": object},
        })
    };
    let group = resource.group.split('.').next().unwrap_or_default();
    json!({
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn definitions() -> Vec<Value> {
        ALL.iter().filter_map(definition).map(Result::unwrap).collect()
    }

    #[test]
    fn every_kind_of_istio_is_defined_under_its_names() {
        let names: BTreeSet<String> = definitions()
            .iter()
            .map(|one| one.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ALL.iter().filter(|one| one.is_istio()).map(ApiResource::full_name).collect());
    }

    /// What the API server asks of schemas, beyond what it is tested with: every value has a type or none is known.
    #[test]
    fn schemas_are_structural() {
        fn check(schema: &Value, path: &str) {
            let is_typed = schema.get("type").is_some_and(Value::is_string);
            let is_open = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"]
                .iter()
                .any(|key| schema.get(key) == Some(&Value::Bool(true)));
            assert!(is_typed || is_open, "{path}: {schema}");
            for (name, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                check(below, &format!("{path}.{name}"));
            }
            for below in ["items", "additionalProperties"].iter().filter_map(|name| schema.get(name)) {
                check(below, &format!("{path}[]"));
            }
        }
        for one in definitions() {
            check(one.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap(), "");
        }
    }

    #[test]
    fn the_folder_deploy_has_what_is_printed() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kustomize/crds/crds.yaml");
        let found = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(found, text().unwrap(), "run `cargo run -- crds > deploy/kustomize/crds/crds.yaml`");
    }
}
