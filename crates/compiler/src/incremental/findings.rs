//! The step from what is known to the report: what is said of the objects behind hosts, and of policies.

use super::clusters::Clusters;
use super::dirty::Dirty;
use super::policies::WorkloadPolicies;
use crate::context::CompileContext;
use crate::index::HostEntry;
use crate::lints;
use crate::names::{self, parts};
use crate::policies;
use crate::report::{Notes, Report};
use ir::{ClusterId, WorkloadName};
use resources::key::{Key, Kind, ObjectRef};
use resources::set::Object;
use resources::spec::destination_rule::DestinationRule;
use std::collections::BTreeSet;

/// Of what something else may be reported.
pub(super) struct Different<'a> {
    pub(super) dirty: &'a Dirty,
    /// Clusters that were built, or that are gone.
    pub(super) clusters: &'a [ClusterId],
    /// DestinationRules, for what was found while clusters were built.
    pub(super) rules: &'a BTreeSet<Key>,
    /// The workloads that have servers whose bytes are passed on.
    pub(super) tcp: &'a BTreeSet<WorkloadName>,
    /// Whether those are others than before.
    pub(super) tcp_differs: bool,
    /// What was found of the providers of policies.
    pub(super) policies: &'a WorkloadPolicies,
    /// The policies for which that is different.
    pub(super) noted: &'a BTreeSet<Key>,
}

/// Reports anew what may be different.
pub(super) fn report(context: CompileContext<'_>, known: &Clusters, different: Different<'_>, report: &mut Report) {
    let Different { dirty, clusters, rules, tcp, tcp_differs, policies, noted } = different;
    let policy = |object: &ObjectRef, report: &mut Report| policy(context, object, tcp, policies, report);
    let set = context.set;
    let of_rule = |object: &Object<DestinationRule>| {
        let mut notes = lints::of_destination_rule(context, object);
        known.findings(&object.key).for_each(|found| notes.extend(found));
        notes
    };
    if dirty.all {
        for object in set.destination_rules.values() {
            report.set(Kind::DestinationRule, &object.key, of_rule(object));
        }
        for object in set.service_entries.values() {
            report.set(Kind::ServiceEntry, &object.key, lints::of_service_entry(context, object));
        }
        for object in set.services.values() {
            report.set(Kind::Service, &object.key, lints::of_service(context, object));
        }
        all_policies(context).for_each(|object| policy(&object, report));
        return;
    }
    for ObjectRef { kind, key } in &dirty.gone {
        report.set(*kind, key, Notes::default());
    }
    dirty.policies.iter().for_each(|object| policy(object, report));
    for key in noted {
        policy(&ObjectRef { kind: Kind::AuthorizationPolicy, key: key.clone() }, report);
    }
    if dirty.policies.iter().any(|object| object.kind == Kind::AuthorizationPolicy) {
        // Whether tokens are optional is reported there.
        let objects = all_policies(context).filter(|object| object.kind == Kind::RequestAuthentication);
        objects.for_each(|object| policy(&object, report));
    }
    if tcp_differs {
        all_policies(context).for_each(|object| policy(&object, report));
    }
    for object in rules.iter().filter_map(|key| set.destination_rules.get(key)) {
        report.set(Kind::DestinationRule, &object.key, of_rule(object));
    }
    let used = clusters.iter().filter_map(parts).map(|(_, _, host)| host);
    let hosts: BTreeSet<&str> = dirty.hosts.iter().chain(&dirty.endpoints).map(|host| &**host).chain(used).collect();
    for host in hosts {
        let entry = context.index.host(host);
        let rules = entry.map_or(&[][..], HostEntry::rules).iter().chain(context.index.wildcard_rules(host));
        for object in rules.filter_map(|key| set.destination_rules.get(key)) {
            report.set(Kind::DestinationRule, &object.key, of_rule(object));
        }
        let entries = entry.map_or(&[][..], |entry| entry.entries.as_slice());
        for object in entries.iter().filter_map(|key| set.service_entries.get(key)) {
            report.set(Kind::ServiceEntry, &object.key, lints::of_service_entry(context, object));
        }
        let service = names::service_of_host(host, context.domain());
        if let Some(object) = service.and_then(|key| set.services.get(&key)) {
            report.set(Kind::Service, &object.key, lints::of_service(context, object));
        }
    }
}

fn all_policies(context: CompileContext<'_>) -> impl Iterator<Item = ObjectRef> {
    let set = context.set;
    let of = |kind: Kind| move |key: &Key| ObjectRef { kind, key: key.clone() };
    let requests = set.request_authentications.keys().map(of(Kind::RequestAuthentication));
    let authorizations = set.authorization_policies.keys().map(of(Kind::AuthorizationPolicy));
    requests.chain(authorizations).chain(set.peer_authentications.keys().map(of(Kind::PeerAuthentication)))
}

/// Reports anew what is found of a policy, or nothing where there is none any more.
fn policy(
    context: CompileContext<'_>,
    object: &ObjectRef,
    tcp: &BTreeSet<WorkloadName>,
    known: &WorkloadPolicies,
    report: &mut Report,
) {
    let (set, key) = (context.set, &object.key);
    let notes = match object.kind {
        Kind::RequestAuthentication => {
            set.request_authentications.get(key).map(|one| policies::of_request_authentication(context, one))
        }
        Kind::AuthorizationPolicy => {
            let has_tcp_servers = |workload: &WorkloadName| tcp.contains(workload);
            set.authorization_policies
                .get(key)
                .map(|one| policies::of_authorization_policy(context, one, has_tcp_servers, known.external(key)))
        }
        Kind::PeerAuthentication => {
            set.peer_authentications.get(key).map(|one| policies::of_peer_authentication(context, one))
        }
        _ => None,
    };
    report.set(object.kind, key, notes.unwrap_or_default());
}
