//! Which DestinationRules hold for a host, and what they say about one port and subset (DR-01 to DR-07, DR-10, DR-20).

use crate::context::CompileContext;
use crate::index::HostEntry;
use crate::names;
use crate::order;
use crate::settings::Workload;
use crate::texts;
use crate::visibility;
use ir::{ObjectKind, Origin};
use resources::key::Key;
use resources::set::Object;
use resources::spec::destination_rule::{
    ClientTls, ConnectionPool, DestinationRule, LoadBalancer, OutlierDetection, PortTrafficPolicy, ProxyProtocol,
    RetryBudget, Subset, TrafficPolicy, Tunnel,
};
use resources::spec::text_match::selects;
use std::sync::Arc;

type Rule = Arc<Object<DestinationRule>>;

/// The rules of one host in one namespace that are read as one (DR-04), oldest first.
pub(crate) struct Merged<'a> {
    rules: Vec<&'a Rule>,
}

/// What of a policy acts here, for one port and subset.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Effective<'a> {
    pub(crate) load_balancer: Option<&'a LoadBalancer>,
    pub(crate) connection_pool: Option<&'a ConnectionPool>,
    pub(crate) outlier_detection: Option<&'a OutlierDetection>,
    pub(crate) tls: Option<&'a ClientTls>,
    pub(crate) retry_budget: Option<&'a RetryBudget>,
    pub(crate) proxy_protocol: Option<&'a ProxyProtocol>,
    pub(crate) tunnel: Option<&'a Tunnel>,
}

impl<'a> Merged<'a> {
    /// The subset of this name; the oldest rule that defines it wins.
    pub(crate) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.defined(name).map(|(_, _, subset)| subset)
    }

    /// The same, with the rule that defines it and its place there.
    pub(crate) fn defined(&self, name: &str) -> Option<(&'a Key, usize, &'a Subset)> {
        let of_rule = |rule: &&'a Rule| {
            let (at, subset) = rule.spec.subsets.iter().enumerate().find(|(_, subset)| &*subset.name == name)?;
            Some((&rule.key, at, subset))
        };
        self.rules.iter().find_map(of_rule)
    }

    /// The names of all subsets, for people.
    pub(crate) fn subset_names(&self) -> String {
        let names = self.rules.iter().flat_map(|rule| &rule.spec.subsets).map(|subset| &*subset.name);
        names.collect::<Vec<_>>().join(", ")
    }

    /// The rule that has errors, and stands for itself so that nothing is sent without what it asks for.
    pub(crate) fn guard(&self) -> Option<&'a Key> {
        self.rules.iter().find(|rule| rule.spec.is_guard).map(|rule| &rule.key)
    }

    /// The value of an annotation, with the oldest rule that has it.
    pub(crate) fn annotation(&self, name: &str) -> Option<(&'a Key, &'a str)> {
        self.rules.iter().find_map(|rule| Some((&rule.key, &**rule.meta.annotations.get(name)?)))
    }

    /// The namespace of the rules.
    pub(crate) fn namespace(&self) -> &'a str {
        self.rules.first().map_or("", |rule| &*rule.key.namespace)
    }

    /// The oldest of the rules.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let key = &self.rules.first()?.key;
        let (namespace, name) = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        Some(Origin { kind: ObjectKind::DestinationRule, namespace, name, rule: texts::shared("") })
    }

    /// The policy for a port, with a subset's laid over it block by block (DR-07).
    pub(crate) fn effective(&self, port: u16, subset: Option<&'a Subset>) -> Effective<'a> {
        let whole = self.rules.iter().find_map(|rule| rule.spec.traffic_policy.as_deref());
        let whole = whole.map_or(Effective::default(), |policy| of_port(policy, Effective::default(), port));
        match subset.and_then(|subset| subset.traffic_policy.as_deref()) {
            Some(policy) => of_port(policy, whole, port),
            None => whole,
        }
    }
}

fn of_port<'a>(policy: &'a TrafficPolicy, under: Effective<'a>, port: u16) -> Effective<'a> {
    let of_this_port = |settings: &&PortTrafficPolicy| settings.port.is_some_and(|of| of.number == u32::from(port));
    // DR-07: an entry of a port replaces everything; it inherits nothing.
    if let Some(settings) = policy.port_level_settings.iter().find(of_this_port) {
        return Effective {
            load_balancer: settings.load_balancer.as_deref(),
            connection_pool: settings.connection_pool.as_deref(),
            outlier_detection: settings.outlier_detection.as_deref(),
            tls: settings.tls.as_deref(),
            // The API has none of these for a port, and Istio keeps those of the whole.
            retry_budget: policy.retry_budget.as_ref().or(under.retry_budget),
            proxy_protocol: policy.proxy_protocol.as_ref().or(under.proxy_protocol),
            tunnel: policy.tunnel.as_deref().or(under.tunnel),
        };
    }
    Effective {
        load_balancer: policy.load_balancer.as_deref().or(under.load_balancer),
        connection_pool: policy.connection_pool.as_deref().or(under.connection_pool),
        outlier_detection: policy.outlier_detection.as_deref().or(under.outlier_detection),
        tls: policy.tls.as_deref().or(under.tls),
        retry_budget: policy.retry_budget.as_ref().or(under.retry_budget),
        proxy_protocol: policy.proxy_protocol.as_ref().or(under.proxy_protocol),
        tunnel: policy.tunnel.as_deref().or(under.tunnel),
    }
}

/// The rules that hold for a host of a service in namespace `owner`, for a client (DR-02): those of the first level that has
/// a rule for the host. Levels are never merged.
pub(crate) fn lookup<'a>(
    context: CompileContext<'a>,
    host: &str,
    owner: &str,
    client: &Workload,
) -> Option<Merged<'a>> {
    if context.index.host(host).is_none_or(|entry| entry.rules().is_empty()) && !context.index.has_wildcard_rules() {
        return None;
    }
    let root = context.settings.root_namespace();
    let own = Level { context, namespace: &client.namespace, client };
    let own =
        if &*client.namespace == root { own.most_specific(host, is_private) } else { own.most_specific(host, stays) };
    own.and_then(choose)
        .or_else(|| exported(context, host, owner, client))
        .or_else(|| exported(context, host, root, client))
}

fn exported<'a>(context: CompileContext<'a>, host: &str, namespace: &str, client: &Workload) -> Option<Merged<'a>> {
    let level = Level { context, namespace, client };
    let mut rules = level.most_specific(host, |rule, context| !is_private(rule, context))?;
    rules.retain(|rule| {
        let export_to = visibility::entries(&rule.spec.export_to);
        let default = &context.settings.mesh.default_destination_rule_export_to;
        visibility::class(export_to, default, &rule.key.namespace, &client.namespace).is_some()
    });
    choose(rules)
}

/// The rules of one namespace.
struct Level<'a, 'b> {
    context: CompileContext<'a>,
    namespace: &'b str,
    client: &'b Workload,
}

impl<'a> Level<'a, '_> {
    /// The rules for the most specific host that has any (DR-01): the very host, then the longest wildcard.
    fn most_specific(&self, host: &str, wanted: fn(&Rule, CompileContext<'_>) -> bool) -> Option<Vec<&'a Rule>> {
        let exact = self.context.index.host(host).map_or(&[][..], HostEntry::rules);
        let exact = self.pick(exact, wanted);
        if !exact.is_empty() {
            return Some(exact);
        }
        if !self.context.index.has_wildcard_rules() {
            return None;
        }
        let found = |pattern: &str| self.pick(self.context.index.wildcard_rules(pattern), wanted);
        wildcards(host).map(|pattern| found(&pattern)).find(|rules| !rules.is_empty())
    }

    fn pick(&self, keys: &[Key], wanted: fn(&Rule, CompileContext<'_>) -> bool) -> Vec<&'a Rule> {
        let from = keys.partition_point(|key| &*key.namespace < self.namespace);
        let here = keys.iter().skip(from).take_while(|key| &*key.namespace == self.namespace);
        let rules = here.filter_map(|key| self.context.set.destination_rules.get(key));
        let mut rules: Vec<_> = rules.filter(|rule| wanted(rule, self.context) && self.is_for_client(rule)).collect();
        rules.sort_by(|a, b| order::by_age(a, b));
        rules
    }

    /// DR-05: a rule with a selector holds for the workloads of its namespace that it selects.
    fn is_for_client(&self, rule: &Rule) -> bool {
        rule.spec.workload_selector.as_ref().is_none_or(|selector| {
            *rule.key.namespace == *self.client.namespace && selects(&selector.labels, &self.client.labels)
        })
    }
}

/// `*.b.c`, `*.c`, `*` for `a.b.c`.
fn wildcards(host: &str) -> impl Iterator<Item = String> {
    let dots = host.match_indices('.').map(|(at, _)| at).filter(|at| *at > 0);
    let parents = dots.filter_map(|at| host.get(at..)).map(|suffix| format!("*{suffix}"));
    parents.chain(std::iter::once("*".to_owned()))
}

/// Whether only its own namespace sees the rule.
fn is_private(rule: &Rule, context: CompileContext<'_>) -> bool {
    if rule.spec.workload_selector.is_some() {
        return true;
    }
    let own = |entry: &str| entry == "." || entry == &*rule.key.namespace;
    match &rule.spec.export_to[..] {
        [] => context.settings.mesh.default_destination_rule_export_to.iter().any(|entry| &**entry == "."),
        [only] => own(only),
        _ => false,
    }
}

/// Whether its own namespace sees the rule.
fn stays(rule: &Rule, _: CompileContext<'_>) -> bool {
    let export_to = &rule.spec.export_to;
    let own = |entry: &str| entry == "." || entry == "*" || entry == &*rule.key.namespace;
    rule.spec.workload_selector.is_some() || export_to.is_empty() || export_to.iter().any(|entry| own(entry))
}

/// Of the rules of one host in one namespace: those with a selector if there are any, else those that can be merged. Rules with
/// unequal `exportTo` are not merged, and the youngest such group is the one that Istio ends up with (DR-04).
fn choose(rules: Vec<&Rule>) -> Option<Merged<'_>> {
    let (selecting, others): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| rule.spec.workload_selector.is_some());
    if let Some(first) = selecting.first() {
        let selector = &first.spec.workload_selector;
        let alike = selecting.iter().filter(|rule| rule.spec.workload_selector == *selector);
        return Some(Merged { rules: alike.copied().collect() });
    }
    let mut groups: Vec<Merged<'_>> = Vec::new();
    for rule in others {
        let alike = |group: &&mut Merged<'_>| {
            group.rules.first().is_some_and(|first| same_set(&first.spec.export_to, &rule.spec.export_to))
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.rules.push(rule),
            None => groups.push(Merged { rules: vec![rule] }),
        }
    }
    groups.pop()
}

fn same_set(a: &[Box<str>], b: &[Box<str>]) -> bool {
    a.iter().all(|entry| b.contains(entry)) && b.iter().all(|entry| a.contains(entry))
}

/// The full host of a rule.
pub(crate) fn host_of<'a>(rule: &'a Object<DestinationRule>, domain: &str) -> std::borrow::Cow<'a, str> {
    names::full_host(&rule.spec.host, &rule.key.namespace, domain)
}
