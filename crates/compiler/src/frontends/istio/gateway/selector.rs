//! Why a Gateway selects no workload of this process, and which flag would change that (S-01). Not the selection itself, which is
//! `selects`; called for the Gateways that no workload took.

use crate::settings::Workload;
use resources::spec::scalar::Text;
use resources::spec::text_match::{Labels, selects};

/// The message, with the labels that differ, and what to do.
pub(super) fn mismatch(selector: &Labels, workloads: &[Workload]) -> (String, String) {
    let differs = |workload: &Workload| {
        missing(selector, workload).map(|(key, _)| actual(workload, key)).collect::<Vec<_>>().join(", ")
    };
    let message = match workloads {
        [] => format!("selects {}, but this process is not a gateway", quoted(selector.iter())),
        [workload] => {
            format!("selects {}, but this gateway has {}", quoted(missing(selector, workload)), differs(workload))
        }
        several => {
            let each = several.iter().map(|workload| format!("{} has {}", workload.name.0, differs(workload)));
            format!(
                "selects {}, but gateway {}",
                quoted(selector.iter()),
                each.collect::<Vec<_>>().join(", and gateway ")
            )
        }
    };
    (message, help(selector, workloads))
}

/// The labels of a selector that a workload does not have.
fn missing<'a>(selector: &'a Labels, workload: &'a Workload) -> impl Iterator<Item = (&'a Text, &'a Text)> {
    selector.iter().filter(|(key, value)| workload.labels.get(key) != Some(*value))
}

fn quoted<'a>(labels: impl Iterator<Item = (&'a Text, &'a Text)>) -> String {
    labels.map(|(key, value)| format!("`{key}: {value}`")).collect::<Vec<_>>().join(", ")
}

fn actual(workload: &Workload, key: &str) -> String {
    match workload.labels.get(key) {
        Some(value) => format!("`{key}: {value}`"),
        None => format!("no label `{key}`"),
    }
}

/// A Gateway for one of Istio's two gateways needs its role, any other one its labels.
fn help(selector: &Labels, workloads: &[Workload]) -> String {
    let roles = [("egress", Workload::egress()), ("ingress", Workload::ingress())];
    let known = |name: &str| workloads.iter().any(|workload| &*workload.name.0 == name);
    let role = roles.iter().find(|(name, workload)| !known(name) && selects(selector, &workload.labels));
    if let Some((name, _)) = role {
        return format!("serve it with `--as {name}`, or both gateways with `--as ingress,egress`");
    }
    let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("if it is for this gateway, set `--labels {}`", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn s_01_the_labels_that_differ_and_the_flag_are_named() {
        // As Istio's Helm chart labels its gateway.
        let (message, help) = mismatch(&labels(&[("istio", "ingress")]), &[Workload::ingress()]);
        assert_eq!(message, "selects `istio: ingress`, but this gateway has `istio: ingressgateway`");
        assert_eq!(help, "if it is for this gateway, set `--labels istio=ingress`");
        let (message, help) = mismatch(&labels(&[("istio", "egressgateway")]), &[Workload::ingress()]);
        assert_eq!(message, "selects `istio: egressgateway`, but this gateway has `istio: ingressgateway`");
        assert_eq!(help, "serve it with `--as egress`, or both gateways with `--as ingress,egress`");
        let half = labels(&[("istio", "ingressgateway"), ("team", "a")]);
        let (message, help) = mismatch(&half, &[Workload::ingress()]);
        assert_eq!(message, "selects `team: a`, but this gateway has no label `team`");
        assert_eq!(help, "if it is for this gateway, set `--labels istio=ingressgateway,team=a`");
        let (message, _) = mismatch(&labels(&[("istio", "x")]), &[Workload::ingress(), Workload::egress()]);
        assert_eq!(
            message,
            "selects `istio: x`, but gateway ingress has `istio: ingressgateway`, and gateway egress has `istio: egressgateway`"
        );
    }
}
