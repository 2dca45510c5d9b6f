//! AuthorizationPolicy: which requests and connections are allowed (AP-01 to AP-16).
//!
//! The rules of all policies of a workload, by action. A list of rules is sorted by name, as Envoy keeps them: the first rule that matches
//! is the one that is reported.

mod path_template;
mod text_match;

pub use path_template::{InvalidPathTemplate, PathTemplate};
pub use text_match::{IdentityMatch, PathMatch, RequestPrincipal, TextMatch};

use crate::{IpRange, Origin};
use serde::Serialize;
use std::sync::Arc;

/// The rules of a workload for requests and connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Authorization {
    /// For HTTP requests.
    pub requests: ActionRules,
    /// For connections whose bytes are passed on (AP-11, AP-12).
    pub connections: ActionRules,
}

/// Rules by action. What is absent was not asked for: a list that is present and empty matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ActionRules {
    /// `AUDIT`.
    pub audit: Option<RuleList>,
    /// `DENY`.
    pub deny: Option<RuleList>,
    /// `ALLOW`: with such a policy, nothing is allowed that no rule matches (AP-03).
    pub allow: Option<RuleList>,
    /// `DENY` as a dry run, which is evaluated and not enforced (AP-16).
    pub dry_run_deny: Option<RuleList>,
    /// `ALLOW` as a dry run.
    pub dry_run_allow: Option<RuleList>,
}

/// Rules in the order of their names.
pub type RuleList = Arc<[Arc<AuthorizationRule>]>;

/// One rule: it matches where one of `from`, one of `to` and all of `when` match (AP-05).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorizationRule {
    /// The name in logs: `ns[NAMESPACE]-policy[NAME]-rule[I]`.
    pub name: Arc<str>,
    /// The policy, and `rules[i]`.
    pub origin: Origin,
    /// Alternatives of sources; a rule without any never matches (AP-04).
    pub from: Vec<Vec<Condition>>,
    /// Alternatives of operations; a rule without any never matches.
    pub to: Vec<Vec<Condition>>,
    /// Further conditions.
    pub when: Vec<Condition>,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The field below `spec`, such as `rules[0].to[0].operation.notPaths`.
    pub field: Arc<str>,
    /// Whether the condition holds where no value matches.
    pub negated: bool,
    /// The values.
    pub demand: Demand,
}

/// The values of one attribute, one of which has to match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Demand {
    /// The address of the peer of the connection (`source.ip`, AP-07).
    SourceIp(Vec<IpRange>),
    /// The address of the client behind trusted proxies (`remote.ip`, AP-07).
    RemoteIp(Vec<IpRange>),
    /// The address that the client connected to.
    DestinationIp(Vec<IpRange>),
    /// The port that the listener binds (AP-08).
    Port(Vec<u16>),
    /// The server name of the TLS handshake; empty without one.
    ServerName(Vec<TextMatch>),
    /// The identity in the client's certificate (AP-09).
    Identity(Vec<IdentityMatch>),
    /// The host as the client sent it, with its port, compared without regard to case (AP-06).
    Host(Vec<TextMatch>),
    /// The method.
    Method(Vec<TextMatch>),
    /// The normalised path, without the query.
    Path(Vec<PathMatch>),
    /// A header, each value of which is compared by itself.
    Header {
        /// The header.
        name: HeaderOf,
        /// The values; `*` asks for presence.
        values: Vec<TextMatch>,
        /// Whether the elements of a comma-separated value are compared in place of the value.
        is_list: bool,
        /// Whether a match allows: several lines of a header that Envoy keeps as one value are then compared as that value, so that no
        /// line beside another allows more than in Istio.
        allows: bool,
    },
    /// Issuer and subject of the token (AP-10).
    RequestPrincipal(Vec<RequestPrincipal>),
    /// A claim of the token: a text, or the texts of a list (AP-10).
    Claim {
        /// The names, from the outermost.
        path: Vec<Arc<str>>,
        /// The values.
        values: Vec<TextMatch>,
    },
    /// An attribute that no request has: what filters of Envoy say that do not exist here.
    Unknown,
}

/// What a condition on a header looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum HeaderOf {
    /// A header, in lower case.
    Name(Arc<str>),
    /// `:method`.
    Method,
    /// `:authority`, which is `host` as well.
    Authority,
    /// `:path`, with the query.
    Path,
    /// `:scheme`.
    Scheme,
}

impl HeaderOf {
    /// The header of this name, in any case.
    pub fn parse(name: &str) -> Self {
        match &*name.to_ascii_lowercase() {
            ":method" => Self::Method,
            ":authority" | "host" => Self::Authority,
            ":path" => Self::Path,
            ":scheme" => Self::Scheme,
            name => Self::Name(name.into()),
        }
    }
}

impl Demand {
    /// Whether only HTTP requests have the attribute (AP-11).
    pub fn is_of_http(&self) -> bool {
        match self {
            Self::Host(_)
            | Self::Method(_)
            | Self::Path(_)
            | Self::Header { .. }
            | Self::RequestPrincipal(_)
            | Self::Claim { .. } => true,
            Self::SourceIp(_)
            | Self::RemoteIp(_)
            | Self::DestinationIp(_)
            | Self::Port(_)
            | Self::ServerName(_)
            | Self::Identity(_)
            | Self::Unknown => false,
        }
    }
}

impl AuthorizationRule {
    /// All conditions, in the order of the fields.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.from.iter().chain(&self.to).flatten().chain(&self.when)
    }

    /// Whether the rule has a condition that only HTTP requests can meet.
    pub fn is_of_http(&self) -> bool {
        self.conditions().any(|condition| condition.demand.is_of_http())
    }

    /// The rule without its conditions on HTTP, which connections are denied by (AP-11).
    pub fn without_http(&self) -> Self {
        let kept = |conditions: &[Condition]| -> Vec<Condition> {
            conditions.iter().filter(|condition| !condition.demand.is_of_http()).cloned().collect()
        };
        Self {
            name: Arc::clone(&self.name),
            origin: self.origin.clone(),
            from: self.from.iter().map(|conditions| kept(conditions)).collect(),
            to: self.to.iter().map(|conditions| kept(conditions)).collect(),
            when: kept(&self.when),
        }
    }
}

impl ActionRules {
    /// Whether there is no policy.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
