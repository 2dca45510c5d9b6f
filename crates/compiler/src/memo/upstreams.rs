//! The clusters that routes go to, and what is said about the objects behind them.

use super::State;
use super::changed::Dirty;
use crate::binding::Bound;
use crate::clusters;
use crate::index::{ClusterUse, HostEntry};
use crate::names;
use crate::remarks;
use crate::texts;
use ir::{Action, Changes, ClusterId, TargetCluster};
use resources::key::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

impl State {
    /// Counts which clusters routes go to. Counting up comes first, so that what stays is never forgotten in between.
    pub(super) fn count_clusters(&mut self, before: &[Bound], after: &[Bound], dirty: &mut Dirty) {
        for id in targets(after) {
            self.count_up(id, dirty);
        }
        for id in targets(before) {
            self.count_down(id, dirty);
        }
    }

    fn count_up(&mut self, id: &ClusterId, dirty: &mut Dirty) {
        let Some((port, subset, host)) = parts(id) else { return };
        let entry = self.index.host_mut(host);
        match entry.clusters.iter_mut().find(|used| used.id == *id) {
            Some(used) => used.uses += 1,
            None => {
                entry.clusters.reserve_exact(1);
                entry.clusters.push(ClusterUse { port, subset: texts::shared(subset), id: id.clone(), uses: 1 });
                dirty.clusters.push(id.clone());
            }
        }
    }

    fn count_down(&mut self, id: &ClusterId, dirty: &mut Dirty) {
        let Some((_, _, host)) = parts(id) else { return };
        let entry = self.index.host_mut(host);
        if let Some(used) = entry.clusters.iter_mut().find(|used| used.id == *id) {
            used.uses = used.uses.saturating_sub(1);
            if used.uses == 0 {
                entry.clusters.retain(|used| used.id != *id);
                dirty.clusters.push(id.clone());
            }
        }
        self.index.drop_if_empty(host);
    }

    /// Builds every cluster anew that may be different, and forgets those that nothing goes to.
    pub(super) fn build_clusters(&mut self, dirty: &mut Dirty, changes: &mut Changes) {
        for host in dirty.hosts.iter().chain(&dirty.endpoints) {
            if let Some(entry) = self.index.host(host) {
                dirty.clusters.extend(entry.clusters.iter().map(|used| used.id.clone()));
            }
        }
        // In order: neighbours in the map are neighbours in memory.
        dirty.clusters.sort_unstable();
        dirty.clusters.dedup();
        for id in &dirty.clusters {
            let Some((port, subset, host)) = parts(id) else { continue };
            let used = self.index.host(host).is_some_and(|entry| entry.cluster(port, subset).is_some());
            let host = self.index.shared(host);
            let cluster = if used { clusters::build(self.world(), &host, port, subset, id) } else { None };
            let different = match cluster {
                Some(cluster) if self.snapshot.clusters.get(id).is_some_and(|before| **before == cluster) => false,
                Some(cluster) => {
                    self.snapshot.clusters.insert_mut(cluster.id.clone(), Arc::new(cluster));
                    true
                }
                None => self.snapshot.clusters.remove_mut(id),
            };
            if different {
                changes.clusters.push(id.clone());
            }
        }
    }

    /// Says anew what is said about the objects behind hosts.
    pub(super) fn remark(&mut self, dirty: &Dirty) {
        let State { set, settings, index, report, .. } = self;
        let world = crate::world::World { set, settings, index };
        if dirty.all {
            for object in set.destination_rules.values() {
                report.set(Kind::DestinationRule, &object.key, remarks::of_destination_rule(world, object));
            }
            for object in set.service_entries.values() {
                report.set(Kind::ServiceEntry, &object.key, remarks::of_service_entry(world, object));
            }
            for object in set.services.values() {
                report.set(Kind::Service, &object.key, remarks::of_service(world, object));
            }
            return;
        }
        let used = dirty.clusters.iter().filter_map(|id| parts(id)).map(|(_, _, host)| host);
        let hosts: BTreeSet<&str> =
            dirty.hosts.iter().chain(&dirty.endpoints).map(|host| &**host).chain(used).collect();
        for host in hosts {
            let entry = index.host(host);
            let rules = entry.map_or(&[][..], HostEntry::rules).iter().chain(index.wildcard_rules(host));
            for object in rules.filter_map(|key| set.destination_rules.get(key)) {
                report.set(Kind::DestinationRule, &object.key, remarks::of_destination_rule(world, object));
            }
            let entries = entry.map_or(&[][..], |entry| entry.entries.as_slice());
            for object in entries.iter().filter_map(|key| set.service_entries.get(key)) {
                report.set(Kind::ServiceEntry, &object.key, remarks::of_service_entry(world, object));
            }
            let service = names::service_of_host(host, &settings.domain);
            if let Some(object) = service.and_then(|key| set.services.get(&key)) {
                report.set(Kind::Service, &object.key, remarks::of_service(world, object));
            }
        }
    }
}

/// The clusters that routes go to, as often as they do.
fn targets(bound: &[Bound]) -> impl Iterator<Item = &ClusterId> {
    let routes = bound.iter().flat_map(|bound| bound.routes.iter());
    let targets = routes.flat_map(|route| match &route.action {
        Action::Forward(forward) => &forward.targets[..],
        Action::Redirect(_) | Action::Respond(_) => &[],
    });
    targets.filter_map(|target| match &target.cluster {
        TargetCluster::Known(id) => Some(id),
        TargetCluster::Unknown { .. } => None,
    })
}

/// Port, subset and host of `outbound|port|subset|host`.
fn parts(id: &ClusterId) -> Option<(u16, &str, &str)> {
    let mut parts = id.as_str().splitn(4, '|').skip(1);
    Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}
