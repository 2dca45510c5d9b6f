//! One AuthorizationPolicy as rules, by itself (AP-02 to AP-11, AP-16).

use super::trust_domains::TrustDomains;
use ir::policy::{
    AuthorizationRule, Condition, Demand, HeaderOf, IdentityMatch, PathMatch, PathTemplate, RequestPrincipal, TextMatch,
};
use ir::{IpRange, ObjectKind, Origin, Pattern};
use resources::set::{Meta, Object};
use resources::spec::scalar::Text;
use resources::spec::security::{AuthorizationAction, AuthorizationPolicy, Operation, Source};
use resources::spec::when_key::{WhenKey, nested_names};
use std::sync::Arc;

/// The annotation of policies that are evaluated and not enforced (AP-16).
const DRY_RUN: &str = "istio.io/dry-run";

/// What a policy says, for every workload that it is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PolicyRules {
    pub(crate) action: AuthorizationAction,
    /// Whether it is evaluated and not enforced.
    pub(crate) dry_run: bool,
    /// For requests.
    pub(crate) requests: Vec<Arc<AuthorizationRule>>,
    /// For connections whose bytes are passed on.
    pub(crate) connections: Vec<Arc<AuthorizationRule>>,
}

/// The rules of a policy. Of an `ALLOW` policy a rule that cannot be read is left out, of others the condition: as in Istio, less is allowed
/// and more is denied.
pub(crate) fn rules_of(object: &Object<AuthorizationPolicy>, domains: &TrustDomains) -> PolicyRules {
    let action = object.spec.action.unwrap_or(AuthorizationAction::Allow);
    let compiler = RuleCompiler { object, domains, is_allow: action == AuthorizationAction::Allow };
    let requests: Vec<_> = (0..object.spec.rules.len()).filter_map(|at| compiler.rule(at)).map(Arc::new).collect();
    let of_connections = |rule: &Arc<AuthorizationRule>| match rule.is_of_http() {
        false => Some(Arc::clone(rule)),
        true => (!compiler.is_allow).then(|| Arc::new(rule.without_http())),
    };
    PolicyRules {
        action,
        dry_run: is_dry_run(&object.meta),
        connections: requests.iter().filter_map(of_connections).collect(),
        requests,
    }
}

/// Whether a policy is evaluated and not enforced. The annotation is read as Istio reads it.
pub(crate) fn is_dry_run(meta: &Meta) -> bool {
    let value = meta.annotations.get(DRY_RUN).map(|value| &**value);
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// Compiles rules of one policy.
struct RuleCompiler<'a> {
    object: &'a Object<AuthorizationPolicy>,
    domains: &'a TrustDomains,
    is_allow: bool,
}

/// Conditions while they are gathered.
struct Conditions<'a> {
    /// The field path of what they belong to.
    below: String,
    is_allow: bool,
    found: Vec<Condition>,
    /// Whether a condition of an `ALLOW` policy cannot be read.
    is_void: &'a mut bool,
}

impl Conditions<'_> {
    /// Adds the condition of a field with values, and that of the field that negates it, whose name is the same behind `not`.
    fn add(&mut self, field: &str, values: &[Text], not_values: &[Text], demand: impl Fn(&[Text]) -> Option<Demand>) {
        for (values, negated) in [(values, false), (not_values, true)] {
            if values.is_empty() {
                continue;
            }
            match demand(values) {
                Some(demand) => {
                    let demand = decided(demand, self.is_allow != negated);
                    let field = if negated { negation_of(field) } else { field.to_owned() };
                    let field = format!("{}.{field}", self.below).into();
                    self.found.push(Condition { field, negated, demand });
                }
                None => *self.is_void |= self.is_allow,
            }
        }
    }
}

/// The name of the field that negates a field: `notValues` of `values`.
fn negation_of(field: &str) -> String {
    let (first, rest) = field.split_at(1);
    format!("not{}{rest}", first.to_ascii_uppercase())
}

impl RuleCompiler<'_> {
    fn rule(&self, at: usize) -> Option<AuthorizationRule> {
        let rule = self.object.spec.rules.get(at)?;
        let (namespace, name) = (&self.object.key.namespace, &self.object.key.name);
        let mut is_void = false;
        let mut conditions = |below: String, fill: &dyn Fn(&mut Conditions<'_>)| {
            let (is_allow, found) = (self.is_allow, Vec::new());
            let mut conditions = Conditions { below, is_allow, found, is_void: &mut is_void };
            fill(&mut conditions);
            conditions.found
        };
        let from = rule.from.iter().enumerate().map(|(number, from)| {
            conditions(format!("rules[{at}].from[{number}].source"), &|conditions| {
                from.source.iter().for_each(|source| self.source(source, conditions));
            })
        });
        let from = any_if_none(from.collect());
        let to = rule.to.iter().enumerate().map(|(number, to)| {
            conditions(format!("rules[{at}].to[{number}].operation"), &|conditions| {
                to.operation.iter().for_each(|operation| operation_of(operation, conditions));
            })
        });
        let to = any_if_none(to.collect());
        let when = rule.when.iter().enumerate().flat_map(|(number, when)| {
            conditions(format!("rules[{at}].when[{number}]"), &|conditions| {
                conditions.add("values", &when.values, &when.not_values, |values| self.attribute(&when.key, values));
            })
        });
        let when = when.collect();
        (!is_void).then(|| AuthorizationRule {
            name: format!("ns[{namespace}]-policy[{name}]-rule[{at}]").into(),
            origin: Origin {
                kind: ObjectKind::AuthorizationPolicy,
                namespace: Arc::clone(namespace),
                name: Arc::clone(name),
                rule: format!("rules[{at}]").into(),
            },
            from,
            to,
            when,
        })
    }

    fn source(&self, source: &Source, conditions: &mut Conditions<'_>) {
        let Source { principals, not_principals, request_principals, not_request_principals, .. } = source;
        conditions.add("principals", principals, not_principals, |values| self.principals(values));
        conditions.add("requestPrincipals", request_principals, not_request_principals, |values| {
            Some(request_principals_of(values))
        });
        conditions.add("serviceAccounts", &source.service_accounts, &source.not_service_accounts, |values| {
            Some(self.service_accounts(values))
        });
        conditions.add("namespaces", &source.namespaces, &source.not_namespaces, namespaces);
        conditions.add("remoteIpBlocks", &source.remote_ip_blocks, &source.not_remote_ip_blocks, |values| {
            Some(Demand::RemoteIp(ranges(values)?))
        });
        conditions.add("ipBlocks", &source.ip_blocks, &source.not_ip_blocks, |values| {
            Some(Demand::SourceIp(ranges(values)?))
        });
    }

    /// The condition of a `when` (AP-10).
    fn attribute(&self, key: &str, values: &[Text]) -> Option<Demand> {
        Some(match WhenKey::parse(key)? {
            WhenKey::Header(name) => {
                Demand::Header { name: HeaderOf::parse(name), values: texts(values), is_list: false, allows: false }
            }
            WhenKey::InlineHeader(name) => {
                Demand::Header { name: HeaderOf::parse(name), values: texts(values), is_list: true, allows: false }
            }
            WhenKey::SourceIp => Demand::SourceIp(ranges(values)?),
            WhenKey::RemoteIp => Demand::RemoteIp(ranges(values)?),
            WhenKey::SourceNamespace => namespaces(values)?,
            WhenKey::SourceServiceAccount => self.service_accounts(values),
            WhenKey::SourcePrincipal => self.principals(values)?,
            WhenKey::RequestPrincipal => request_principals_of(values),
            WhenKey::RequestAudiences => Demand::Claim { path: vec!["aud".into()], values: texts(values) },
            WhenKey::RequestPresenter => Demand::Claim { path: vec!["azp".into()], values: texts(values) },
            WhenKey::RequestClaim(names) => {
                let path = nested_names(names).into_iter().map(Arc::from).collect();
                Demand::Claim { path, values: texts(values) }
            }
            WhenKey::DestinationIp => Demand::DestinationIp(ranges(values)?),
            WhenKey::DestinationPort => Demand::Port(ports(values)?),
            WhenKey::ServerName => Demand::ServerName(texts(values)),
            WhenKey::EnvoyFilter(_) => Demand::Unknown,
        })
    }

    fn principals(&self, values: &[Text]) -> Option<Demand> {
        let all = values.iter().flat_map(|value| self.domains.aliases(value));
        all.map(|value| principal(&value)).collect::<Option<_>>().map(Demand::Identity)
    }

    /// `NAME` or `NAMESPACE/NAME`; the policy's namespace where none is named.
    fn service_accounts(&self, values: &[Text]) -> Demand {
        let account = |value: &Text| {
            let (namespace, name) = value.split_once('/').unwrap_or((&self.object.key.namespace, value));
            IdentityMatch::ServiceAccount { namespace: namespace.into(), name: name.into() }
        };
        Demand::Identity(values.iter().map(account).collect())
    }
}

/// Without alternatives, everything is one.
fn any_if_none(alternatives: Vec<Vec<Condition>>) -> Vec<Vec<Condition>> {
    if alternatives.is_empty() { vec![Vec::new()] } else { alternatives }
}

fn operation_of(operation: &Operation, conditions: &mut Conditions<'_>) {
    let Operation { hosts, not_hosts, methods, not_methods, paths, not_paths, ports: numbers, not_ports } = operation;
    conditions.add("hosts", hosts, not_hosts, |values| Some(Demand::Host(texts(values))));
    conditions.add("methods", methods, not_methods, |values| Some(Demand::Method(texts(values))));
    conditions.add("paths", paths, not_paths, |values| {
        values.iter().map(|value| path(value)).collect::<Option<_>>().map(Demand::Path)
    });
    conditions.add("ports", numbers, not_ports, |values| Some(Demand::Port(ports(values)?)));
}

fn texts(values: &[Text]) -> Vec<TextMatch> {
    values.iter().map(|value| TextMatch::parse(value)).collect()
}

fn ranges(values: &[Text]) -> Option<Vec<IpRange>> {
    values.iter().map(|value| value.parse().ok()).collect()
}

fn ports(values: &[Text]) -> Option<Vec<u16>> {
    values.iter().map(|value| value.parse().ok()).collect()
}

fn path(value: &str) -> Option<PathMatch> {
    if PathTemplate::is_template(value) {
        return PathTemplate::parse(value).ok().map(PathMatch::Template);
    }
    Some(PathMatch::Text(TextMatch::parse(value)))
}

/// The demand for a condition whose match allows, or denies. Where it denies, a path may not escape by an odd character.
fn decided(demand: Demand, allows: bool) -> Demand {
    let wide = |value: PathMatch| match value {
        PathMatch::Template(template) => PathMatch::Template(template.widened()),
        text => text,
    };
    match demand {
        Demand::Path(values) if !allows => Demand::Path(values.into_iter().map(wide).collect()),
        Demand::Header { name, values, is_list, .. } => Demand::Header { name, values, is_list, allows },
        other => other,
    }
}

fn request_principals_of(values: &[Text]) -> Demand {
    Demand::RequestPrincipal(values.iter().map(|value| RequestPrincipal::parse(value)).collect())
}

/// A principal without its scheme. What follows a leading `*` is a pattern in Istio, which is kept where that makes a difference.
fn principal(value: &str) -> Option<IdentityMatch> {
    let spiffe = |rest: &str| -> Arc<str> { format!("spiffe://{rest}").into() };
    Some(match TextMatch::parse(value) {
        TextMatch::Any => IdentityMatch::Any,
        TextMatch::Exact(exact) => IdentityMatch::Exact(spiffe(&exact)),
        TextMatch::Prefix(prefix) => IdentityMatch::Prefix(spiffe(&prefix)),
        TextMatch::Suffix(suffix) if suffix.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_:".contains(&b)) => {
            IdentityMatch::Suffix(suffix)
        }
        TextMatch::Suffix(suffix) => IdentityMatch::Pattern(Pattern::parse(&format!("spiffe://.*{suffix}")).ok()?),
    })
}

/// Namespaces, in which `*` stands for any text.
fn namespaces(values: &[Text]) -> Option<Demand> {
    let namespace = |value: &Text| match value.contains('*') {
        false => Some(IdentityMatch::Namespace(Arc::from(&**value))),
        true => {
            let parts: Vec<String> = value.split('*').map(escaped).collect();
            Pattern::parse(&format!(".*/ns/{}/.*", parts.join(".*"))).ok().map(IdentityMatch::Pattern)
        }
    };
    values.iter().map(namespace).collect::<Option<_>>().map(Demand::Identity)
}

/// A text in a pattern that matches it alone.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_alphanumeric() && character != '-' {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
