//! Whether the process serves what the configuration asks for: no objects, no Gateway, no listener. Not what is wrong with one object,
//! which its own findings say; called by `check`, and by the pipeline with each change and each attempt to open listeners.

use crate::words::counted;
use compiler::Workload;
use resources::code;
use resources::diagnostic::{Diagnostic, Severity};
use resources::set::{Absence, ResourceSet};
use resources::spec::text_match::{Labels, selects};

/// The code of a process without a listener although Gateways select it; `docs/diagnostics.md` lists it, as the next.
pub(crate) const NO_LISTENER: &str = "MG9002";
/// The code of objects among which there is no Gateway.
pub(crate) const NO_GATEWAY: &str = "MG9003";
/// The code of objects whose Gateways are all for other workloads.
pub(crate) const NO_OWN_GATEWAY: &str = "MG9005";

/// What the configuration asks for, as far as it matters to whether anything is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    objects: usize,
    gateways: Gateways,
    listeners: usize,
}

/// Numbers of Gateways, also of those with errors: they ask for a listener all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Gateways {
    all: usize,
    /// Those that select a workload of this process, or may do so because their selector cannot be read.
    own: usize,
}

impl Demand {
    /// Of a set, for these workloads, of which so many listeners serve.
    pub(crate) fn of(set: &ResourceSet, workloads: &[Workload], listeners: usize) -> Self {
        // Which Gateways there are matters only where nothing serves.
        let gateways = if listeners > 0 { Gateways::default() } else { Gateways::of(set, workloads) };
        Self { objects: set.len(), gateways, listeners }
    }

    /// Whether traffic may be sent here: a listener serves, or none is asked for.
    pub(crate) fn is_met(self) -> bool {
        self.listeners > 0 || self.gateways.own == 0
    }

    /// What there is to say where nothing is served.
    pub(crate) fn findings(self) -> Option<Diagnostic> {
        let (code, severity, message, help) = match self {
            Self { objects: 0, gateways: Gateways { all: 0, .. }, .. } => (
                code::NO_OBJECTS,
                Severity::Error,
                "no objects were read".to_owned(),
                "give files, or folders with files that end in `.yaml`, `.yml` or `.json`; hidden ones are not read",
            ),
            Self { listeners: 1.., .. } => return None,
            Self { gateways: Gateways { all: 0, .. }, objects, .. } => (
                NO_GATEWAY,
                Severity::Warning,
                format!("no listener: there is no Gateway among {}", counted(objects, "object")),
                "add a Gateway with the servers to open",
            ),
            Self { gateways: Gateways { own: 0, all }, .. } => (
                NO_OWN_GATEWAY,
                Severity::Warning,
                format!("no listener: {}", none_selects(all)),
                "add a Gateway for this gateway, or see what is reported of the selectors",
            ),
            Self { gateways: Gateways { own, .. }, .. } => (
                NO_LISTENER,
                Severity::Error,
                format!("no listener serves, although {} this gateway", select(own)),
                "see what is reported of the Gateways; readiness is 503 meanwhile",
            ),
        };
        let (object, field, position) = (None, String::new(), None);
        Some(Diagnostic { code, severity, object, field, position, message, help: Some(help.to_owned()) })
    }
}

impl Gateways {
    fn of(set: &ResourceSet, workloads: &[Workload]) -> Self {
        let is_own = |selector: &Labels| workloads.iter().any(|workload| selects(selector, &workload.labels));
        let rejected = set.absent.values().filter_map(|absence| match absence {
            Absence::Invalid { selector, .. } => Some(selector.as_ref().is_none_or(is_own)),
            Absence::OtherGroup(_) => None,
        });
        let there = set.gateways.values().map(|gateway| is_own(&gateway.spec.selector));
        there.chain(rejected).fold(Self::default(), |counted, is_own| Self {
            all: counted.all + 1,
            own: counted.own + usize::from(is_own),
        })
    }
}

fn select(gateways: usize) -> String {
    let verb = if gateways == 1 { "selects" } else { "select" };
    format!("{} {verb}", counted(gateways, "Gateway"))
}

fn none_selects(gateways: usize) -> String {
    match gateways {
        1 => "the one Gateway that there is does not select this gateway".to_owned(),
        _ => format!("none of {} selects this gateway", counted(gateways, "Gateway")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::set::Change;
    use std::path::Path;
    use std::sync::Arc;

    fn code(objects: usize, all: usize, own: usize, listeners: usize) -> Option<(&'static str, Severity)> {
        let demand = Demand { objects, gateways: Gateways { all, own }, listeners };
        demand.findings().map(|one| (one.code, one.severity))
    }

    #[test]
    fn serving_nothing_is_a_finding() {
        assert_eq!(code(0, 0, 0, 0), Some((code::NO_OBJECTS, Severity::Error)));
        assert_eq!(code(3, 0, 0, 0), Some((NO_GATEWAY, Severity::Warning)));
        assert_eq!(code(3, 1, 0, 0), Some((NO_OWN_GATEWAY, Severity::Warning)));
        assert_eq!(code(3, 1, 1, 0), Some((NO_LISTENER, Severity::Error)));
        // A Gateway that was rejected counts though it is no object.
        assert_eq!(code(0, 1, 1, 0), Some((NO_LISTENER, Severity::Error)));
        assert_eq!(code(0, 1, 0, 0), Some((NO_OWN_GATEWAY, Severity::Warning)));
        // A forward proxy listens without a Gateway.
        assert_eq!(code(3, 0, 0, 1), None);
    }

    /// The set of a text; Gateways with errors are absent.
    fn set(text: &str) -> ResourceSet {
        let file: Arc<Path> = Path::new("in.yaml").into();
        let readings = resources::read::documents(text).map(|document| resources::read::read(&file, document));
        let (mut objects, mut absent) = (Vec::new(), resources::Map::default());
        for reading in readings {
            objects.extend(reading.objects.into_iter().map(Change::Put));
            for one in reading.rejected {
                absent.insert_mut(one.object, Absence::Invalid { code: one.code, selector: one.selector });
            }
        }
        ResourceSet::default().with(objects).with_absent(absent)
    }

    fn gateway(selector: &str, port: u16) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g{port}}}\nspec:\n  selector: {selector}\n  servers:\n  - port: {{number: {port}, name: http, protocol: HTTP}}\n    hosts: ['*']\n---\n"
        )
    }

    #[test]
    fn s_01_only_gateways_that_select_a_workload_of_the_process_ask_for_a_listener() {
        let of_ingress = gateway("{istio: ingressgateway}", 80) + &gateway("{istio: ingressgateway}", 0);
        let set = set(&of_ingress);
        assert_eq!((set.gateways.size(), set.absent.size()), (1, 1));
        let demand = |workloads: &[Workload]| Demand::of(&set, workloads, 0);
        assert_eq!(demand(&[Workload::ingress()]).gateways, Gateways { all: 2, own: 2 });
        assert_eq!(demand(&[Workload::egress()]).gateways, Gateways { all: 2, own: 0 });
        assert_eq!(demand(&[Workload::egress(), Workload::ingress()]).gateways, Gateways { all: 2, own: 2 });
        assert!(!demand(&[Workload::ingress()]).is_met() && demand(&[Workload::egress()]).is_met());
        assert!(Demand::of(&set, &[Workload::ingress()], 1).is_met());
    }

    #[test]
    fn s_01_a_gateway_with_errors_counts_by_its_selector_as_far_as_that_can_be_read() {
        for (selector, is_own) in [
            ("{istio: ingressgateway}", false),
            ("{istio: egressgateway}", true),
            ("{}", true),
            ("{istio: 5}", true),
            ("x", true),
        ] {
            let demand = Demand::of(&set(&gateway(selector, 0)), &[Workload::egress()], 0);
            assert_eq!((demand.gateways.all, demand.is_met()), (1, !is_own), "{selector}");
        }
    }
}
