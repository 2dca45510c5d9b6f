//! Lists of endpoints out of addresses: known ones, or answers to names. An address keeps its endpoint.

use super::ClusterState;
use crate::balance::{EndpointList, Member};
use crate::endpoint::EndpointState;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use ir::{DnsName, Endpoint, EndpointAddress, EndpointSource};
use std::net::IpAddr;
use std::sync::Arc;

/// The endpoints of a source that needs no resolving: IP addresses in place of names are as good as known.
pub(super) fn known(source: &EndpointSource) -> Option<Vec<Endpoint>> {
    match source {
        EndpointSource::Static(endpoints) => Some(endpoints.to_vec()),
        EndpointSource::Dns { names, .. } => {
            names.iter().map(|name| Some(name.endpoint(name.name.parse::<IpAddr>().ok()?))).collect()
        }
        EndpointSource::Never(_) | EndpointSource::Withheld(_) => None,
    }
}

/// The endpoints as they are configured. One that `before` has stays the same; an address that comes twice counts once.
pub(super) fn list(state: &ClusterState, configured: Vec<Endpoint>, before: Option<&EndpointList>) -> EndpointList {
    let idle = state.config.timeouts.idle;
    let members = before.map_or(&[][..], EndpointList::members);
    let kept: HashMap<&EndpointAddress, &Member, RandomState> =
        members.iter().map(|member| (&member.endpoint.address, member)).collect();
    let mut seen: HashSet<EndpointAddress, RandomState> = HashSet::default();
    let mut endpoints = Vec::with_capacity(configured.len());
    for one in configured {
        if !seen.insert(one.address.clone()) {
            continue;
        }
        let before = kept.get(&one.address).copied().filter(|member| !member.endpoint.is_gone());
        let endpoint = match before {
            Some(before) => Arc::clone(&before.endpoint),
            None => Arc::new(EndpointState::new(&state.all, one.address.clone(), idle)),
        };
        state.set_connection_settings(&endpoint);
        endpoints.push(Member::new(one, endpoint, before));
    }
    EndpointList::new(endpoints, &state.config.balance, before)
}

/// What names resolved to that are there still, though other things are said of them or beside others: it holds until they are resolved
/// again. `None` where nothing of it is known.
pub(super) fn carried(before: &EndpointSource, next: &EndpointSource, list: &EndpointList) -> Option<Vec<Endpoint>> {
    let (EndpointSource::Dns { names: before, .. }, EndpointSource::Dns { names: next, .. }) = (before, next) else {
        return None;
    };
    let named = |wanted: &DnsName| next.iter().find(|name| name.name == wanted.name && name.port == wanted.port);
    let carry = |member: &Member| {
        let EndpointAddress::Ip(address) = &member.endpoint.address else { return None };
        // It may be that of several names; all of them have to be there.
        let of_address = before.iter().filter(|name| member.is(&name.endpoint(address.ip())));
        let names: Option<Vec<&DnsName>> = of_address.map(named).collect();
        Some(names?.first()?.endpoint(address.ip()))
    };
    let carried: Vec<Endpoint> = list.members().iter().filter_map(carry).collect();
    (!carried.is_empty()).then_some(carried)
}

/// Whether a list is what these endpoints, each coming once, would give.
pub(super) fn is_same(list: &EndpointList, configured: &[Endpoint]) -> bool {
    let same = |(member, one): (&Member, &Endpoint)| member.is(one) && !member.endpoint.is_gone();
    list.len() == configured.len() && list.members().iter().zip(configured).all(same)
}

/// Marks the endpoints of `list` as gone that `kept` does not have.
pub(super) fn retire_missing(list: &EndpointList, kept: Option<&EndpointList>) {
    let kept: HashSet<u64, RandomState> =
        kept.into_iter().flat_map(EndpointList::iter).map(|endpoint| endpoint.id).collect();
    for endpoint in list.iter().filter(|endpoint| !kept.contains(&endpoint.id)) {
        endpoint.retire();
    }
}
