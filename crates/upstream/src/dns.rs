//! Names to addresses, off the hot path: on the control runtime, by their TTL, with the last good answer kept (SE-07, SE-08).

use crate::cluster::ClusterState;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use ir::{DnsName, EndpointAddress, EndpointSource};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Queries at once.
const MAX_QUERIES: usize = 64;
/// Bounds of the time until a name is asked for again, whatever its TTL.
const MIN_REFRESH: Duration = Duration::from_secs(5);
const MAX_REFRESH: Duration = Duration::from_secs(300);

/// Resolves the names of clusters, each from its first use on for as long as the cluster is there.
#[derive(Debug)]
pub(crate) struct Dns {
    resolver: Option<TokioResolver>,
    queries: Arc<Semaphore>,
    runtime: tokio::runtime::Handle,
}

impl Dns {
    /// A resolver with the system's settings, or with these name servers.
    pub(crate) fn new(runtime: tokio::runtime::Handle, servers: &[SocketAddr]) -> Self {
        let _inside = runtime.enter();
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio().ok()
        } else {
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
            Some(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let resolver = builder.and_then(|builder| match builder.build() {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                tracing::warn!(%error, "names cannot be resolved");
                None
            }
        });
        Self { resolver, queries: Arc::new(Semaphore::new(MAX_QUERIES)), runtime: runtime.clone() }
    }

    /// Begins to resolve a cluster's names, if nobody has.
    pub(crate) fn begin(self: &Arc<Self>, state: &Arc<ClusterState>) {
        if matches!(state.cluster.endpoints, EndpointSource::Dns { .. }) && state.begin_resolving() {
            let (dns, state) = (Arc::clone(self), Arc::downgrade(state));
            // The task ends by itself once the cluster is dropped.
            self.runtime.spawn(async move { dns.keep_resolving(state).await });
        }
    }

    async fn keep_resolving(&self, state: Weak<ClusterState>) {
        loop {
            let Some(source) = state.upgrade().map(|state| Arc::clone(&state.cluster)) else { return };
            let EndpointSource::Dns { names, first_only } = &source.endpoints else { return };
            let (addresses, again) = self.resolve_all(names, *first_only).await;
            match state.upgrade() {
                None => return,
                // No answer: what was known before stays in use.
                Some(state) if addresses.is_empty() && state.endpoints().is_some() => {}
                Some(state) => state.set_resolved(addresses),
            }
            tokio::time::sleep(again).await;
        }
    }

    async fn resolve_all(&self, names: &[DnsName], first_only: bool) -> (Vec<(EndpointAddress, u32)>, Duration) {
        let mut found = Vec::new();
        let mut again = MAX_REFRESH;
        for name in names {
            let (addresses, ttl) = self.resolve(&name.name).await;
            again = again.min(ttl);
            let wanted = if first_only { 1 } else { usize::MAX };
            for address in addresses.into_iter().take(wanted) {
                found.push((EndpointAddress::Ip(SocketAddr::new(address, name.port)), name.weight));
            }
        }
        found.sort();
        found.dedup_by(|one, other| one.0 == other.0);
        (found, again.clamp(MIN_REFRESH, MAX_REFRESH))
    }

    async fn resolve(&self, name: &str) -> (Vec<IpAddr>, Duration) {
        if let Ok(address) = name.parse() {
            return (vec![address], MAX_REFRESH);
        }
        let Ok(_permit) = self.queries.acquire().await else { return (Vec::new(), MIN_REFRESH) };
        let Some(resolver) = &self.resolver else { return (Vec::new(), MIN_REFRESH) };
        match resolver.lookup_ip(name).await {
            Ok(answer) => {
                let ttl = answer.valid_until().saturating_duration_since(Instant::now());
                (answer.iter().collect(), ttl)
            }
            Err(error) => {
                tracing::debug!(name, %error, "the name is not resolved");
                (Vec::new(), MIN_REFRESH)
            }
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![connection])
}
