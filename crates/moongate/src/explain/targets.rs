//! Where requests and bytes are sent: the targets of a route, and what each of them gets.

use super::answer::{Failing, MirrorAnswer, Outcome, TargetAnswer};
use super::{balance, clusters, policies, secured};
use ir::{DnsName, EndpointSource, RequestCredential, Snapshot, TargetCluster, TcpRoute};
use routing::{RequestContext, RouteEntry, RouteTarget, decision};
use std::net::SocketAddr;
use wire::edit::Edits;
use wire::h1::{Style, write_request_in};
use wire::view::RequestView;

/// The clusters that targets name.
pub(super) struct Targets<'a>(pub(super) &'a Snapshot);

impl Targets<'_> {
    /// What becomes of a request that a forward proxy allows.
    pub(super) fn proxied(&self, context: &RequestContext<'_>, route: &RouteEntry, view: &RequestView<'_>) -> Outcome {
        if view.method != b"CONNECT" {
            return self.forwarded(context, route, None, view);
        }
        let targets = route.forward().map_or(&[][..], |forward| &forward.targets);
        let target = |target: &ir::Target| self.target(&target.cluster, target.weight, None);
        Outcome::Bytes { rule: route.config.origin.clone(), targets: targets.iter().map(target).collect() }
    }

    /// What becomes of bytes.
    pub(super) fn bytes(&self, route: &TcpRoute) -> Outcome {
        let target = |target: &ir::TcpTarget| {
            let mut answer = self.target(&target.cluster, target.weight, None);
            if let (Some(tunnel), TargetCluster::Known(id)) = (&route.tunnel, &target.cluster) {
                answer.tunnel = Some(tunnel.authority.to_string());
                let cluster = self.0.clusters.get(id);
                answer.spoken = cluster.map_or_else(String::new, |cluster| secured::tunnelled(cluster, tunnel));
            }
            answer
        };
        Outcome::Bytes { rule: route.origin.clone(), targets: route.targets.iter().map(target).collect() }
    }

    pub(super) fn forwarded(
        &self,
        context: &RequestContext<'_>,
        route: &RouteEntry,
        rewritten: Option<&::text::Target<'static>>,
        view: &RequestView<'_>,
    ) -> Outcome {
        let targets = route.forward().map_or(&[][..], |forward| &forward.targets);
        let target = |(index, target): (usize, &ir::Target)| {
            let (rewritten, dialect) = (rewritten.cloned(), context.dialect());
            let to = RouteTarget { route, target: index, rewritten, dialect, attempt: 1 };
            let known = match &target.cluster {
                TargetCluster::Known(id) => self.0.clusters.get(id),
                TargetCluster::Unknown { .. } => None,
            };
            let credential = known.and_then(|cluster| cluster.credential.as_deref());
            self.target(&target.cluster, target.weight, Some(sent_head(context, to, view, credential)))
        };
        let mirror = |mirror: &ir::Mirror| MirrorAnswer {
            share: policies::share(mirror.share),
            target: self.target(&mirror.cluster, 1, Some(String::new())),
        };
        let mirrors = route.forward().map_or(&[][..], |forward| &forward.mirrors).iter().map(mirror).collect();
        let retries = policies::retries(route.forward().and_then(|forward| forward.retries.as_deref()));
        Outcome::Forwarded { targets: targets.iter().enumerate().map(target).collect(), mirrors, retries }
    }

    /// A target of requests, or with `None` for a head of bytes.
    fn target(&self, target: &TargetCluster, weight: u32, head: Option<String>) -> TargetAnswer {
        let (cluster, found) = match target {
            TargetCluster::Known(id) => (id, self.0.clusters.get(id)),
            TargetCluster::Unknown { id, .. } => (id, None),
        };
        let failing = |status: u16, flag: &str, reason: &str| {
            Some(Failing { status, grpc: None, flag: flag.to_owned(), reason: reason.to_owned() })
        };
        let (fails, endpoints) = match (target, found.map(|cluster| &cluster.endpoints)) {
            (TargetCluster::Unknown { reason, .. }, _) => (failing(503, "NC", reason), Vec::new()),
            (TargetCluster::Known(_), None) => (failing(503, "NC", "cluster not found"), Vec::new()),
            (_, Some(EndpointSource::Never(reason))) => (failing(503, "UH", reason), Vec::new()),
            (_, Some(EndpointSource::Dynamic(dynamic))) => {
                let port = dynamic.port.map_or_else(String::new, |port| format!(", port {port}"));
                (None, vec![format!("the addresses of the name that the client asks for{port}")])
            }
            (_, Some(EndpointSource::Withheld(_, reason))) => (failing(503, "UF", reason), Vec::new()),
            (_, Some(EndpointSource::Static(endpoints))) if endpoints.is_empty() => {
                (failing(503, "UH", "the service has no endpoints that are ready"), Vec::new())
            }
            (_, Some(EndpointSource::Static(endpoints))) => {
                (None, endpoints.iter().map(|one| one.address.to_string()).collect())
            }
            (_, Some(EndpointSource::Dns { names, .. })) => {
                let address = |name: &DnsName| name.name.parse().map(|ip| SocketAddr::new(ip, name.port).to_string());
                let named = |name: &DnsName| address(name).unwrap_or_else(|_| format!("{}:{}", name.name, name.port));
                (None, names.iter().map(named).collect())
            }
        };
        let spoken = found.map_or_else(String::new, |cluster| secured::spoken(cluster, head.is_none()));
        let balance = found.map_or_else(String::new, |cluster| balance::describe(cluster));
        let bounds = found.map_or_else(Vec::new, |cluster| clusters::bounds(cluster));
        TargetAnswer {
            cluster: cluster.to_string(),
            weight,
            fails,
            endpoints,
            balance,
            spoken,
            tunnel: None,
            bounds,
            head: head.unwrap_or_default(),
        }
    }
}

/// The head that is sent to a target.
fn sent_head<'a>(
    context: &RequestContext<'a>,
    to: RouteTarget<'a>,
    view: &RequestView<'a>,
    credential: Option<&'a RequestCredential>,
) -> String {
    let mut edits = Edits::default();
    let headers = &context.mesh_settings.headers;
    decision::edit_received(context, view, "<a new id>".into(), &mut edits);
    let parts = decision::request_head(context, to, view, &policies::HeadFacts(view), &mut edits);
    if let Some(credential) = credential {
        edits.set_checked(&credential.header, format!("<of {}>", credential.source).into_bytes());
    }
    let mut head = Vec::new();
    write_request_in(&mut head, &parts, &edits, Style { keep_case: headers.keep_case, http10: false });
    String::from_utf8_lossy(&head).replace("\r\n", "\n").trim_end().to_owned()
}
