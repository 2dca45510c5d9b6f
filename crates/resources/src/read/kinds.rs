//! Kinds by their groups: which are misspelt, and which are real and merely not read here. Only what cannot be anything else is called
//! misspelt: groups and kinds of other projects are none of ours to judge.

use crate::suggest::nearest;

/// Groups whose kinds are all known, with their kinds.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "networking.istio.io",
        &[
            "Gateway",
            "VirtualService",
            "DestinationRule",
            "ServiceEntry",
            "WorkloadEntry",
            "WorkloadGroup",
            "Sidecar",
            "EnvoyFilter",
            "ProxyConfig",
        ],
    ),
    ("security.istio.io", &["RequestAuthentication", "AuthorizationPolicy", "PeerAuthentication"]),
    ("telemetry.istio.io", &["Telemetry"]),
    ("extensions.istio.io", &["WasmPlugin", "TrafficExtension"]),
    (
        "",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "List",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("gateway.networking.k8s.io", &[]),
];

/// Why `apiVersion` and `kind` name nothing, and what to do: `None` for what is real, or may be.
pub(super) fn misspelt(version: &str, group: &str, kind: &str) -> Option<(&'static str, String, String)> {
    if let Some((_, kinds)) = GROUPS.iter().find(|(known, _)| *known == group) {
        if kinds.is_empty() || kinds.contains(&kind) {
            return None;
        }
        if let Some(near) = nearest(kind, kinds) {
            return Some(("kind", format!("`{version}` has no kind `{kind}`"), format!("did you mean `{near}`?")));
        }
        // A kind of Istio with its group left out.
        if let Some((right, _)) = GROUPS.iter().find(|(_, kinds)| kinds.contains(&kind)) {
            let help = format!("did you mean `{right}/{version}`?");
            return Some(("apiVersion", format!("`{version}` has no kind `{kind}`"), help));
        }
        if !group.ends_with(".istio.io") {
            return None;
        }
        let known: Vec<String> = kinds.iter().map(|known| format!("`{known}`")).collect();
        let help = format!("its kinds are {}", known.join(", "));
        return Some(("kind", format!("`{version}` has no kind `{kind}`"), help));
    }
    // A group that is nearly one of those, with one of its kinds.
    let of_kind: Vec<&str> =
        GROUPS.iter().filter(|(_, kinds)| kinds.contains(&kind)).map(|(group, _)| *group).collect();
    let near = of_kind.into_iter().filter(|known| !known.is_empty()).find(|known| {
        strsim::damerau_levenshtein(&group.to_lowercase(), known) <= 2 || group == known.trim_end_matches(".io")
    })?;
    let number = version.rsplit('/').next().unwrap_or("v1");
    let help = format!("did you mean `{near}/{number}`?");
    Some(("apiVersion", format!("there is no group `{group}` with a kind `{kind}`"), help))
}

#[cfg(test)]
mod tests {
    use super::misspelt;

    fn said(version: &str, kind: &str) -> Option<String> {
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        misspelt(version, group, kind).map(|(field, message, help)| format!("{field}: {message}; {help}"))
    }

    #[test]
    fn misspelt_kinds_and_groups_are_named() {
        for (version, kind, wanted) in [
            (
                "networking.istio.io/v1",
                "VirtualServce",
                "kind: `networking.istio.io/v1` has no kind `VirtualServce`; did you mean `VirtualService`?",
            ),
            (
                "networking.istio.io/v1",
                "gateway",
                "kind: `networking.istio.io/v1` has no kind `gateway`; did you mean `Gateway`?",
            ),
            (
                "v1",
                "VirtualService",
                "apiVersion: `v1` has no kind `VirtualService`; did you mean `networking.istio.io/v1`?",
            ),
            ("v1", "Servce", "kind: `v1` has no kind `Servce`; did you mean `Service`?"),
            (
                "networking.istio.oi/v1",
                "Gateway",
                "apiVersion: there is no group `networking.istio.oi` with a kind `Gateway`; did you mean `networking.istio.io/v1`?",
            ),
            (
                "networking.istio/v1",
                "ServiceEntry",
                "apiVersion: there is no group `networking.istio` with a kind `ServiceEntry`; did you mean `networking.istio.io/v1`?",
            ),
            (
                "security.istio.io/v1",
                "AuthorisationPolicy",
                "kind: `security.istio.io/v1` has no kind `AuthorisationPolicy`; did you mean `AuthorizationPolicy`?",
            ),
        ] {
            assert_eq!(said(version, kind).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn kinds_of_others_are_not_judged() {
        for (version, kind) in [
            ("networking.istio.io/v1alpha3", "EnvoyFilter"),
            ("gateway.networking.k8s.io/v1", "Gateway"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            ("serving.knative.dev/v1", "Service"),
            ("apps/v1", "Deployment"),
            ("networking.k8s.io/v1", "Ingress"),
            ("v1", "ServiceAccount"),
            ("v1", "SomethingNew"),
            ("install.istio.io/v1alpha1", "IstioOperator"),
        ] {
            assert_eq!(said(version, kind), None, "{version} {kind}");
        }
    }
}
