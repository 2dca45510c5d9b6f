//! What `explain` is asked and what it answers, as text for people and JSON for programs are made of.

use ir::Origin;
use routing::explain::RuleVerdict;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use wire::grpc::Dialect;

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The number of the server's port.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Header lines, `Host` among them.
    pub headers: Vec<(String, String)>,
    /// Whether there is a body.
    pub body: bool,
    /// How it comes by TLS, if it does.
    pub tls: Option<Hello>,
    /// The address of the client.
    pub from: IpAddr,
    /// The name in the client's certificate, such as `spiffe://cluster.local/ns/default/sa/app`, if it has one.
    pub identity: Option<String>,
}

/// How a redirected connection came, whose client does not know of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// The address that the client has connected to.
    pub address: SocketAddr,
    /// What its first octets are.
    pub begins: Begins,
    /// The number of the port of the server that it is redirected to; needed if there are several.
    pub redirected_to: Option<u16>,
}

/// The first octets of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// A ClientHello.
    Tls,
    /// A request in clear text.
    Http,
    /// Others, or none.
    Other,
}

/// What a client says when it begins TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The name that it asks for.
    pub sni: Option<String>,
    /// The protocols that it offers (ALPN).
    pub alpn: Vec<String>,
}

/// Where a request goes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The listener that takes it; `None`: nobody listens on that port.
    pub listener: Option<String>,
    /// The servers of that listener.
    pub servers: Vec<Origin>,
    /// Who may send the PROXY header that connections have to begin with, in words; `None`: there is none (S-112).
    pub proxied: Option<String>,
    /// The server that takes the client's name, where it comes by TLS.
    pub secured: Option<SecuredAnswer>,
    /// The tokens that were verified, in the order in which they were.
    pub tokens: Vec<TokenAnswer>,
    /// The host of the table that covers the request's.
    pub host: Option<String>,
    /// The check that a service for authorization would be asked for, if a `CUSTOM` rule matches.
    pub check: Option<CheckAnswer>,
    /// Every rule of the AuthorizationPolicies of the workload, in the order in which they are evaluated.
    pub policies: Vec<PolicyAnswer>,
    /// Every rule that was looked at.
    pub rules: Vec<RuleVerdict>,
    /// What the rule does to its requests before anything else, in words.
    pub fault: Option<String>,
    /// What comes of it.
    pub outcome: Outcome,
}

/// One token, and one rule of a RequestAuthentication that looked at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenAnswer {
    /// The rule.
    pub rule: String,
    /// The beginning of the token.
    pub token: String,
    /// Whether it is valid, or why not, in words.
    pub verdict: String,
}

/// What a service for authorization is asked, and what follows where it has no decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckAnswer {
    /// The name of the provider.
    pub provider: String,
    /// The cluster of the service.
    pub cluster: String,
    /// `gRPC` or `HTTP`.
    pub protocol: &'static str,
    /// How long a check may take, in words.
    pub timeout: String,
    /// What is sent: the head in HTTP line by line, or in words.
    pub sent: Vec<String>,
    /// What follows from a failure, in words.
    pub on_failure: String,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// The connection is refused: nobody listens.
    Refused {
        /// Ports that somebody listens on.
        ports: Vec<u16>,
    },
    /// TLS is not agreed on.
    NoHandshake {
        /// Why, in words.
        reason: String,
    },
    /// The connection is closed without an answer: nothing is served in clear text, or nothing but.
    Closed {
        /// Why, in words.
        reason: String,
    },
    /// The bytes of the connection are passed on, whatever they are.
    Bytes {
        /// The rule.
        rule: Origin,
        /// Each possible target; several when the rule is weighted.
        targets: Vec<TargetAnswer>,
    },
    /// It is answered here.
    Answered {
        /// The status.
        status: u16,
        /// gRPC's status, where the client speaks that.
        grpc: Option<u8>,
        /// Why, in a word for logs.
        detail: String,
        /// Where a redirect leads.
        location: Option<String>,
        /// Further headers of a preflight's answer.
        headers: Vec<String>,
        /// The body of a direct response.
        body: Option<String>,
    },
    /// It is sent on to one of these.
    Forwarded {
        /// Each possible target; several when the route is weighted.
        targets: Vec<TargetAnswer>,
        /// Who gets copies of it.
        mirrors: Vec<MirrorAnswer>,
        /// When and how often it is sent again, in words.
        retries: String,
    },
}

/// A rule of an AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyAnswer {
    /// `CUSTOM`, `AUDIT`, `DENY` or `ALLOW`, and whether the policy is a dry run.
    pub action: &'static str,
    /// The policy and the rule.
    pub origin: Origin,
    /// The first condition that does not hold, in words; `None` if the rule matches.
    pub lost: Option<String>,
}

/// One target of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetAnswer {
    /// The cluster.
    pub cluster: String,
    /// Its weight among the others.
    pub weight: u32,
    /// The status when it cannot be sent there, and why.
    pub fails: Option<Failing>,
    /// Its endpoints, or names to resolve.
    pub endpoints: Vec<String>,
    /// How one of them is chosen, in words.
    pub balance: String,
    /// What is spoken to the endpoints: HTTP/1.1 or HTTP/2, and whether in TLS.
    pub spoken: String,
    /// Where its endpoints are asked to pass the bytes on to, host and port (DR-50).
    pub tunnel: Option<String>,
    /// What bounds the requests to it, in words.
    pub bounds: Vec<String>,
    /// The head that is sent; ids of chance are shown as placeholders. Empty for bytes.
    pub head: String,
}

/// Who gets copies of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorAnswer {
    /// Of how many requests, in words.
    pub share: String,
    /// Where they go; the head is the request's.
    pub target: TargetAnswer,
}

/// Why a target cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// The status of the answer.
    pub status: u16,
    /// gRPC's status, where the client speaks that.
    pub grpc: Option<u8>,
    /// Istio's response flag.
    pub flag: String,
    /// Why, in words.
    pub reason: String,
}

/// A TLS server that takes a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecuredAnswer {
    /// Where it comes from.
    pub origin: Origin,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Where its certificates come from, or why there is none; empty where TLS is passed through.
    pub certificates: Vec<String>,
    /// What it asks of clients, in words.
    pub client: String,
}

impl Outcome {
    /// Says the gateway's own answers as a client of gRPC gets them.
    pub(super) fn explain_grpc(&mut self, dialect: Dialect) {
        let told = |status: &mut u16, grpc: &mut Option<u8>| {
            *grpc = Some(wire::grpc::status_of(*status));
            *status = dialect.status(*status);
        };
        match self {
            Self::Answered { status, grpc, body, .. } => {
                told(status, grpc);
                *body = None;
            }
            Self::Forwarded { targets, .. } => {
                for fails in targets.iter_mut().filter_map(|target| target.fails.as_mut()) {
                    told(&mut fails.status, &mut fails.grpc);
                }
            }
            Self::Refused { .. } | Self::NoHandshake { .. } | Self::Closed { .. } | Self::Bytes { .. } => {}
        }
    }
}

impl Answer {
    /// What is known before anything was looked at.
    pub(super) fn new(listener: Option<&ir::Listener>, outcome: Outcome) -> Self {
        Self {
            listener: listener.map(|listener| listener.id.to_string()),
            servers: listener.map_or_else(Vec::new, |listener| listener.servers.clone()),
            proxied: listener.and_then(proxied),
            secured: None,
            tokens: Vec::new(),
            host: None,
            check: None,
            policies: Vec::new(),
            rules: Vec::new(),
            fault: None,
            outcome,
        }
    }
}

fn proxied(listener: &ir::Listener) -> Option<String> {
    let setting = listener.mesh_settings.proxy_protocol.as_ref()?;
    let from: Vec<String> = setting.from.iter().map(ToString::to_string).collect();
    Some(if from.is_empty() { "anybody".to_owned() } else { from.join(", ") })
}
