//! The variables of a container, and `$(NAME)` in its arguments.

use crate::kube_api::{Api, is_missing, list, text};
use crate::network::Family;
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// As in images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables of a container.
pub(super) async fn read(
    api: &Api,
    pod: &Value,
    container: &Value,
    address: IpAddr,
) -> Result<BTreeMap<String, String>> {
    let api_server = Family::of(address).api_server().to_string();
    let mut all: BTreeMap<String, String> = [
        ("KUBERNETES_SERVICE_HOST", &*api_server),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("PATH", PATH),
        ("HOSTNAME", text(pod, "/metadata/name")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for source in list(container, "/envFrom") {
        let prefix = text(source, "/prefix");
        for (kind, plural) in [("configMapRef", "configmaps"), ("secretRef", "secrets")] {
            if let Some(reference) = source.get(kind) {
                let data = data(api, pod, plural, reference).await?;
                all.extend(data.into_iter().map(|(name, value)| (format!("{prefix}{name}"), lossy(&value))));
            }
        }
    }
    for variable in list(container, "/env") {
        let name = text(variable, "/name").to_owned();
        let value = match variable.get("valueFrom") {
            None => Some(expand(text(variable, "/value"), &all)),
            Some(from) => value_from(api, pod, from, address).await.with_context(|| format!("variable {name}"))?,
        };
        all.extend(value.map(|value| (name, value)));
    }
    Ok(all)
}

async fn value_from(api: &Api, pod: &Value, from: &Value, address: IpAddr) -> Result<Option<String>> {
    if let Some(field) = from.get("fieldRef") {
        return downward(pod, text(field, "/fieldPath"), address).map(Some);
    }
    for (kind, plural) in [("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")] {
        if let Some(reference) = from.get(kind) {
            let value = data(api, pod, plural, reference).await?.remove(text(reference, "/key"));
            if value.is_none() && !is_optional(reference) {
                bail!("{} has no key {}", text(reference, "/name"), text(reference, "/key"));
            }
            return Ok(value.map(|value| lossy(&value)));
        }
    }
    bail!("a source that is not supported: {from}")
}

/// A field of the Pod.
pub(super) fn downward(pod: &Value, path: &str, address: IpAddr) -> Result<String> {
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let value = pod.pointer(&format!("/{}", map.replace('.', "/"))).and_then(|map| map.get(key));
        return Ok(value.and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    match path {
        "status.podIP" | "status.podIPs" => Ok(address.to_string()),
        "status.hostIP" => Ok(Family::of(address).machine().to_string()),
        "metadata.name" | "metadata.namespace" | "metadata.uid" | "spec.nodeName" | "spec.serviceAccountName" => {
            Ok(text(pod, &format!("/{}", path.replace('.', "/"))).to_owned())
        }
        other => bail!("the field {other} is not supported"),
    }
}

/// The content of a ConfigMap or Secret in the namespace of the Pod. One that is optional and missing is empty.
pub(super) async fn data(api: &Api, pod: &Value, plural: &str, reference: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let name =
        reference.get("name").or_else(|| reference.get("secretName")).and_then(Value::as_str).unwrap_or_default();
    let path = format!("/api/v1/namespaces/{}/{plural}/{name}", text(pod, "/metadata/namespace"));
    let object = match api.get(&path).await {
        Ok(object) => object,
        Err(error) if is_optional(reference) && is_missing(&error) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.context(format!("{plural} {name}"))),
    };
    let mut all = BTreeMap::new();
    for (field, is_encoded) in [("data", plural == "secrets"), ("binaryData", true)] {
        for (key, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            all.insert(key.clone(), if is_encoded { STANDARD.decode(value)? } else { value.as_bytes().to_owned() });
        }
    }
    Ok(all)
}

fn is_optional(reference: &Value) -> bool {
    reference.get("optional").and_then(Value::as_bool).unwrap_or_default()
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A text with the values of its `$(NAME)`; names that are not known stay, and `$$` is `$`.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let reference = behind.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = if let Some(behind) = behind.strip_prefix('$') {
            out.push('$');
            behind
        } else if let Some((value, behind)) = reference.and_then(|(name, behind)| Some((variables.get(name)?, behind)))
        {
            out.push_str(value);
            behind
        } else {
            out.push('$');
            behind
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_arguments_are_expanded_as_kubernetes_does() {
        let variables = BTreeMap::from([("A".to_owned(), "one".to_owned())]);
        for (text, expected) in [
            ("$(A)", "one"),
            ("x$(A)y$(A)", "xoneyone"),
            ("$(B) $(A)", "$(B) one"),
            ("$$(A)", "$(A)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn fields_of_the_pod_become_values() {
        let pod = serde_json::json!({"metadata": {"name": "a", "labels": {"x.y/z": "label"}}});
        let address = IpAddr::from([10, 244, 0, 7]);
        assert_eq!(downward(&pod, "metadata.name", address).unwrap(), "a");
        assert_eq!(downward(&pod, "metadata.labels['x.y/z']", address).unwrap(), "label");
        assert_eq!(downward(&pod, "status.podIP", address).unwrap(), "10.244.0.7");
        assert!(downward(&pod, "spec.priority", address).is_err());
    }
}
