//! What a forward proxy allows its clients to ask for: pure decisions over the destination, its port, and how the client asks for it. Who may ask
//! is decided by AuthorizationPolicies before, and the addresses of a name are checked by `upstream` when the name is resolved.

mod answer;
mod requested;
mod transparent;
mod users;

pub(crate) use answer::to_itself;
pub use answer::{DenialCause, Refused, refusal};
pub use requested::RequestedDestination;
pub use transparent::{implied_host, implied_request};
pub use users::authenticate;

use crate::names::NameIndex;
use crate::route::{RouteEntry, Slots};
use ir::{
    Action, Forward, ForwardPort, ForwardProtocol, ForwardProxy, IpRange, ProxyUsers, Retries, Route, RouteMatch,
    Target, TargetCluster,
};
use requested::TLS_PORT;
use std::net::IpAddr;
use std::sync::Arc;
use wire::destination::{Destination, DestinationHost};
use wire::view::RequestView;

/// The destinations that clients may ask for.
#[derive(Debug)]
pub struct AllowList {
    names: NameIndex<Ports>,
    addresses: Box<[(IpRange, Ports)]>,
    /// Routes of all other destinations, if they are allowed: of requests, of tunnels for TLS, and of other tunnels.
    others: Option<Others>,
    users: Option<Arc<ProxyUsers>>,
}

/// The ports of a destination, in the order of their numbers.
type Ports = Box<[(u16, Arc<RouteEntry>)]>;

#[derive(Debug)]
struct Others {
    requests: Arc<RouteEntry>,
    tls: Arc<RouteEntry>,
    tunnels: Arc<RouteEntry>,
}

/// What is asked for by a request whose cluster is dynamic: the authority that the route sends, or that of the client.
pub fn requested_by<'a>(
    route: &'a RouteEntry,
    target: usize,
    view: &RequestView<'a>,
) -> Option<RequestedDestination<'a>> {
    let Some(authority) = route.sent_authority(target) else { return RequestedDestination::of(view) };
    let Destination { host, port } = Destination::parse(authority.as_bytes()).ok()?;
    let is_https = view.scheme == "https";
    Some(RequestedDestination {
        is_tunnel: false,
        is_https,
        host,
        port: port.unwrap_or(if is_https { TLS_PORT } else { 80 }),
    })
}

impl AllowList {
    /// Builds the index.
    pub fn build(proxy: &ForwardProxy, slots: Slots<'_>) -> Self {
        let retries = proxy.retries.as_ref();
        let mut names = NameIndex::default();
        for host in &proxy.hosts {
            names.put(&host.host, ports(&host.ports, retries, slots));
        }
        let addresses = proxy.addresses.iter().map(|one| (one.range, ports(&one.ports, retries, slots))).collect();
        let others = proxy.others.as_ref().map(|cluster| {
            let mut route = |protocol| {
                let port = ForwardPort { number: 0, protocol, cluster: cluster.clone(), origin: proxy.origin.clone() };
                entry(&port, retries, slots)
            };
            Others {
                requests: route(ForwardProtocol::Http),
                tls: route(ForwardProtocol::Tls),
                tunnels: route(ForwardProtocol::Tcp),
            }
        });
        Self { names, addresses, others, users: proxy.users.clone() }
    }

    /// The users, where clients have to say who they are.
    pub fn users(&self) -> Option<&Arc<ProxyUsers>> {
        self.users.as_ref()
    }

    /// Decides on a destination: the route, or why the client may not have it.
    pub fn decide(&self, requested: &RequestedDestination<'_>) -> Result<&Arc<RouteEntry>, DenialCause> {
        if requested.is_https && !requested.is_tunnel {
            return Err(DenialCause::Https);
        }
        let ports = match requested.host {
            DestinationHost::Name(name) => self.names.get(Some(name)),
            DestinationHost::Address(address) => {
                self.addresses.iter().find(|(range, _)| range.contains(address)).map(|(_, ports)| ports)
            }
        };
        let Some(ports) = ports else { return self.other(requested) };
        let found =
            ports.binary_search_by_key(&requested.port, |(number, _)| *number).ok().and_then(|at| ports.get(at));
        let Some((_, route)) = found else {
            let entry = ports.first().map(|(_, route)| Box::new(route.config.origin.clone()));
            return Err(DenialCause::Port(ports.iter().map(|(number, _)| *number).collect(), entry));
        };
        match (route.proxied, requested.is_tunnel) {
            (Some(ForwardProtocol::Http), true) => Err(DenialCause::Tunnel),
            (Some(ForwardProtocol::Tls | ForwardProtocol::Tcp), false) => Err(DenialCause::Request),
            _ => Ok(route),
        }
    }

    /// Whether clients may have tunnels for any octets to an address: nothing that a client sends has part in the decision.
    pub fn is_raw(&self, address: IpAddr, port: u16) -> bool {
        let ports = self.addresses.iter().find(|(range, _)| range.contains(address)).map(|(_, ports)| ports);
        let route = ports.and_then(|ports| ports.iter().find(|(number, _)| *number == port));
        route.is_some_and(|(_, route)| route.proxied == Some(ForwardProtocol::Tcp))
    }

    fn other(&self, requested: &RequestedDestination<'_>) -> Result<&Arc<RouteEntry>, DenialCause> {
        let others = self.others.as_ref().ok_or(DenialCause::NotListed)?;
        Ok(match (requested.is_tunnel, requested.port) {
            (false, _) => &others.requests,
            (true, TLS_PORT) => &others.tls,
            (true, _) => &others.tunnels,
        })
    }
}

fn ports(ports: &[ForwardPort], retries: Option<&Arc<Retries>>, slots: Slots<'_>) -> Ports {
    let mut ports: Vec<_> = ports.iter().map(|port| (port.number, entry(port, retries, slots))).collect();
    ports.sort_by_key(|(number, _)| *number);
    ports.into()
}

/// The route of a destination's port.
fn entry(port: &ForwardPort, retries: Option<&Arc<Retries>>, slots: Slots<'_>) -> Arc<RouteEntry> {
    let target = Target::plain(TargetCluster::Known(port.cluster.clone()), 1);
    let route = Route {
        name: "".into(),
        stat_prefix: None,
        origin: port.origin.clone(),
        matches: RouteMatch::default(),
        filters: Box::default(),
        action: Action::Forward(Forward { retries: retries.cloned(), ..Forward::to(vec![target]) }),
        request_headers: Default::default(),
        response_headers: Default::default(),
    };
    Arc::new(RouteEntry { proxied: Some(port.protocol), ..RouteEntry::build(&Arc::new(route), slots) })
}

#[cfg(test)]
mod tests;
