//! AuthorizationPolicy with the action `CUSTOM`: an external service decides (AP-13 to AP-15).

use super::authorization::RuleList;
use crate::ClusterId;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use text::{HeaderName, HeaderValue, PathText};

/// The external authorization of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ExternalAuthorization {
    /// Every request and connection is denied: the provider does not exist or has an error (AP-13), there are several (AP-14), or a policy
    /// cannot be evaluated (AP-15).
    DenyAll,
    /// A service decides.
    Check(Box<ExternalCheck>),
}

/// How a service is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternalCheck {
    /// The name of the provider.
    pub provider: Arc<str>,
    /// The service.
    pub cluster: ClusterId,
    /// The protocol.
    pub protocol: CheckProtocol,
    /// From the check until the end of its response, with connecting.
    pub timeout: Duration,
    /// Whether a request without a decision is allowed.
    pub fail_open: bool,
    /// The status of the response to a request without a decision.
    pub status_on_error: u16,
    /// Whether the route is chosen by the request as the service has changed it.
    pub clear_route_cache: bool,
    /// How much of the body the service gets; `None` is nothing.
    pub body: Option<CheckBody>,
    /// The rules of the `CUSTOM` policies: a request that none of them matches is not checked.
    pub rules: RuleList,
    /// The same for connections whose bytes are passed on; `None` if the service is not asked about connections.
    pub connections: Option<RuleList>,
}

/// The protocol of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CheckProtocol {
    /// Envoy's gRPC service `envoy.service.auth.v3.Authorization`.
    Grpc,
    /// The request itself, without its body.
    Http(Box<HttpCheck>),
}

/// The options of a check by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpCheck {
    /// What is written before the path of the request.
    pub path_prefix: Option<PathText>,
    /// Headers of the request that the service gets, beside `Host` and `Authorization`.
    pub request_headers: Vec<NamePattern>,
    /// Headers that the service gets besides, in place of the client's.
    pub additional_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers of an allowing response that are set in the request.
    pub to_upstream_on_allow: Vec<NamePattern>,
    /// Headers of an allowing response that the client gets.
    pub to_downstream_on_allow: Vec<NamePattern>,
    /// Headers of a denying response that the client gets; empty is all.
    pub to_downstream_on_deny: Vec<NamePattern>,
}

/// How much of the body of a request a service gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CheckBody {
    /// At most so many octets.
    pub octets: usize,
    /// Whether the service gets the first octets of a longer body; else the request is answered 413.
    pub partial: bool,
    /// Whether the service gets octets, not text.
    pub raw: bool,
}

/// A pattern of header names, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// This name.
    Exact(Arc<str>),
    /// `text*`.
    Prefix(Arc<str>),
    /// `*text`; without a text every name.
    Suffix(Arc<str>),
}

impl NamePattern {
    /// Reads `name`, `prefix*` or `*suffix`.
    pub fn parse(text: &str) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase().into();
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(suffix), _) => Self::Suffix(lower(suffix)),
            (None, Some(prefix)) => Self::Prefix(lower(prefix)),
            (None, None) => Self::Exact(lower(text)),
        }
    }

    /// Whether a name matches, in any case.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(text) => name.eq_ignore_ascii_case(text.as_bytes()),
            Self::Prefix(text) => {
                name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()))
            }
            Self::Suffix(text) => {
                let start = name.len().checked_sub(text.len());
                start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(text.as_bytes()))
            }
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ap_13_patterns_of_names_are_exact_or_have_a_star_at_one_end() {
        for (pattern, yes, no) in [
            ("X-User", &["x-user", "X-USER"][..], &["x-user-id", "my-x-user", ""][..]),
            ("x-auth-*", &["x-auth-", "X-Auth-Name"], &["x-auth", "y-x-auth-a"]),
            ("*-id", &["-id", "X-Request-ID"], &["id", "x-id-a"]),
            ("*", &["", "any"], &[]),
        ] {
            let parsed = NamePattern::parse(pattern);
            assert!(yes.iter().all(|name| parsed.matches(name.as_bytes())), "{pattern}");
            assert!(!no.iter().any(|name| parsed.matches(name.as_bytes())), "{pattern}");
            assert_eq!(parsed.to_string(), pattern.to_ascii_lowercase());
        }
    }
}
