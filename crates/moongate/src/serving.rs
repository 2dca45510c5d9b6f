//! Whether the process serves what the configuration asks for: no objects, no Gateway, no listener. Not what is wrong with one object,
//! which its own findings say; called by `check`, and by the pipeline with each change and each attempt to open listeners.

use crate::words::counted;
use resources::code;
use resources::diagnostic::{Diagnostic, Severity};
use resources::key::Kind;
use resources::set::ResourceSet;

/// The code of a process without a listener although there are Gateways; `docs/diagnostics.md` lists it, as the next.
pub(crate) const NO_LISTENER: &str = "MG9002";
/// The code of objects among which there is no Gateway.
pub(crate) const NO_GATEWAY: &str = "MG9003";

/// What the configuration asks for, as far as it matters to whether anything is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    objects: usize,
    /// Gateways, also those with errors: they ask for a listener all the same.
    gateways: usize,
}

impl Demand {
    /// Of a set, and of what was found while it was read.
    pub(crate) fn of(set: &ResourceSet, read: &[Diagnostic]) -> Self {
        let gateway = |one: &&Diagnostic| one.severity == Severity::Error && one.object.is_some();
        let mut rejected: Vec<_> = read.iter().filter(gateway).filter_map(|one| one.object.as_ref()).collect();
        rejected.retain(|object| object.kind == Kind::Gateway && set.gateways.get(&object.key).is_none());
        rejected.sort_unstable();
        rejected.dedup();
        Self { objects: set.len(), gateways: set.gateways.size() + rejected.len() }
    }

    /// Whether traffic may be sent here: a listener serves, or none is asked for.
    pub(crate) fn is_met(self, listeners: usize) -> bool {
        listeners > 0 || self.gateways == 0
    }

    /// What there is to say where nothing is served by that many listeners.
    pub(crate) fn findings(self, listeners: usize) -> Option<Diagnostic> {
        let (code, severity, message, help) = match self {
            Self { objects: 0, gateways: 0 } => (
                code::NO_OBJECTS,
                Severity::Error,
                "no objects were read".to_owned(),
                "give files, or folders with files that end in `.yaml`, `.yml` or `.json`; hidden ones are not read",
            ),
            Self { gateways: 0, objects } => (
                NO_GATEWAY,
                Severity::Warning,
                format!("no listener: there is no Gateway among {}", counted(objects, "object")),
                "add a Gateway with the servers to open",
            ),
            Self { gateways, .. } if listeners == 0 => (
                NO_LISTENER,
                Severity::Error,
                format!("no listener serves, although there {}", are(gateways)),
                "see what is reported of the Gateways; readiness is 503 meanwhile",
            ),
            Self { .. } => return None,
        };
        let (object, field, position) = (None, String::new(), None);
        Some(Diagnostic { code, severity, object, field, position, message, help: Some(help.to_owned()) })
    }
}

fn are(gateways: usize) -> String {
    let verb = if gateways == 1 { "is" } else { "are" };
    format!("{verb} {}", counted(gateways, "Gateway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(objects: usize, gateways: usize, listeners: usize) -> Option<(&'static str, Severity)> {
        Demand { objects, gateways }.findings(listeners).map(|one| (one.code, one.severity))
    }

    #[test]
    fn serving_nothing_is_a_finding_and_not_ready_where_a_gateway_asks_for_a_listener() {
        assert_eq!(code(0, 0, 0), Some((code::NO_OBJECTS, Severity::Error)));
        assert_eq!(code(3, 0, 0), Some((NO_GATEWAY, Severity::Warning)));
        assert_eq!(code(3, 1, 0), Some((NO_LISTENER, Severity::Error)));
        assert_eq!(code(3, 1, 1), None);
        // A Gateway that was rejected counts though it is no object.
        assert_eq!(code(0, 1, 0), Some((NO_LISTENER, Severity::Error)));
        assert!(Demand { objects: 3, gateways: 0 }.is_met(0));
        assert!(!Demand { objects: 3, gateways: 1 }.is_met(0));
        assert!(Demand { objects: 3, gateways: 1 }.is_met(1));
    }
}
