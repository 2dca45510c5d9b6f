//! What is reported of the objects behind hosts, and of policies.

use super::dirty::Dirty;
use super::state::State;
use crate::context::CompileContext;
use crate::index::HostEntry;
use crate::lints;
use crate::names::{self, parts};
use crate::policies;
use crate::report::Report;
use resources::key::{Key, Kind};
use resources::set::Object;
use resources::spec::destination_rule::DestinationRule;
use std::collections::BTreeSet;

impl State {
    /// Says anew what is said about the objects behind hosts.
    pub(super) fn remark(&mut self, dirty: &Dirty) {
        let State { set, settings, index, report, cluster_notes, .. } = self;
        let context = CompileContext { set, settings, index };
        let of_rule = |object: &Object<DestinationRule>| {
            let mut notes = lints::of_destination_rule(context, object);
            cluster_notes.of_rule(&object.key).for_each(|found| notes.extend(found));
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
            set.request_authentications
                .keys()
                .for_each(|key| policy(Kind::RequestAuthentication, key, context, report));
            set.authorization_policies.keys().for_each(|key| policy(Kind::AuthorizationPolicy, key, context, report));
            set.peer_authentications.keys().for_each(|key| policy(Kind::PeerAuthentication, key, context, report));
            return;
        }
        dirty.policies.iter().for_each(|object| policy(object.kind, &object.key, context, report));
        for object in dirty.rules.iter().filter_map(|key| set.destination_rules.get(key)) {
            report.set(Kind::DestinationRule, &object.key, of_rule(object));
        }
        let used = dirty.clusters.iter().filter_map(|id| parts(id)).map(|(_, _, host)| host);
        let hosts: BTreeSet<&str> =
            dirty.hosts.iter().chain(&dirty.endpoints).map(|host| &**host).chain(used).collect();
        for host in hosts {
            let entry = index.host(host);
            let rules = entry.map_or(&[][..], HostEntry::rules).iter().chain(index.wildcard_rules(host));
            for object in rules.filter_map(|key| set.destination_rules.get(key)) {
                report.set(Kind::DestinationRule, &object.key, of_rule(object));
            }
            let entries = entry.map_or(&[][..], |entry| entry.entries.as_slice());
            for object in entries.iter().filter_map(|key| set.service_entries.get(key)) {
                report.set(Kind::ServiceEntry, &object.key, lints::of_service_entry(context, object));
            }
            let service = names::service_of_host(host, &settings.domain);
            if let Some(object) = service.and_then(|key| set.services.get(&key)) {
                report.set(Kind::Service, &object.key, lints::of_service(context, object));
            }
        }
    }
}

/// Says anew what is said about a policy, or nothing where there is none any more.
fn policy(kind: Kind, key: &Key, context: CompileContext<'_>, report: &mut Report) {
    let set = context.set;
    let notes = match kind {
        Kind::RequestAuthentication => {
            set.request_authentications.get(key).map(|one| policies::of_policy(context, one))
        }
        Kind::AuthorizationPolicy => {
            set.authorization_policies.get(key).map(|one| policies::of_authorization_policy(context, one))
        }
        Kind::PeerAuthentication => set.peer_authentications.get(key).map(|one| policies::of_policy(context, one)),
        _ => None,
    };
    report.set(kind, key, notes.unwrap_or_default());
}
