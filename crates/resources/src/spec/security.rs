//! `RequestAuthentication`, `AuthorizationPolicy` and `PeerAuthentication` of security.istio.io (AP-01 to AP-16, RA-01 to RA-06, PA-01).

use super::pairs::Pairs;
use super::scalar::{Duration, Text, api_enum};
use super::text_match::{Labels, WorkloadSelector};
use serde::{Deserialize, Serialize};

/// Which workloads a policy is for (AP-01, RA-01): those with all labels of the selector, or those of a named object. Without either,
/// every one of the namespace, and of the mesh in the root namespace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Targets<'a> {
    /// The labels of `selector`.
    pub selector: Option<&'a Labels>,
    /// `targetRef` or `targetRefs`.
    pub refs: &'a [PolicyTarget],
}

/// An object whose workloads a policy is for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyTarget {
    /// The group; empty for Kubernetes' own.
    pub group: Text,
    /// `Gateway`, `GatewayClass`, `Service`, `ServiceEntry`.
    pub kind: Text,
    /// Its name.
    pub name: Text,
    /// Its namespace; that of the policy when empty.
    pub namespace: Text,
}

/// Which requests are allowed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizationPolicy {
    /// The workloads.
    pub selector: Option<WorkloadSelector>,
    /// The object whose workloads are meant.
    #[serde(alias = "target_ref")]
    pub target_ref: Option<PolicyTarget>,
    /// The same for several.
    #[serde(alias = "target_refs")]
    pub target_refs: Vec<PolicyTarget>,
    /// One of them has to match (AP-05); without any nothing matches (AP-04).
    pub rules: Vec<AuthorizationRule>,
    /// What becomes of requests that match; `ALLOW` when absent.
    pub action: Option<AuthorizationAction>,
    /// Who decides, for `CUSTOM` (AP-13).
    pub provider: Option<ExtensionProviderRef>,
}

api_enum! {
    /// What becomes of requests that match.
    AuthorizationAction {
        Allow = 0 "ALLOW",
        Deny = 1 "DENY",
        Audit = 2 "AUDIT",
        Custom = 3 "CUSTOM",
    }
}

/// A provider of the mesh settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtensionProviderRef {
    /// Its name.
    pub name: Text,
}

/// Conditions, all of which have to hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizationRule {
    /// Of whom; one of them has to match.
    pub from: Vec<RuleFrom>,
    /// What; one of them has to match.
    pub to: Vec<RuleTo>,
    /// Further conditions; all of them have to hold.
    pub when: Vec<Condition>,
}

/// Of whom.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RuleFrom {
    /// The source.
    pub source: Option<Source>,
}

/// The client (AP-07, AP-09, AP-10).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Source {
    /// Identities of peers.
    pub principals: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_principals")]
    pub not_principals: Vec<Text>,
    /// Issuer and subject of tokens.
    #[serde(alias = "request_principals")]
    pub request_principals: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_request_principals")]
    pub not_request_principals: Vec<Text>,
    /// Namespaces of peers.
    pub namespaces: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_namespaces")]
    pub not_namespaces: Vec<Text>,
    /// Service accounts of peers.
    #[serde(alias = "service_accounts")]
    pub service_accounts: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_service_accounts")]
    pub not_service_accounts: Vec<Text>,
    /// Addresses of peers.
    #[serde(alias = "ip_blocks")]
    pub ip_blocks: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_ip_blocks")]
    pub not_ip_blocks: Vec<Text>,
    /// Addresses of clients behind trusted proxies.
    #[serde(alias = "remote_ip_blocks")]
    pub remote_ip_blocks: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_remote_ip_blocks")]
    pub not_remote_ip_blocks: Vec<Text>,
}

/// What.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RuleTo {
    /// The operation.
    pub operation: Option<Operation>,
}

/// The request (AP-06, AP-08).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Operation {
    /// Hosts.
    pub hosts: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_hosts")]
    pub not_hosts: Vec<Text>,
    /// Ports.
    pub ports: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_ports")]
    pub not_ports: Vec<Text>,
    /// Methods.
    pub methods: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_methods")]
    pub not_methods: Vec<Text>,
    /// Paths.
    pub paths: Vec<Text>,
    /// The same, negated.
    #[serde(alias = "not_paths")]
    pub not_paths: Vec<Text>,
}

/// A condition on an attribute.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Condition {
    /// The attribute.
    pub key: Text,
    /// Values, one of which it has.
    pub values: Vec<Text>,
    /// Values, none of which it has.
    #[serde(alias = "not_values")]
    pub not_values: Vec<Text>,
}

/// Which tokens are valid.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestAuthentication {
    /// The workloads.
    pub selector: Option<WorkloadSelector>,
    /// The object whose workloads are meant.
    #[serde(alias = "target_ref")]
    pub target_ref: Option<PolicyTarget>,
    /// The same for several.
    #[serde(alias = "target_refs")]
    pub target_refs: Vec<PolicyTarget>,
    /// Issuers and their keys.
    #[serde(alias = "jwt_rules")]
    pub jwt_rules: Vec<JwtRule>,
    /// Whether it stands for one with errors: no token is valid.
    #[serde(skip)]
    pub is_guard: bool,
}

/// An issuer of tokens (RA-02 to RA-05).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtRule {
    /// Who issues them.
    pub issuer: Text,
    /// For whom they are; any when empty.
    pub audiences: Vec<Text>,
    /// Where its keys are.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: Text,
    /// Its keys.
    pub jwks: Text,
    /// Headers with tokens.
    #[serde(alias = "from_headers")]
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters with tokens.
    #[serde(alias = "from_params")]
    pub from_params: Vec<Text>,
    /// Cookies with tokens.
    #[serde(alias = "from_cookies")]
    pub from_cookies: Vec<Text>,
    /// The header that the payload is sent in.
    #[serde(alias = "output_payload_to_header")]
    pub output_payload_to_header: Text,
    /// Whether the token is sent on.
    #[serde(alias = "forward_original_token")]
    pub forward_original_token: bool,
    /// Claims that are sent in headers.
    #[serde(alias = "output_claim_to_headers")]
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// How long its keys are waited for.
    pub timeout: Option<Duration>,
    /// Claims whose values are lists with spaces.
    #[serde(alias = "space_delimited_claims")]
    pub space_delimited_claims: Vec<Text>,
}

/// A header with a token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtHeader {
    /// Its name.
    pub name: Text,
    /// What is before the token.
    pub prefix: Text,
}

/// A claim that is sent in a header.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimToHeader {
    /// The header.
    pub header: Text,
    /// The claim.
    pub claim: Text,
}

/// Whether peers have to authenticate with certificates of the mesh.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeerAuthentication {
    /// The workloads.
    pub selector: Option<WorkloadSelector>,
    /// For all ports.
    pub mtls: Option<MutualTls>,
    /// For single ports, by their numbers.
    #[serde(alias = "port_level_mtls")]
    pub port_level_mtls: Pairs<MutualTls>,
}

/// Mutual TLS of the mesh.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MutualTls {
    /// Whether it is required.
    pub mode: Option<MutualTlsMode>,
}

api_enum! {
    /// Whether mutual TLS is required.
    MutualTlsMode {
        Unset = 0 "UNSET",
        Disable = 1 "DISABLE",
        Permissive = 2 "PERMISSIVE",
        Strict = 3 "STRICT",
    }
}

/// What every policy has: workloads that it is for.
pub trait Policy {
    /// The workloads.
    fn targets(&self) -> Targets<'_>;
}

fn targets<'a>(
    selector: Option<&'a WorkloadSelector>,
    one: Option<&'a PolicyTarget>,
    several: &'a [PolicyTarget],
) -> Targets<'a> {
    let refs = if several.is_empty() { one.map_or(&[][..], std::slice::from_ref) } else { several };
    Targets { selector: selector.map(|selector| &selector.labels), refs }
}

impl Policy for AuthorizationPolicy {
    fn targets(&self) -> Targets<'_> {
        targets(self.selector.as_ref(), self.target_ref.as_ref(), &self.target_refs)
    }
}

impl Policy for RequestAuthentication {
    fn targets(&self) -> Targets<'_> {
        targets(self.selector.as_ref(), self.target_ref.as_ref(), &self.target_refs)
    }
}

impl Policy for PeerAuthentication {
    fn targets(&self) -> Targets<'_> {
        targets(self.selector.as_ref(), None, &[])
    }
}
