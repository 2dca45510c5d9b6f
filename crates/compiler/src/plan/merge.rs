//! How servers share an address: the oldest keeps it, and what goes together with it may join (S-10 to S-18).

use crate::code;
use crate::fast::{FastMap, FastSet};
use crate::hosts::ServerHosts;
use crate::plan::coverage;
use crate::plan::servers::{Candidate, Claim, Family, GatewayPlan, ListenerPlan, ServerKind, ServerPlan};
use crate::report::Notes;
use crate::settings::Workload;
use ir::HostPattern;
use resources::key::ObjectRef;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What clients may call a forward proxy in TLS.
static ANY: HostPattern = HostPattern::Any;

/// One server among all: its owner, the workload that it is for, and its place in its owner.
pub(crate) type ClaimId = (ObjectRef, usize, usize);

/// What came of all that asked for one address.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// The listener, if any server got the address.
    pub(crate) listener: Option<Arc<ListenerPlan>>,
    /// Those that did not get it.
    refused: FastSet<ClaimId>,
    /// What was found of each.
    pub(crate) notes: BTreeMap<ClaimId, Notes>,
}

impl Merged {
    /// Whether a server that asked got the address.
    pub(crate) fn has(&self, claim: &ClaimId) -> bool {
        !self.refused.contains(claim)
    }
}

/// Merges all that ask for `address`. Workloads never share a listener: the first that opens it keeps the address.
pub(crate) fn merge(address: SocketAddr, workloads: &[Workload], gateways: &[&GatewayPlan]) -> Merged {
    let mut gateways = gateways.to_vec();
    gateways.sort_by(|a, b| a.owner.by_age(&b.owner));
    let mut merged = Merged::default();
    let mut servers: Option<(usize, Vec<ServerPlan>)> = None;
    for (index, _) in workloads.iter().enumerate() {
        let mut merge = Merge { address, workloads, workload: index, plain: None, secured: FastMap::default() };
        for gateway in &gateways {
            for candidate in gateway.candidates.iter().filter(|candidate| candidate.workload == index) {
                let Some(claim) = candidate.claim.as_ref().filter(|claim| claim.address == address) else { continue };
                let mut notes = Notes::default();
                let opened = merge.claim(&gateway.owner.object, candidate, claim, &mut servers, &mut notes);
                let id = || (gateway.owner.object.clone(), index, candidate.index);
                if !notes.is_empty() {
                    merged.notes.insert(id(), notes);
                }
                if !opened {
                    merged.refused.insert(id());
                }
            }
        }
    }
    merged.listener = servers.and_then(|(workload, servers)| ListenerPlan::new(workload, servers)).map(Arc::new);
    merged
}

/// The merging of one workload's servers on one address.
struct Merge<'a> {
    address: SocketAddr,
    workloads: &'a [Workload],
    workload: usize,
    /// What the first server in clear text is, and whose.
    plain: Option<(Family, &'a ObjectRef)>,
    /// The hosts that TLS servers have, and whose they are (S-15).
    secured: FastMap<&'a HostPattern, &'a ObjectRef>,
}

impl<'a> Merge<'a> {
    /// Whether the server is opened; `servers` are those that are, with their workload.
    fn claim(
        &mut self,
        owner: &'a ObjectRef,
        candidate: &'a Candidate,
        claim: &'a Claim,
        servers: &mut Option<(usize, Vec<ServerPlan>)>,
        notes: &mut Notes,
    ) -> bool {
        if let Err(first) = self.takes(claim.family, owner) {
            let message =
                format!("{first} already has {} with another protocol, so that this server is left out", self.address);
            let field = format!("{}.port", candidate.field);
            notes.add_with_help(code::PORT_CONFLICT, field, message, "the oldest Gateway keeps a port");
            return false;
        }
        notes.extend(&claim.notes);
        let Some(server) = &claim.server else { return false };
        let mut server = server.clone();
        let is_proxy = matches!(server.kind, ServerKind::Proxy(..));
        if is_proxy && server.kind.is_tls() {
            if !self.takes_every_name(owner, &server, notes) {
                return false;
            }
        } else if server.kind.is_tls() {
            self.keep_unclaimed(owner, claim, &mut server, notes);
            if server.hosts.list().is_empty() {
                return false;
            }
        }
        // Hosts of a forward proxy are those of destinations.
        if let Some(termination) = server.kind.termination().filter(|_| !is_proxy) {
            coverage::check(
                &termination.credential,
                server.hosts.patterns(),
                &format!("{}.tls", server.field()),
                notes,
            );
        }
        let (workload, opened) = servers.get_or_insert_with(|| (self.workload, Vec::new()));
        if *workload != self.workload {
            let other = self.workloads.get(*workload).map_or("", |other| &other.name.0);
            let message = format!("workload {other} already listens on {}", self.address);
            let help = "give the server a `bind`, or the workloads different addresses";
            notes.add_with_help(code::ADDRESS_TAKEN, format!("{}.port", candidate.field), message, help);
            return false;
        }
        opened.push(server);
        true
    }

    /// Takes the address beside those that have it already, or names the first of them. Clear text comes with clear text of the same
    /// family alone (S-10 to S-12); TLS does not join clear text, while clear text may join TLS (S-18).
    fn takes(&mut self, family: Family, owner: &'a ObjectRef) -> Result<(), &'a ObjectRef> {
        match self.plain {
            Some((Family::Http, _)) if family == Family::Http => Ok(()),
            Some((_, first)) => Err(first),
            None => {
                if family != Family::Tls {
                    self.plain = Some((family, owner));
                }
                Ok(())
            }
        }
    }

    /// Whether no other server takes connections with any name, as a forward proxy in TLS does: its hosts are those of destinations.
    fn takes_every_name(&mut self, owner: &'a ObjectRef, server: &ServerPlan, notes: &mut Notes) -> bool {
        let Some(first) = self.secured.get(&ANY) else {
            self.secured.insert(&ANY, owner);
            return true;
        };
        let message = format!(
            "{first} already has connections with any name on {}, which a forward proxy in TLS takes, so that this server is left out",
            self.address
        );
        let help =
            "give each forward proxy in TLS a port of its own: its `hosts` are destinations, and no names of the proxy";
        notes.add_with_help(code::DUPLICATE_NAME, format!("{}.port", server.field()), message, help);
        false
    }

    /// Leaves a TLS server the hosts that no older one has on the address. Istio leaves the whole server out for one of them (S-15); here the
    /// others are served (§8.3). They are compared without their namespaces (S-16).
    fn keep_unclaimed(&mut self, owner: &'a ObjectRef, claim: &'a Claim, server: &mut ServerPlan, notes: &mut Notes) {
        let all = claim.server.as_ref().map_or(&[][..], |server| server.hosts.list());
        let mut own = FastSet::default();
        let mut lost = FastSet::default();
        for (at, host) in all.iter().enumerate() {
            match self.secured.get(&host.pattern) {
                // The same host for several namespaces of one server.
                Some(first) if *first == owner && own.contains(&host.pattern) => {}
                Some(first) => {
                    let message = format!("{first} already has `{}` on {}", host.pattern, self.address);
                    let help = "the oldest Gateway keeps a host; the other hosts of this server are served";
                    notes.add_with_help(code::DUPLICATE_NAME, format!("{}.hosts", server.field()), message, help);
                    lost.insert(at);
                }
                None => {
                    self.secured.insert(&host.pattern, owner);
                    own.insert(&host.pattern);
                }
            }
        }
        if !lost.is_empty() {
            let kept = all.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, host)| host.clone());
            server.hosts = Arc::new(ServerHosts::new(kept.collect()));
        }
    }
}
