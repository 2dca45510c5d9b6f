//! AuthorizationPolicy (AP-01 to AP-16).

use super::security::{check_targets, has_two_selections};
use crate::code;
use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::spec::Spec;
use crate::spec::scalar::Text;
use crate::spec::security::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, Operation, RuleFrom, RuleTo, Source,
};
use crate::spec::when_key::WhenKey;
use std::net::IpAddr;

/// How many service accounts a field may have, and how long each may be.
const MAX_ACCOUNTS: usize = 16;
const MAX_ACCOUNT_LENGTH: usize = 320;

impl Spec for AuthorizationPolicy {
    const KIND: Kind = Kind::AuthorizationPolicy;

    fn validate(&self, _key: &Key, findings: &mut Findings) {
        findings.at("spec", |findings| {
            check_targets(self, findings);
            check_action(self, findings);
            for (at, rule) in self.rules.iter().enumerate() {
                findings.at(format_args!("rules[{at}]"), |findings| check_rule(rule, self, findings));
            }
        });
    }

    /// A policy with errors allows nothing, or denies everything, of the workloads that it is for. What only audits secures nothing.
    fn guard(mut self) -> Option<Self> {
        let (action, rules) = match self.action.unwrap_or(AuthorizationAction::Allow) {
            AuthorizationAction::Allow => (AuthorizationAction::Allow, Vec::new()),
            AuthorizationAction::Deny | AuthorizationAction::Custom => {
                (AuthorizationAction::Deny, vec![AuthorizationRule::default()])
            }
            AuthorizationAction::Audit => return None,
        };
        if has_two_selections(&self) {
            // Which of the two is meant is not known: every workload of the namespace is covered.
            (self.selector, self.target_ref, self.target_refs) = (None, None, Vec::new());
        }
        Some(Self { action: Some(action), rules, provider: None, ..self })
    }
}

fn check_action(policy: &AuthorizationPolicy, findings: &mut Findings) {
    let action = policy.action.unwrap_or(AuthorizationAction::Allow);
    let name = policy.provider.as_ref().map(|provider| &*provider.name);
    match (action, name) {
        (AuthorizationAction::Custom, None | Some("")) => {
            let help = "name a provider of `extensionProviders` in the mesh settings";
            findings.error("provider", code::AUTHORIZATION_ACTION, "`CUSTOM` needs a provider", help);
        }
        (AuthorizationAction::Custom, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            let message = "only the action `CUSTOM` has a provider";
            findings.error("provider", code::AUTHORIZATION_ACTION, message, "remove it, or use `action: CUSTOM`");
        }
    }
    if action == AuthorizationAction::Deny && policy.rules.is_empty() {
        let message = "a `DENY` without rules denies nothing";
        findings.warning("rules", code::AUTHORIZATION_ACTION, message, "add a rule, or `{}` to deny everything");
    }
}

fn check_rule(rule: &AuthorizationRule, policy: &AuthorizationPolicy, findings: &mut Findings) {
    let is_custom = policy.action == Some(AuthorizationAction::Custom);
    for (at, RuleFrom { source }) in rule.from.iter().enumerate() {
        findings.at(format_args!("from[{at}]"), |findings| match source {
            Some(source) => findings.at("source", |findings| check_source(source, is_custom, findings)),
            None => findings.error("", code::AUTHORIZATION_RULE, "there is no `source`", "add it, or remove the entry"),
        });
    }
    for (at, RuleTo { operation }) in rule.to.iter().enumerate() {
        findings.at(format_args!("to[{at}]"), |findings| match operation {
            Some(operation) => findings.at("operation", |findings| check_operation(operation, findings)),
            None => {
                findings.error("", code::AUTHORIZATION_RULE, "there is no `operation`", "add it, or remove the entry");
            }
        });
    }
    for (at, condition) in rule.when.iter().enumerate() {
        findings.at(format_args!("when[{at}]"), |findings| check_condition(condition, is_custom, findings));
    }
}

fn check_source(source: &Source, is_custom: bool, findings: &mut Findings) {
    if *source == Source::default() {
        let help = "name a source, or remove the entry";
        findings.error("", code::AUTHORIZATION_RULE, "the source is empty", help);
    }
    let of_peer = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
    ];
    let accounts =
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)];
    let of_tokens =
        [("requestPrincipals", &source.request_principals), ("notRequestPrincipals", &source.not_request_principals)];
    let blocks = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    let is_set = |fields: &[(&str, &Vec<Text>)]| fields.iter().any(|(_, values)| !values.is_empty());
    if is_set(&accounts) && is_set(&of_peer) {
        let message = "`serviceAccounts` cannot be combined with `principals` and `namespaces`";
        findings.error("serviceAccounts", code::AUTHORIZATION_RULE, message, "keep one of them");
    }
    if is_custom {
        for (field, _) in of_peer.iter().chain(&accounts).chain(&of_tokens).filter(|(_, values)| !values.is_empty()) {
            not_before_tokens(field, field, findings);
        }
    }
    of_peer.iter().chain(&of_tokens).for_each(|(field, values)| check_texts(field, values, findings));
    accounts.iter().for_each(|(field, values)| check_accounts(field, values, findings));
    blocks.iter().for_each(|(field, values)| check_blocks(field, values, findings));
}

/// AP-15: the provider is asked before tokens are verified.
fn not_before_tokens(field: &str, name: &str, findings: &mut Findings) {
    let message = format!("`CUSTOM` cannot use `{name}`");
    let help = "the external service is asked before the identity of the client is known: use other conditions";
    findings.error(field, code::AUTHORIZATION_ACTION, message, help);
}

fn check_operation(operation: &Operation, findings: &mut Findings) {
    if *operation == Operation::default() {
        let help = "name an operation, or remove the entry";
        findings.error("", code::AUTHORIZATION_RULE, "the operation is empty", help);
    }
    let texts = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
    ];
    texts.iter().for_each(|(field, values)| check_texts(field, values, findings));
    for (field, values) in [("paths", &operation.paths), ("notPaths", &operation.not_paths)] {
        check_texts(field, values, findings);
        for (at, path) in values.iter().enumerate() {
            if let Some(message) = path_error(path) {
                let help = "use `{*}` for one segment and `{**}` for the rest, each as a whole segment";
                findings.error(&format!("{field}[{at}]"), code::AUTHORIZATION_VALUE, message, help);
            }
        }
    }
    for (field, values) in [("ports", &operation.ports), ("notPorts", &operation.not_ports)] {
        check_ports(field, values, findings);
    }
}

fn check_condition(condition: &Condition, is_custom: bool, findings: &mut Findings) {
    let Condition { key, values, not_values } = condition;
    let Some(parsed) = WhenKey::parse(key) else {
        let (message, help) = match &**key {
            "" => ("there is no key".to_owned(), "name an attribute, such as `request.headers[x]`"),
            "destination.namespace" => (format!("`{key}` is not supported"), "use the namespace of the policy"),
            key if key.starts_with("destination.labels") => {
                (format!("`{key}` is not supported"), "use the selector of the policy")
            }
            key => (
                format!("unknown attribute `{key}`"),
                "use one of Istio's, such as `request.headers[x]` or `source.ip`",
            ),
        };
        return findings.error("key", code::AUTHORIZATION_KEY, message, help);
    };
    if values.is_empty() && not_values.is_empty() {
        let message = format!("`{key}` has neither `values` nor `notValues`");
        findings.error("", code::AUTHORIZATION_RULE, message, "add one of them");
    }
    let is_of_identity = matches!(
        parsed,
        WhenKey::SourceNamespace
            | WhenKey::SourceServiceAccount
            | WhenKey::SourcePrincipal
            | WhenKey::RequestPrincipal
            | WhenKey::RequestAudiences
            | WhenKey::RequestPresenter
            | WhenKey::RequestClaim(_)
    );
    if is_custom && is_of_identity {
        not_before_tokens("key", key, findings);
    }
    for (field, values) in [("values", values), ("notValues", not_values)] {
        match parsed {
            WhenKey::SourceIp | WhenKey::RemoteIp | WhenKey::DestinationIp => check_blocks(field, values, findings),
            WhenKey::DestinationPort => check_ports(field, values, findings),
            WhenKey::SourceServiceAccount => check_accounts(field, values, findings),
            _ => check_texts(field, values, findings),
        }
    }
}

fn check_texts(field: &str, values: &[Text], findings: &mut Findings) {
    for (at, _) in values.iter().enumerate().filter(|(_, value)| value.is_empty()) {
        let help = "use `*` for any value that is not empty";
        findings.error(&format!("{field}[{at}]"), code::AUTHORIZATION_VALUE, "the value is empty", help);
    }
}

/// What a value has to be, and what helps where it is not.
struct Expected {
    what: &'static str,
    help: &'static str,
}

fn check_each(
    field: &str,
    values: &[Text],
    expected: Expected,
    is_good: impl Fn(&str) -> bool,
    findings: &mut Findings,
) {
    for (at, value) in values.iter().enumerate().filter(|(_, value)| !is_good(value)) {
        let message = format!("`{value}` is not {}", expected.what);
        findings.error(&format!("{field}[{at}]"), code::AUTHORIZATION_VALUE, message, expected.help);
    }
}

fn check_blocks(field: &str, values: &[Text], findings: &mut Findings) {
    let expected =
        Expected { what: "a valid IP address or range", help: "write an address, or a range such as 10.0.0.0/8" };
    check_each(field, values, expected, is_block, findings);
}

fn is_block(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    length.is_none_or(|length| is_number(length) && length.parse::<u8>().is_ok_and(|length| length <= most))
}

fn check_ports(field: &str, values: &[Text], findings: &mut Findings) {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let expected = Expected { what: "a valid port", help: "use a number from 0 to 65535, in quotes" };
    check_each(field, values, expected, is_port, findings);
}

fn check_accounts(field: &str, values: &[Text], findings: &mut Findings) {
    if values.len() > MAX_ACCOUNTS {
        let message = format!("there are {} service accounts, more than the {MAX_ACCOUNTS} allowed", values.len());
        findings.error(field, code::AUTHORIZATION_VALUE, message, "split the rule");
    }
    let is_good = |value: &str| {
        let mut parts = value.split('/');
        let named = parts.by_ref().take(2).all(|part| !part.is_empty());
        named && parts.next().is_none() && !value.contains('*') && value.len() <= MAX_ACCOUNT_LENGTH
    };
    let expected =
        Expected { what: "a valid service account", help: "write `name` or `namespace/name`, without wildcards" };
    check_each(field, values, expected, is_good, findings);
}

/// Why a path cannot be evaluated (AP-06).
fn path_error(path: &str) -> Option<String> {
    let is_template = path.contains("{*}") || path.contains("{**}");
    let is_literal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte);
    if is_template && !path.starts_with('/') {
        return Some(format!("`{path}` does not begin with `/`"));
    }
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let mut has_many = false;
    for segment in inner.split('/') {
        match segment {
            "{*}" | "{**}" if has_many => return Some(format!("`{{**}}` is not the last operator of `{path}`")),
            "{*}" => {}
            "{**}" => has_many = true,
            literal if literal.contains(['{', '}']) => {
                return Some(format!("`{path}` has `{{` or `}}` outside of `{{*}}` and `{{**}}`"));
            }
            literal if is_template && (literal.is_empty() || !literal.bytes().all(is_literal)) => {
                return Some(format!("`{literal}` in `{path}` is not allowed beside `{{*}}` and `{{**}}`"));
            }
            _ => {}
        }
    }
    None
}
