//! The chart: its templates, its values, and what they make together.

use super::template::{render, set};
use super::*;
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm")
}

fn values() -> Value {
    let text = std::fs::read_to_string(folder().join("values.yaml")).unwrap();
    resources::read::from_yaml(&text).unwrap()
}

/// The objects of a gateway with these values in place of the chart's own.
fn rendered(role: Role, own: &[(&str, Value)]) -> Result<Vec<Value>, String> {
    let mut values = values();
    own.iter().for_each(|(path, value)| set(&mut values, path, value.clone()));
    let text = render(&chart(role), &values)?;
    let documents = text.split("\n---\n").filter(|document| !document.trim().is_empty());
    Ok(documents.map(|document| resources::read::from_yaml(document).unwrap()).collect())
}

#[test]
fn the_folder_has_the_templates() {
    for (file, role) in [("ingress.yaml", Role::Ingress), ("egress.yaml", Role::Egress)] {
        let found = std::fs::read_to_string(folder().join("templates").join(file)).unwrap_or_default();
        assert_eq!(found, chart(role), "run `cargo run -- manifests --chart` for deploy/helm/templates/{file}");
        assert!(!found.contains('@'), "every value has its place");
    }
}

#[test]
fn with_its_own_values_the_chart_is_what_is_printed() {
    for (role, enabled) in [(Role::Ingress, "ingress.enabled"), (Role::Egress, "egress.enabled")] {
        let args =
            ManifestsArgs { roles: vec![role], namespace: "gateways".to_owned(), without_namespace: true, ..both() };
        assert_eq!(rendered(role, &[(enabled, true.into())]).unwrap(), objects(&args));
        assert_eq!(rendered(role, &[(enabled, false.into())]), Ok(Vec::new()));
    }
    let published = ManifestsArgs {
        roles: vec![Role::Ingress],
        namespace: "gateways".to_owned(),
        without_namespace: true,
        publish_address: vec![Published::parse("192.0.2.1")],
        ..both()
    };
    assert_eq!(rendered(Role::Ingress, &[("publishAddress", json!(["192.0.2.1"]))]).unwrap(), objects(&published));
}

#[test]
fn each_value_has_its_place() {
    let taints = json!([{"key": "edge", "operator": "Exists"}]);
    let all = rendered(
        Role::Ingress,
        &[
            ("image", "registry.example.com/moongate:1".into()),
            ("imagePullSecrets", json!([{"name": "registry"}])),
            ("ingress.annotations", json!({"example.com/internal": "true"})),
            ("ingress.externalTrafficPolicy", "Local".into()),
            ("ingress.loadBalancerClass", "example.com/lb".into()),
            ("ingress.loadBalancerIP", "192.0.2.1".into()),
            ("drainDelay", 20.into()),
            ("drain", 300.into()),
            ("extraArgs", json!(["--limit=idle-timeout=10m"])),
            ("env", json!([{"name": "MOONGATE_LOG", "value": "debug"}])),
            ("resources", json!({"limits": {"memory": "2Gi"}})),
            ("podAnnotations", json!({})),
            ("nodeSelector", json!({"edge": "true"})),
            ("tolerations", taints.clone()),
            ("affinity", json!({"podAntiAffinity": {}})),
            ("networkPolicy.metricsFrom", json!([{"namespaceSelector": {}}])),
        ],
    )
    .unwrap();
    let service = of_kind(&all, "Service")[0];
    assert_eq!(at(service, "/metadata/annotations"), &json!({"example.com/internal": "true"}));
    for (field, value) in
        [("externalTrafficPolicy", "Local"), ("loadBalancerClass", "example.com/lb"), ("loadBalancerIP", "192.0.2.1")]
    {
        assert_eq!(at(service, &format!("/spec/{field}")), value);
    }
    let deployment = of_kind(&all, "Deployment")[0];
    let template = at(deployment, "/spec/template");
    let (pod, container) = (at(template, "/spec"), at(template, "/spec/containers/0"));
    assert_eq!(template.pointer("/metadata/annotations"), None);
    assert_eq!(deployment.pointer("/spec/replicas"), None);
    assert_eq!(at(pod, "/terminationGracePeriodSeconds"), 330);
    for (path, value) in [
        ("/imagePullSecrets", json!([{"name": "registry"}])),
        ("/nodeSelector", json!({"edge": "true"})),
        ("/tolerations", taints),
        ("/affinity", json!({"podAntiAffinity": {}})),
    ] {
        assert_eq!(at(pod, path), &value);
    }
    assert_eq!(at(container, "/image"), "registry.example.com/moongate:1");
    assert_eq!(at(container, "/resources"), &json!({"limits": {"memory": "2Gi"}}));
    let last = |path: &str| at(container, path).as_array().unwrap().last().cloned().unwrap();
    assert_eq!(last("/args"), "--limit=idle-timeout=10m");
    assert_eq!(last("/env"), json!({"name": "MOONGATE_LOG", "value": "debug"}));
    let arguments = at(container, "/args").to_string();
    assert!(arguments.contains(r#""--drain-delay=20","--drain=300""#), "{arguments}");
    let rules = |all: &[Value]| at(of_kind(all, "NetworkPolicy")[0], "/spec/ingress").as_array().unwrap().clone();
    assert_eq!(at(&rules(&all)[1], "/from"), &json!([{"namespaceSelector": {}}]));
    // Without sources there is no rule, which would be one for all.
    let closed = rendered(Role::Ingress, &[("networkPolicy.metricsFrom", json!([]))]).unwrap();
    assert_eq!(rules(&closed).len(), 1);
    let open = rendered(Role::Ingress, &[("networkPolicy.enabled", false.into())]).unwrap();
    assert_eq!(of_kind(&open, "NetworkPolicy").len(), 0);
}

#[test]
fn the_autoscaler_has_a_target_or_there_is_none() {
    let targets = |cpu: u32, requests: u32| {
        [("autoscaling.cpuUtilization", cpu.into()), ("autoscaling.requestsPerSecond", requests.into())]
    };
    let metrics = |all: &[Value]| at(of_kind(all, "HorizontalPodAutoscaler")[0], "/spec/metrics").clone();
    let autoscale = ["cpu=50", "requests=2000000"].map(|one| one.parse().unwrap()).to_vec();
    let printed = objects(&ManifestsArgs { autoscale, ..both() });
    assert_eq!(metrics(&rendered(Role::Ingress, &targets(50, 2_000_000)).unwrap()), metrics(&printed));
    // An API server would aim at 80 % of the CPU.
    let error = rendered(Role::Ingress, &targets(0, 0)).unwrap_err();
    assert!(error.contains("cpuUtilization") && error.contains("autoscaling.enabled"), "{error}");
    let off = [&targets(0, 0)[..], &[("autoscaling.enabled", false.into()), ("replicas", 3.into())]].concat();
    let off = rendered(Role::Ingress, &off).unwrap();
    assert_eq!(of_kind(&off, "HorizontalPodAutoscaler").len(), 0);
    assert_eq!(at(of_kind(&off, "Deployment")[0], "/spec/replicas"), 3);
}

/// A value of another type, or one that is misspelt, is an error of Helm that names it.
#[test]
fn the_schema_has_every_value_with_its_type() {
    fn check(value: &Value, schema: &Value, path: &str) {
        let kind = match value {
            Value::Null => panic!("{path} is null"),
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert_eq!(at(schema, "/type"), kind, "{path}");
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        assert_eq!(at(schema, "/additionalProperties"), false, "{path}");
        let fields = value.as_object().unwrap();
        let known = properties.keys().filter(|name| *name != "global");
        assert!(known.eq(fields.keys()), "{path}: {:?}", properties.keys());
        for (name, value) in fields {
            check(value, &properties[name], &format!("{path}.{name}"));
        }
    }
    let schema = std::fs::read_to_string(folder().join("values.schema.json")).unwrap();
    check(&values(), &serde_json::from_str(&schema).unwrap(), "");
}
