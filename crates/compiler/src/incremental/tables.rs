//! The tables of the snapshot, and the hosts of each.

use super::bindings::Bindings;
use super::policies::WorkloadPolicies;
use super::proxies::Proxies;
use super::step::Step;
use crate::mesh_settings;
use crate::order;
use crate::plan::servers::ServerPlans;
use crate::settings::Settings;
use ir::{ForwardProxy, ForwardedHeaders, Host, HostPattern, HttpSettings, HttpTable, ListenerId, Map, TableId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: Map<TableId, Arc<HttpTable>>,
}

/// Hosts of tables whose routes may be different.
pub(super) type Touched = BTreeMap<Arc<TableId>, Vec<HostPattern>>;

/// What listeners and tables are put together from.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) plans: &'a ServerPlans,
    pub(super) bindings: &'a Bindings,
    pub(super) policies: &'a WorkloadPolicies,
    pub(super) proxies: &'a Proxies,
}

/// What a table is besides its hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct TableKind {
    /// Whether gRPC-Web is translated.
    pub(super) grpc_web: bool,
    /// What a forward proxy allows.
    pub(super) forward: Option<Arc<ForwardProxy>>,
}

impl Tables {
    pub(super) fn map(&self) -> &Map<TableId, Arc<HttpTable>> {
        &self.tables
    }

    /// Opens the tables of a listener, and closes those that it has no more. Hosts of tables that stay are kept.
    pub(super) fn open(
        &mut self,
        listener: &ListenerId,
        tables: &BTreeMap<TableId, TableKind>,
        settings: &Settings,
        step: &mut Step,
    ) {
        let first = TableId { listener: listener.clone(), server: None };
        let here = self.tables.range(&first..).map(|(table, _)| table).take_while(|table| table.listener == *listener);
        let gone: Vec<_> = here.filter(|table| !tables.contains_key(*table)).cloned().collect();
        for table in gone {
            self.tables.remove_mut(&table);
            step.changes.tables.push(table);
        }
        for (table, kind) in tables {
            let before = self.tables.get(table);
            let hosts = before.map_or_else(Map::default, |table| table.hosts.clone());
            let next = empty(settings, hosts, kind.clone());
            if before.is_none_or(|before| differs(before, &next)) {
                self.tables.insert_mut(table.clone(), Arc::new(next));
                step.changes.tables.push(table.clone());
            }
        }
    }

    /// Puts the touched hosts of each table together anew.
    pub(super) fn fill(&mut self, parts: Parts<'_>, touched: Touched, step: &mut Step) {
        for (id, mut touched) in touched {
            let Some(before) = self.tables.get(&*id) else { continue };
            let mut table = (**before).clone();
            let new = step.changes.tables.contains(&id);
            // In order: neighbours in the map are neighbours in memory.
            touched.sort_unstable();
            touched.dedup();
            step.work.hosts += touched.len();
            for pattern in touched {
                if fill_host(parts, &id, &mut table.hosts, &pattern) && !new {
                    step.changes.hosts.push(((*id).clone(), pattern));
                }
            }
            self.tables.insert_mut((*id).clone(), Arc::new(table));
        }
    }
}

/// A table with these hosts.
fn empty(settings: &Settings, hosts: Map<HostPattern, Arc<Host>>, kind: TableKind) -> HttpTable {
    let TableKind { grpc_web, forward } = kind;
    let topology = &settings.mesh.default_config.gateway_topology;
    let (path_normalization, escaped_slashes) = mesh_settings::paths(settings);
    let forwarded = ForwardedHeaders {
        trusted_proxies: topology.num_trusted_proxies,
        certificates: mesh_settings::certificate_header(settings),
    };
    let is_forward = forward.is_some();
    let settings = HttpSettings { path_normalization, escaped_slashes, forwarded, grpc_web, forward: is_forward };
    HttpTable { hosts, settings, forward }
}

/// Puts one host together anew, and returns whether it is different now.
fn fill_host(parts: Parts<'_>, id: &TableId, hosts: &mut Map<HostPattern, Arc<Host>>, pattern: &HostPattern) -> bool {
    let contributions = parts.bindings.of_host(id, pattern);
    let redirects = redirects(parts.plans, id, pattern);
    if contributions.is_empty() && !redirects {
        return hosts.remove_mut(pattern);
    }
    let routes: Vec<_> = contributions.iter().map(|bound| &bound.routes).collect();
    // S-73: one server that sends to HTTPS decides for the host.
    let https_redirect = redirects || contributions.iter().any(|bound| bound.place.to_https);
    let host = Host { pattern: pattern.clone(), routes: order::catch_alls_last(&routes), https_redirect };
    if hosts.get(pattern).is_some_and(|before| **before == host) {
        return false;
    }
    hosts.insert_mut(pattern.clone(), Arc::new(host));
    true
}

/// Whether a server that sends to HTTPS names the very host.
fn redirects(plans: &ServerPlans, id: &TableId, pattern: &HostPattern) -> bool {
    let plan = plans.listeners.get(&id.listener).filter(|_| id.server.is_none());
    let mut servers = plan.into_iter().flat_map(|plan| plan.servers()).filter(|server| server.place.to_https);
    servers.any(|server| server.hosts.names(pattern))
}

/// Whether two tables differ in more than their hosts.
fn differs(one: &HttpTable, other: &HttpTable) -> bool {
    one.settings != other.settings || one.forward != other.forward
}
