//! The object, and the rule in it, that a part of the snapshot comes from: for logs, metrics, `explain` and diagnostics.

use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The kind of the object that something was compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[allow(missing_docs, reason = "the names are the Kubernetes kinds")]
pub enum ObjectKind {
    Gateway,
    VirtualService,
    DestinationRule,
    ServiceEntry,
    WorkloadEntry,
    Service,
    AuthorizationPolicy,
    RequestAuthentication,
}

impl ObjectKind {
    /// The kind, as in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Service => "Service",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::RequestAuthentication => "RequestAuthentication",
        }
    }
}

/// One object and, where it has several, the rule of it (`http[2].match[0]`, `servers[1]`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// The object's kind.
    pub kind: ObjectKind,
    /// The object's namespace.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
    /// The field path of the rule inside `spec`, such as `http[2].match[0]`; empty for the whole object.
    pub rule: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)?;
        if self.rule.is_empty() { Ok(()) } else { write!(f, " {}", self.rule) }
    }
}
