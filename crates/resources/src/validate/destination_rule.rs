//! `DestinationRule`: DR-01 to DR-07. Policies are in `traffic_policy`.

use super::fields::{Exported, check_export_to, check_labels, check_selector};
use super::lower_case;
use super::names::{is_host, is_label};
use super::traffic_policy::check_policy;
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::destination_rule::{DestinationRule, Subset};
use std::collections::BTreeSet;

impl Spec for DestinationRule {
    const KIND: Kind = Kind::DestinationRule;

    fn normalise(&mut self) {
        lower_case::destination_rule(self);
    }

    fn guard(self) -> Option<Self> {
        let Self { host, export_to, workload_selector, .. } = self;
        is_host(&host).then(|| Self { host, export_to, workload_selector, is_guard: true, ..Self::default() })
    }

    fn validate(&self, key: &Key, findings: &mut Findings) {
        findings.at("spec", |findings| {
            if !is_host(&self.host) {
                let message = format!("`{}` is not a valid host", self.host);
                findings.error("host", code::DESTINATION_RULE_HOST, message, "name a Service, a host or `*.suffix`");
            }
            if let Some(policy) = &self.traffic_policy {
                findings.at("trafficPolicy", |findings| check_policy(policy, findings));
            }
            check_subsets(&self.subsets, findings);
            check_exports(self, key, findings);
            if let Some(selector) = &self.workload_selector {
                check_selector(&selector.labels, code::DESTINATION_RULE_SELECTOR, findings);
            }
        });
    }
}

/// DR-06.
fn check_subsets(subsets: &[Subset], findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for (at, subset) in subsets.iter().enumerate() {
        findings.at(format_args!("subsets[{at}]"), |findings| {
            if !is_label(&subset.name) {
                let message = format!("`{}` is not a valid subset name", subset.name);
                let help = "use letters, digits and hyphens";
                findings.error("name", code::DESTINATION_RULE_SUBSET, message, help);
            } else if !names.insert(&subset.name) {
                let message = format!("duplicate subset `{}`", subset.name);
                let help = "give each subset a name of its own";
                findings.error("name", code::DESTINATION_RULE_SUBSET, message, help);
            }
            check_labels(&subset.labels, "labels", code::DESTINATION_RULE_SUBSET, findings);
            if let Some(policy) = &subset.traffic_policy {
                findings.at("trafficPolicy", |findings| check_policy(policy, findings));
            }
        });
    }
}

/// DR-03, DR-05: what is for some workloads of a namespace is for no other namespace.
fn check_exports(rule: &DestinationRule, key: &Key, findings: &mut Findings) {
    let exported = Exported { to: &rule.export_to, field: "exportTo", namespace: &key.namespace };
    check_export_to(exported, findings);
    let elsewhere = |entry: &str| entry != "." && entry != &*key.namespace;
    if rule.workload_selector.is_some() && rule.export_to.iter().any(|entry| elsewhere(entry)) {
        let message = "with `workloadSelector` the rule is for its own namespace alone";
        findings.error("exportTo", code::EXPORT_TO, message, "use `.`, or remove `workloadSelector`");
    }
}
