//! What there is to say about DestinationRules, ServiceEntries and Services by themselves and by how they are used.

use crate::code;
use crate::context::CompileContext;
use crate::destination_rules;
use crate::endpoints;
use crate::index::HostEntry;
use crate::names;
use crate::order;
use crate::report::Notes;
use resources::set::Object;
use resources::spec::core::Service;
use resources::spec::destination_rule::{
    ConnectionPool, DestinationRule, LoadBalancer, PortTrafficPolicy, SimpleBalancer, Subset, TrafficPolicy,
};
use resources::spec::service_entry::{Resolution, ServiceEntry};
use resources::spec::workload_entry::WorkloadEntry;
use std::net::IpAddr;

/// Of a DestinationRule: what does not act yet, each once, and subsets that an older rule defines (DR-04).
pub(crate) fn of_destination_rule(context: CompileContext<'_>, object: &Object<DestinationRule>) -> Notes {
    let mut notes = Notes::default();
    let mut said = Vec::new();
    let subsets = object.spec.subsets.iter().enumerate().filter_map(|(index, subset)| {
        Some((format!("spec.subsets[{index}].trafficPolicy"), subset.traffic_policy.as_deref()?))
    });
    let whole = object.spec.traffic_policy.as_deref().map(|policy| ("spec.trafficPolicy".to_owned(), policy));
    for (field, policy) in whole.into_iter().chain(subsets) {
        for (name, why) in without_effect(policy) {
            if !said.contains(&name) {
                said.push(name);
                notes.add(code::POLICY_NO_EFFECT, format!("{field}.{name}"), format!("`{name}` {why}"));
            }
        }
    }
    unknown_locality(context, object, &mut notes);
    shadowed_subsets(context, object, &mut notes);
    notes
}

/// The fields of a policy that do not act, and when or why not.
fn without_effect(policy: &TrafficPolicy) -> Vec<(&'static str, &'static str)> {
    let mut balancers = vec![policy.load_balancer.as_deref()];
    let mut pools = vec![policy.connection_pool.as_deref()];
    let ports = &policy.port_level_settings;
    balancers.extend(ports.iter().map(|port| port.load_balancer.as_deref()));
    pools.extend(ports.iter().map(|port| port.connection_pool.as_deref()));
    let balancers = || balancers.iter().flatten();
    let retries = |pool: &&ConnectionPool| pool.http.as_ref().is_some_and(|http| http.max_retries > 0);
    let found = [
        (
            balancers().any(|b| b.simple == Some(SimpleBalancer::Passthrough)),
            "loadBalancer.simple",
            "has no effect: PASSTHROUGH is not supported yet",
        ),
        (
            balancers().any(|b| b.warmup.is_some() && !is_by_weight(b)),
            "loadBalancer.warmup",
            "has no effect: only ROUND_ROBIN and LEAST_REQUEST warm up new endpoints",
        ),
        (
            policy.retry_budget.is_some() && pools.into_iter().flatten().any(|pool| retries(&pool)),
            "connectionPool.http.maxRetries",
            "has no effect: `retryBudget` is used instead",
        ),
    ];
    found.into_iter().filter_map(|(there, name, why)| there.then_some((name, why))).collect()
}

/// Whether endpoints are chosen by their weights, which those that are new have less of (DR-12).
fn is_by_weight(balancer: &LoadBalancer) -> bool {
    balancer.consistent_hash.is_none() && balancer.simple != Some(SimpleBalancer::Random)
}

/// DR-14: what goes by the gateway's locality does nothing while that is not known.
fn unknown_locality(context: CompileContext<'_>, object: &Object<DestinationRule>, notes: &mut Notes) {
    if context.workloads().iter().any(|workload| workload.locality.is_some()) {
        return;
    }
    let subsets = object.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_deref());
    let policies = object.spec.traffic_policy.as_deref().into_iter().chain(subsets);
    let whole = |policy: &TrafficPolicy| policy.load_balancer.as_deref().is_some_and(goes_by_locality);
    let of_port = |port: &PortTrafficPolicy| port.load_balancer.as_deref().is_some_and(goes_by_locality);
    if policies.into_iter().any(|policy| whole(policy) || policy.port_level_settings.iter().any(of_port)) {
        let message = "the gateway's own locality is not known, so that endpoints near it are not preferred";
        let help = "give it by `--locality region/zone/subzone`, or the labels of its Node by `--node-name`";
        notes.add_with_help(code::LOCALITY_UNKNOWN, "spec.trafficPolicy.loadBalancer.localityLbSetting", message, help);
    }
}

fn goes_by_locality(balancer: &LoadBalancer) -> bool {
    let setting = balancer.locality_lb_setting.as_deref().filter(|setting| setting.enabled != Some(false));
    setting.is_some_and(|setting| {
        // Labels may say without it which endpoints are near.
        !setting.distribute.is_empty() || !setting.failover.is_empty() || setting.failover_priority.is_empty()
    })
}

fn shadowed_subsets(context: CompileContext<'_>, object: &Object<DestinationRule>, notes: &mut Notes) {
    let host = destination_rules::host_of(object, context.domain());
    let keys = if host.starts_with('*') {
        context.index.wildcard_rules(&host)
    } else {
        context.index.host(&host).map_or(&[][..], HostEntry::rules)
    };
    let namesakes = keys.iter().filter(|key| key.namespace == object.key.namespace && **key != object.key);
    let others = namesakes.filter_map(|key| context.set.destination_rules.get(key));
    for older in others.filter(|other| order::by_age(other, object).is_lt()) {
        let has = |subset: &Subset| older.spec.subsets.iter().any(|theirs| theirs.name == subset.name);
        for (index, subset) in object.spec.subsets.iter().enumerate().filter(|(_, subset)| has(subset)) {
            let message = format!("{} is older and defines subset `{}`, which holds", older.key, subset.name);
            notes.add(code::SUBSET_SHADOWED, format!("spec.subsets[{index}].name"), message);
        }
    }
}

/// Of a ServiceEntry that routes go to.
pub(crate) fn of_service_entry(context: CompileContext<'_>, object: &Object<ServiceEntry>) -> Notes {
    let mut notes = Notes::default();
    let spec = &object.spec;
    if !spec.hosts.iter().any(|host| is_used(context, host)) {
        return notes;
    }
    for bad in endpoints::allowed_addresses(object).1 {
        let message = format!("`{bad}` is not an address or a range of addresses, and is left out");
        let help = "write addresses and ranges such as 10.1.0.0/16, separated by commas";
        notes.add_with_help(code::ALLOWED_ADDRESS, "metadata.annotations", message, help);
    }
    let is_routed = |host: &str| context.index.host(host).is_some_and(HostEntry::has_routed_clusters);
    match spec.resolution {
        None | Some(Resolution::None) if !spec.hosts.iter().any(|host| is_routed(host)) => return notes,
        None | Some(Resolution::None) => {
            let message =
                "resolution NONE leaves the address to the client, which a gateway does not know; requests get 503";
            let help = "use STATIC with endpoints, or DNS";
            notes.add_with_help(code::NEVER_RESOLVED, "spec.resolution", message, help);
            return notes;
        }
        Some(Resolution::DynamicDns) => return notes,
        Some(Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin) => {}
    }
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        of_endpoint(spec, endpoint, &format!("spec.endpoints[{index}]"), &mut notes);
    }
    let selector = spec.workload_selector.as_ref();
    let selects_none = selector.is_some_and(|s| !endpoints::any_selected(context, &object.key.namespace, &s.labels));
    if selects_none {
        notes.add(code::NO_ENDPOINTS, "spec.workloadSelector", "it selects no WorkloadEntry; requests get 503");
    } else if selector.is_none() && spec.endpoints.is_empty() && spec.resolution == Some(Resolution::Static) {
        notes.add(code::NO_ENDPOINTS, "spec.endpoints", "there are no endpoints; requests get 503");
    }
    notes
}

fn of_endpoint(spec: &ServiceEntry, endpoint: &WorkloadEntry, field: &str, notes: &mut Notes) {
    let is_address = endpoint.address.starts_with("unix://") || endpoint.address.parse::<IpAddr>().is_ok();
    if endpoint.address.is_empty() {
        let message = "it has no address, and the gateways of its network are not known here; it is left out";
        notes.add_with_help(code::BAD_ENDPOINT, format!("{field}.address"), message, "give its address");
    } else if spec.resolution == Some(Resolution::Static) && !is_address {
        let message = format!("`{}` is a name, which resolution STATIC does not resolve", endpoint.address);
        notes.add_with_help(
            code::BAD_ENDPOINT,
            format!("{field}.address"),
            message,
            "use an IP address, or resolution DNS",
        );
    }
    for port in spec.ports.iter().filter(|port| endpoints::port_of_address(endpoint, port).is_none()) {
        let message = format!("port `{}` has a number that is none", port.name);
        notes.add(code::BAD_ENDPOINT, format!("{field}.ports.{}", port.name), message);
    }
}

/// Of a Service that routes go to.
pub(crate) fn of_service(context: CompileContext<'_>, object: &Object<Service>) -> Notes {
    let mut notes = Notes::default();
    let host = names::service_host(&object.key.name, &object.key.namespace, context.domain());
    if !is_used(context, &host) {
        return notes;
    }
    if endpoints::is_resolved_by_dns(context, object) && !context.settings.endpoints.contains_key(&*host) {
        let name = match &*object.spec.external_name {
            "" => format!("{}.{}.svc", object.key.name, object.key.namespace),
            external => external.to_owned(),
        };
        let message = format!("it has no EndpointSlice, so that `{name}` is resolved by DNS");
        let help = format!("add its EndpointSlices, or give addresses by `--endpoint {host}=ADDRESS`");
        notes.add_with_help(code::BY_DNS, "", message, help);
    }
    notes
}

/// Whether some route goes to a cluster of the host.
fn is_used(context: CompileContext<'_>, host: &str) -> bool {
    context.index.host(host).is_some_and(HostEntry::has_clusters)
}
