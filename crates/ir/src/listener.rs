//! Sockets to listen on, the hosts behind them and each host's ordered routes.

use crate::{Action, HeaderChanges, HostPattern, Map, Origin, RouteMatch};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// `ingress`, `egress` or a name that the user gave: workloads never share a listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkloadName(pub Arc<str>);

/// What tells listeners apart: the workload and the address that is bound. `[::]` is every address, IPv4 included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId {
    /// Whose it is.
    pub workload: WorkloadName,
    /// What is bound, after port translation (S-40) and `--port-map`.
    pub address: SocketAddr,
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.workload.0, self.address)
    }
}

impl Serialize for ListenerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One listening address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// What tells it apart.
    pub id: ListenerId,
    /// The servers that share it (S-10), oldest Gateway first.
    pub servers: Vec<Origin>,
    /// The `port.number` of the first of them, which `explain`'s URLs and redirects name (S-43).
    pub server_port: u16,
    /// What is spoken on it.
    pub kind: ListenerKind,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ListenerKind {
    /// Plain-text HTTP.
    Http(HttpListener),
}

/// An HTTP listener's hosts and settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpListener {
    /// Hosts; the most specific pattern wins and nothing falls through (S-34).
    #[serde(serialize_with = "hosts_by_name")]
    pub hosts: Map<HostPattern, Arc<Host>>,
    /// How paths are normalised before matching (MC-02).
    pub path_normalization: PathNormalization,
    /// What is trusted and written of `X-Forwarded-*` (S-111).
    pub forwarded: ForwardedHeaders,
}

/// One host and its routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The host.
    pub pattern: HostPattern,
    /// In the order in which they are tried; first match wins (S-60 to S-62).
    pub routes: Arc<[Arc<Route>]>,
}

/// One route: one `match` entry of one rule, with the rule's action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// `<rule name>[.<match name>]` (VS-23); empty when unnamed.
    pub name: Arc<str>,
    /// The VirtualService and `http[i].match[j]`.
    pub origin: Origin,
    /// What it demands.
    pub matches: RouteMatch,
    /// What it does.
    pub action: Action,
    /// Changes to the request (VS-47).
    pub request_headers: HeaderChanges,
    /// Changes to the response.
    pub response_headers: HeaderChanges,
}

/// MeshConfig `pathNormalization` (MC-02).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PathNormalization {
    /// As it came.
    None,
    /// RFC 3986 dot segments, and `\` to `/` (S-116).
    Base,
    /// And runs of slashes to one.
    MergeSlashes,
    /// And `%2F`, `%5C` decoded first.
    DecodeAndMergeSlashes,
}

/// MeshConfig `gatewayTopology` as far as it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ForwardedHeaders {
    /// How many proxies in front are trusted (`numTrustedProxies`, 0).
    pub trusted_proxies: u32,
}

fn hosts_by_name<S: Serializer>(hosts: &Map<HostPattern, Arc<Host>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(hosts.iter().map(|(pattern, host)| (pattern.to_string(), host)))
}
