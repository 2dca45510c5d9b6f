//! Lists of endpoints, made of configured or resolved addresses. An address keeps its endpoint.

use crate::balance::{EndpointList, Member};
use crate::endpoint::{EndpointState, Endpoints};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use ir::{Balance, DnsName, Endpoint, EndpointAddress, EndpointSource};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a cluster sets on each of its endpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndpointSettings {
    /// How long a connection may be idle.
    pub(super) idle: Duration,
    /// Whether the connections of the cluster are limited.
    pub(super) is_limited: bool,
}

impl EndpointSettings {
    pub(super) fn apply(self, endpoint: &EndpointState) {
        endpoint.set_idle_limit(self.idle);
        endpoint.set_limited(self.is_limited);
    }
}

/// What lists of a cluster are made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListContext<'a> {
    /// All endpoints of the process.
    pub(super) all: &'a Arc<Endpoints>,
    pub(super) balance: &'a Balance,
    pub(super) settings: EndpointSettings,
}

/// The endpoints of a source that needs no resolving; an IP address in place of a name counts as resolved.
pub(super) fn known(source: &EndpointSource) -> Option<Vec<Endpoint>> {
    match source {
        EndpointSource::Static(endpoints) => Some(endpoints.to_vec()),
        EndpointSource::Dns { names, .. } => {
            names.iter().map(|name| Some(name.endpoint(name.name.parse::<IpAddr>().ok()?))).collect()
        }
        EndpointSource::Dynamic(_) | EndpointSource::Never(_) | EndpointSource::Withheld(..) => None,
    }
}

/// A list of the configured endpoints. Endpoints in `before` are kept; a repeated address counts once.
pub(super) fn list(context: ListContext<'_>, configured: Vec<Endpoint>, before: Option<&EndpointList>) -> EndpointList {
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
            None => Arc::new(EndpointState::new(context.all, one.address.clone(), context.settings.idle)),
        };
        context.settings.apply(&endpoint);
        endpoints.push(Member::new(one, endpoint, before));
    }
    EndpointList::new(endpoints, context.balance, before)
}

/// The resolved addresses of `list` whose names are in both sources, with the settings of `next`: used until the names are resolved again.
/// `None` if there are none.
pub(super) fn carried(before: &EndpointSource, next: &EndpointSource, list: &EndpointList) -> Option<Vec<Endpoint>> {
    let (EndpointSource::Dns { names: before, .. }, EndpointSource::Dns { names: next, .. }) = (before, next) else {
        return None;
    };
    let named = |wanted: &DnsName| next.iter().find(|name| name.name == wanted.name && name.port == wanted.port);
    let carry = |member: &Member| {
        let EndpointAddress::Ip(address) = &member.endpoint.address else { return None };
        // An address may belong to several names; all of them have to be in `next`.
        let of_address = before.iter().filter(|name| member.is(&name.endpoint(address.ip())));
        let names: Option<Vec<&DnsName>> = of_address.map(named).collect();
        Some(names?.first()?.endpoint(address.ip()))
    };
    let carried: Vec<Endpoint> = list.members().iter().filter_map(carry).collect();
    (!carried.is_empty()).then_some(carried)
}

/// Whether a list of these endpoints, none of which is repeated, would be equal to `list`.
pub(super) fn is_same(list: &EndpointList, configured: &[Endpoint]) -> bool {
    let same = |(member, one): (&Member, &Endpoint)| member.is(one) && !member.endpoint.is_gone();
    list.len() == configured.len() && list.members().iter().zip(configured).all(same)
}

/// Marks endpoints of `list` as gone that are not in `kept`.
pub(super) fn retire_missing(list: &EndpointList, kept: Option<&EndpointList>) {
    let kept: HashSet<u64, RandomState> =
        kept.into_iter().flat_map(EndpointList::iter).map(|endpoint| endpoint.id).collect();
    for endpoint in list.iter().filter(|endpoint| !kept.contains(&endpoint.id)) {
        endpoint.retire();
    }
}
