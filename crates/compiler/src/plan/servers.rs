//! What the front ends plan of a Gateway: servers that ask for addresses. Whether they get them is for `merge` to say.

use crate::credentials::Used;
use crate::fast::FastMap;
use crate::hosts::ServerHosts;
use crate::plan::owner::Owner;
use crate::report::Notes;
use ir::{ListenerId, Origin, OriginalDestination, ProxyUsers, TableId, Termination};
use resources::key::ObjectRef;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

/// What a front end makes of one Gateway, whatever others there are.
#[derive(Debug, PartialEq)]
pub(crate) struct GatewayPlan {
    pub(crate) owner: Arc<Owner>,
    /// Whether some workload of this process is selected.
    pub(crate) selected: bool,
    /// Its servers, in its own order for each workload after the other.
    pub(crate) candidates: Vec<Candidate>,
    /// What was found of the whole object.
    pub(crate) notes: Notes,
    /// Secrets, ConfigMaps and files that servers name.
    pub(crate) used: Used,
}

/// One server of a Gateway for one workload.
#[derive(Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) workload: usize,
    /// Its place in the Gateway.
    pub(crate) index: usize,
    /// Its path in the Gateway.
    pub(crate) field: String,
    /// What was found before an address was asked for.
    pub(crate) notes: Notes,
    /// `None` where the server cannot be opened whatever others there are.
    pub(crate) claim: Option<Claim>,
}

/// A server that asks for an address.
#[derive(Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) address: SocketAddr,
    pub(crate) family: Family,
    /// `None` for one that takes the address and does not open it.
    pub(crate) server: Option<ServerPlan>,
    /// What was found of it, which counts only if it gets the address.
    pub(crate) notes: Notes,
}

/// What decides who shares an address (S-10 to S-12, S-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// HTTP in clear text.
    Http,
    /// Whatever begins with a ClientHello.
    Tls,
    /// Anything else, which shares an address with nothing.
    Other,
}

/// Where a server is: what routes that bind to it have to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerPlace {
    pub(crate) listener: Arc<ListenerId>,
    pub(crate) owner: Arc<Owner>,
    /// Its place in its owner.
    pub(crate) index: usize,
    /// The table that its routes go into, if HTTP is spoken.
    pub(crate) table: Option<Arc<TableId>>,
    /// Whether it sends what comes in clear text to HTTPS (S-70).
    pub(crate) to_https: bool,
}

/// A server of a listener.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerPlan {
    pub(crate) place: Arc<ServerPlace>,
    /// The owner and the rule of it, as they are shown.
    pub(crate) origin: Origin,
    /// The port that routes and URLs name; the listener may be bound to another.
    pub(crate) port: u16,
    pub(crate) hosts: Arc<ServerHosts>,
    pub(crate) kind: ServerKind,
}

/// What a server does with connections.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ServerKind {
    /// HTTP in clear text, perhaps to be sent to HTTPS (S-70).
    Http { to_https: bool, grpc_web: bool },
    /// HTTP in TLS.
    Https(Arc<Termination>),
    /// Bytes in TLS that is taken off.
    Tls(Arc<Termination>),
    /// TLS that is passed through.
    Passthrough,
    /// TLS of a mesh that is forwarded by its SNI (GW-10).
    AutoPassthrough,
    /// Bytes.
    Tcp,
    /// HTTP of a forward proxy's clients, in clear text or in TLS, its users where it has some, and how the network sends it the connections of
    /// clients that do not know of it. No VirtualService binds to it.
    Proxy(Option<Arc<Termination>>, Option<Arc<ProxyUsers>>, Option<OriginalDestination>),
}

impl ServerKind {
    /// The termination, where TLS is taken off.
    pub(crate) fn termination(&self) -> Option<&Arc<Termination>> {
        match self {
            Self::Https(termination) | Self::Tls(termination) => Some(termination),
            Self::Proxy(termination, ..) => termination.as_ref(),
            Self::Http { .. } | Self::Passthrough | Self::AutoPassthrough | Self::Tcp => None,
        }
    }

    /// Whether connections begin with a ClientHello.
    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self, Self::Http { .. } | Self::Tcp | Self::Proxy(None, ..))
    }

    fn to_https(&self) -> bool {
        matches!(self, Self::Http { to_https: true, .. })
    }
}

impl ServerPlace {
    /// The place of a server whose rule in its owner is `rule` (`servers[0]`).
    pub(crate) fn new(
        listener: Arc<ListenerId>,
        owner: Arc<Owner>,
        index: usize,
        rule: &str,
        kind: &ServerKind,
    ) -> Self {
        let (namespace, name) = (&owner.object.key.namespace, &owner.object.key.name);
        let table = |server| Some(Arc::new(TableId { listener: (*listener).clone(), server }));
        let table = match kind {
            ServerKind::Http { .. } => table(None),
            ServerKind::Https(_) => table(Some(format!("{namespace}/{name}/{rule}").into())),
            ServerKind::Tls(_)
            | ServerKind::Passthrough
            | ServerKind::AutoPassthrough
            | ServerKind::Tcp
            | ServerKind::Proxy(..) => None,
        };
        Self { table, to_https: kind.to_https(), listener, owner, index }
    }
}

impl ServerPlan {
    /// Whether routes bind to both alike but for hosts: certificates have no part in that.
    pub(crate) fn is_placed_as(&self, other: &Self) -> bool {
        self.place == other.place
            && self.port == other.port
            && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }

    /// The table of a forward proxy, which has no hosts that routes bind to.
    pub(crate) fn proxy_table(&self) -> Option<TableId> {
        let ServerKind::Proxy(termination, ..) = &self.kind else { return None };
        let Origin { namespace, name, rule, .. } = &self.origin;
        let server = termination.is_some().then(|| format!("{namespace}/{name}/{rule}").into());
        Some(TableId { listener: (*self.place.listener).clone(), server })
    }

    /// The path of the server in its owner.
    pub(crate) fn field(&self) -> String {
        format!("spec.{}", self.origin.rule)
    }
}

/// A listener that will be opened.
#[derive(Debug, PartialEq)]
pub(crate) struct ListenerPlan {
    pub(crate) id: Arc<ListenerId>,
    /// Which of the workloads it belongs to.
    pub(crate) workload: usize,
    /// Its servers in the order in which they merge (S-10), oldest owner first.
    servers: Vec<ServerPlan>,
    /// Where those of each owner are among them.
    owned: FastMap<ObjectRef, Range<usize>>,
}

impl ListenerPlan {
    /// A listener with these servers, those of one owner beside each other; `None` where there are none.
    pub(crate) fn new(workload: usize, servers: Vec<ServerPlan>) -> Option<Self> {
        let id = Arc::clone(&servers.first()?.place.listener);
        let mut owned = FastMap::default();
        let mut begin = 0;
        for run in servers.chunk_by(|a, b| a.place.owner.object == b.place.owner.object) {
            let end = begin + run.len();
            owned.extend(run.first().map(|first| (first.place.owner.object.clone(), begin..end)));
            begin = end;
        }
        Some(Self { id, workload, servers, owned })
    }

    /// All servers, in their order.
    pub(crate) fn servers(&self) -> &[ServerPlan] {
        &self.servers
    }

    /// The servers of one owner.
    pub(crate) fn of(&self, owner: &ObjectRef) -> &[ServerPlan] {
        self.owned.get(owner).and_then(|range| self.servers.get(range.clone())).unwrap_or_default()
    }
}

/// Where a Gateway is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It is for another workload.
    Elsewhere,
    /// On these listeners, in the order of its servers; none where nothing of it is open.
    On(Vec<Arc<ListenerId>>),
}

/// All listeners, and where each Gateway is served: what routes bind to.
#[derive(Debug, Default)]
pub(crate) struct ServerPlans {
    pub(crate) listeners: BTreeMap<Arc<ListenerId>, Arc<ListenerPlan>>,
    /// Every Gateway that there is.
    pub(crate) gateways: BTreeMap<ObjectRef, Served>,
}

impl ServerPlans {
    /// The servers of a Gateway that are open.
    pub(crate) fn of_gateway<'a>(&'a self, gateway: &'a ObjectRef) -> impl Iterator<Item = &'a ServerPlan> {
        let listeners = match self.gateways.get(gateway) {
            Some(Served::On(listeners)) => &listeners[..],
            Some(Served::Elsewhere) | None => &[],
        };
        listeners.iter().filter_map(|id| self.listeners.get(id)).flat_map(|plan| plan.of(gateway))
    }
}
