//! What is looked for, and what was found, before it is put in order.

use crate::localities::{LocalityPolicy, Topology};
use crate::services::BackingPort;
use crate::texts;
use ir::{DnsName, Endpoint, EndpointAddress, EndpointSource, Locality};
use resources::spec::text_match::{Labels, selects};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::LazyLock;

/// What the endpoints of one port were found to be, before they are put in order.
pub(crate) struct FoundEndpoints<'a> {
    pub(super) locality_policy: LocalityPolicy<'a>,
    addresses: Vec<Endpoint>,
    names: Vec<DnsName>,
}

/// An endpoint before its address is known to be an IP, a name or a path.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) address: &'a str,
    pub(crate) port: u16,
    pub(crate) weight: u32,
    /// `region/zone/subzone`; may be empty.
    pub(crate) locality: &'a str,
    pub(crate) labels: &'a Labels,
    /// The name of its node; may be empty.
    pub(crate) node: &'a str,
}

pub(super) static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);

impl<'a> Seen<'a> {
    /// One of which nothing else is known.
    pub(crate) fn at(address: &'a str, port: u16) -> Self {
        Self { address, port, weight: 1, locality: "", labels: &NO_LABELS, node: "" }
    }
}

/// What endpoints are looked for.
#[derive(Clone, Copy)]
pub(crate) struct EndpointQuery<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: BackingPort<'a>,
    /// The labels of a subset; only endpoints that have them all count (DR-06).
    pub(crate) labels: Option<&'a Labels>,
    /// What it matters where they are.
    pub(crate) locality_policy: LocalityPolicy<'a>,
}

impl EndpointQuery<'_> {
    pub(super) fn takes(&self, labels: &Labels) -> bool {
        self.labels.is_none_or(|wanted| selects(wanted, labels))
    }

    /// Whether no labels are asked for, so that endpoints without known labels count.
    pub(super) fn takes_all(&self) -> bool {
        self.labels.is_none_or(Labels::is_empty)
    }
}

impl<'a> FoundEndpoints<'a> {
    pub(crate) fn new(wanted: EndpointQuery<'a>) -> Self {
        Self { locality_policy: wanted.locality_policy, addresses: Vec::new(), names: Vec::new() }
    }

    /// An address as an IP, a name or a path.
    pub(super) fn add(&mut self, seen: Seen<'_>) {
        let Seen { address, port, weight, locality, labels, node } = seen;
        let weight = weight.max(1);
        let locality = (!locality.is_empty()).then(|| Locality(texts::shared(locality)));
        let priority = self.locality_policy.priority(Topology { locality: locality.as_ref(), labels, node });
        // `[::1]` is an address as well, with any resolution.
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match (address.strip_prefix("unix://"), bare.parse::<IpAddr>()) {
            (Some(path), _) => EndpointAddress::Unix(Path::new(path).into()),
            (None, Ok(ip)) => EndpointAddress::Ip(SocketAddr::new(ip, port)),
            (None, Err(_)) => {
                let name = address.trim_end_matches('.').to_ascii_lowercase().into();
                self.names.push(DnsName { name, port, weight, locality, priority });
                return;
            }
        };
        self.addresses.push(Endpoint { address, weight, locality, priority });
    }

    /// Priorities without gaps, from 0.
    fn rank(&mut self) {
        let priorities =
            || self.addresses.iter().map(|one| one.priority).chain(self.names.iter().map(|one| one.priority));
        let ranks: BTreeSet<u32> = priorities().collect();
        let rank = |priority: &mut u32| *priority = u32::try_from(ranks.range(..*priority).count()).unwrap_or(0);
        self.addresses.iter_mut().map(|one| &mut one.priority).for_each(rank);
        self.names.iter_mut().map(|one| &mut one.priority).for_each(rank);
    }

    /// Known addresses in their order; names count only where names may be resolved.
    pub(super) fn into_static(mut self) -> EndpointSource {
        self.names.clear();
        self.rank();
        self.addresses.sort_unstable();
        self.addresses.dedup_by(|a, b| a.address == b.address);
        EndpointSource::Static(self.addresses.into())
    }

    /// As names, unless every one of them is an address already.
    pub(super) fn into_dns(mut self, first_only: bool) -> EndpointSource {
        if self.names.is_empty() {
            return self.into_static();
        }
        self.rank();
        self.names.extend(self.addresses.iter().filter_map(|endpoint| match endpoint.address {
            EndpointAddress::Ip(at) => {
                let Endpoint { weight, locality, priority, .. } = endpoint.clone();
                Some(DnsName { name: at.ip().to_string().into(), port: at.port(), weight, locality, priority })
            }
            EndpointAddress::Unix(_) => None,
        }));
        self.names.sort_unstable();
        self.names.dedup_by(|a, b| a.name == b.name && a.port == b.port);
        EndpointSource::Dns { names: self.names.into(), first_only }
    }
}
