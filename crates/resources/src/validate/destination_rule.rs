//! `DestinationRule`: DR-01 to DR-07. Policies are in `traffic_policy`.

use super::names::{check_export_to, is_address, is_label, is_name_or_wildcard};
use super::traffic_policy::check_policy;
use crate::code;
use crate::diagnostic::Findings;
use crate::key::Kind;
use crate::spec::Spec;
use crate::spec::destination_rule::DestinationRule;
use std::collections::BTreeSet;

impl Spec for DestinationRule {
    const KIND: Kind = Kind::DestinationRule;

    fn validate(&self, findings: &mut Findings) {
        findings.at("spec", |findings| {
            if !(is_name_or_wildcard(&self.host) || is_address(&self.host)) {
                let message = format!("`{}` is no host", self.host);
                findings.error("host", code::DESTINATION_RULE_HOST, message, "name a Service, a host or `*.suffix`");
            }
            if let Some(policy) = &self.traffic_policy {
                findings.at("trafficPolicy", |findings| check_policy(policy, findings));
            }
            let mut names = BTreeSet::new();
            for (at, subset) in self.subsets.iter().enumerate() {
                findings.at(format!("subsets[{at}]"), |findings| {
                    if !is_label(&subset.name) {
                        let message = format!("`{}` is no name of a subset", subset.name);
                        findings.error(
                            "name",
                            code::DESTINATION_RULE_SUBSET,
                            message,
                            "use letters, digits and hyphens",
                        );
                    } else if !names.insert(&subset.name) {
                        let message = format!("`{}` is there a second time", subset.name);
                        findings.error(
                            "name",
                            code::DESTINATION_RULE_SUBSET,
                            message,
                            "give each subset a name of its own",
                        );
                    }
                    if let Some(policy) = &subset.traffic_policy {
                        findings.at("trafficPolicy", |findings| check_policy(policy, findings));
                    }
                });
            }
            check_export_to(&self.export_to, findings);
        });
    }
}
