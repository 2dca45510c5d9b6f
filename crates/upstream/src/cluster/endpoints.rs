//! Lists of endpoints out of addresses: known ones, or answers to names. An address keeps its endpoint.

use super::ClusterState;
use crate::balance::EndpointList;
use crate::endpoint::EndpointState;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use ir::{EndpointAddress, EndpointSource};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The addresses of a source that needs no resolving, and their weights: IP addresses in place of names are as good as known.
pub(super) fn known(source: &EndpointSource) -> Option<Vec<(EndpointAddress, u32)>> {
    match source {
        EndpointSource::Static(endpoints) => {
            Some(endpoints.iter().map(|endpoint| (endpoint.address.clone(), endpoint.weight)).collect())
        }
        EndpointSource::Dns { names, .. } => names
            .iter()
            .map(|name| {
                let address = SocketAddr::new(name.name.parse::<IpAddr>().ok()?, name.port);
                Some((EndpointAddress::Ip(address), name.weight))
            })
            .collect(),
        EndpointSource::Never(_) => None,
    }
}

/// The endpoints at these addresses. One that `before` has stays the same; an address that comes twice counts once.
pub(super) fn list(
    state: &ClusterState,
    addresses: Vec<(EndpointAddress, u32)>,
    before: Option<&EndpointList>,
) -> EndpointList {
    let idle = state.cluster.timeouts.idle;
    let kept: HashMap<&EndpointAddress, &Arc<EndpointState>, RandomState> =
        before.into_iter().flat_map(EndpointList::iter).map(|endpoint| (&endpoint.address, endpoint)).collect();
    let mut seen: HashSet<EndpointAddress, RandomState> = HashSet::default();
    let mut endpoints = Vec::with_capacity(addresses.len());
    for (address, weight) in addresses {
        if !seen.insert(address.clone()) {
            continue;
        }
        let endpoint = match kept.get(&address).filter(|endpoint| !endpoint.is_gone()) {
            Some(endpoint) => Arc::clone(endpoint),
            None => Arc::new(EndpointState::new(&state.all, address, idle)),
        };
        endpoint.set_idle_limit(idle);
        endpoints.push((endpoint, weight));
    }
    EndpointList::new(endpoints, state.panic(), before)
}

/// Whether a list is what these addresses, each coming once, would give.
pub(super) fn is_same(list: &EndpointList, addresses: &[(EndpointAddress, u32)]) -> bool {
    list.len() == addresses.len()
        && list.weighted().iter().zip(addresses).all(|((endpoint, weight), (address, share))| {
            endpoint.address == *address && !endpoint.is_gone() && weight == share
        })
}

/// Marks the endpoints of `list` as gone that `kept` does not have.
pub(super) fn retire_missing(list: &EndpointList, kept: Option<&EndpointList>) {
    let kept: HashSet<u64, RandomState> =
        kept.into_iter().flat_map(EndpointList::iter).map(|endpoint| endpoint.id).collect();
    for endpoint in list.iter().filter(|endpoint| !kept.contains(&endpoint.id)) {
        endpoint.retire();
    }
}
