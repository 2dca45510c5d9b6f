//! The memo held to its word: whatever changes in whatever order, what comes out is what a compilation from scratch gives, and
//! the delta names just what is different.

use super::world::objects;
use crate::{Compiled, Memo, Settings, Workload, compile};
use ir::{Changes, ClusterId, HostPattern, ListenerId, Service, Snapshot, TableId, TargetCluster};
use proptest::prelude::*;
use resources::set::{AnyObject, Change, ResourceSet};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Objects of every kind, several of one name, so that a put is a new object, an edit, or nothing.
static UNIVERSE: LazyLock<Vec<AnyObject>> = LazyLock::new(|| objects(include_str!("universe.yaml")));

fn settings() -> Settings {
    Settings { workloads: vec![Workload::ingress(), Workload::egress()], ..Settings::default() }
}

/// Whether to delete, and which object.
type Edit = (bool, usize);

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = (prop::bool::weighted(0.3), 0..UNIVERSE.len());
    prop::collection::vec(prop::collection::vec(edit, 1..4), 1..24)
}

fn change((delete, index): Edit) -> Change {
    let object = UNIVERSE[index].clone();
    if delete { Change::Delete(object.object_ref()) } else { Change::Put(object) }
}

/// What differs between two snapshots, by looking at everything.
fn difference(before: &Snapshot, after: &Snapshot) -> Changes {
    let mut changes = Changes::default();
    let ids: BTreeSet<&ListenerId> = before.listeners.keys().chain(after.listeners.keys()).collect();
    let differing = ids.into_iter().filter(|id| before.listeners.get(*id) != after.listeners.get(*id));
    changes.listeners.extend(differing.cloned());
    let ids: BTreeSet<&TableId> = before.tables.keys().chain(after.tables.keys()).collect();
    for id in ids {
        let (Some(a_http), Some(b_http)) = (before.tables.get(id), after.tables.get(id)) else {
            changes.tables.push(id.clone());
            continue;
        };
        if a_http.grpc_web != b_http.grpc_web {
            changes.tables.push(id.clone());
            continue;
        }
        let hosts: BTreeSet<&HostPattern> = a_http.hosts.keys().chain(b_http.hosts.keys()).collect();
        let differing = hosts.into_iter().filter(|host| a_http.hosts.get(*host) != b_http.hosts.get(*host));
        changes.hosts.extend(differing.map(|host| (id.clone(), host.clone())));
    }
    let clusters: BTreeSet<&ClusterId> = before.clusters.keys().chain(after.clusters.keys()).collect();
    let differing =
        clusters.into_iter().filter(|cluster| before.clusters.get(*cluster) != after.clusters.get(*cluster));
    changes.clusters.extend(differing.cloned());
    changes
}

fn same(one: &Compiled, other: &Compiled) -> Result<(), TestCaseError> {
    prop_assert_eq!(&one.snapshot, &other.snapshot);
    let all = |compiled: &Compiled| compiled.report.iter().cloned().collect::<Vec<_>>();
    prop_assert_eq!(all(one), all(other));
    Ok(())
}

/// Every cluster that a route names is there, and no other.
fn closed(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let mut named = BTreeSet::new();
    for listener in snapshot.listeners.values() {
        let services = listener.plain.iter().chain(listener.tls.iter().map(|server| &server.service));
        for service in services {
            match service {
                Service::Http(table) => prop_assert!(snapshot.tables.contains_key(table)),
                Service::Tcp(_) => {}
            }
        }
    }
    for http in snapshot.tables.values() {
        for route in http.hosts.values().flat_map(|host| host.routes.iter()) {
            if let ir::Action::Forward(forward) = &route.action {
                named.extend(forward.targets.iter().filter_map(|target| match &target.cluster {
                    ir::TargetCluster::Known(id) => Some(id.clone()),
                    ir::TargetCluster::Unknown { .. } => None,
                }));
            }
        }
    }
    // Rules of bytes may stand behind older ones, and need their clusters all the same.
    for listener in snapshot.listeners.values() {
        for service in listener.plain.iter().chain(listener.tls.iter().map(|server| &server.service)) {
            let Service::Tcp(route) = service else { continue };
            for target in &route.targets {
                if let TargetCluster::Known(id) = &target.cluster {
                    prop_assert!(snapshot.clusters.contains_key(id), "{}", id);
                }
            }
        }
    }
    prop_assert!(named.iter().all(|id| snapshot.clusters.contains_key(id)));
    let mut unnamed = snapshot.clusters.keys().filter(|id| !named.contains(*id));
    prop_assert!(unnamed.all(|id| id.as_str().contains("bytes.test")));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_step_gives_what_a_compilation_from_scratch_gives(batches in edits()) {
        let settings = settings();
        let mut memo = Memo::default();
        let mut set = ResourceSet::default();
        let mut before = compile(&set, &settings, &mut memo);
        for batch in batches {
            set = set.with(batch.into_iter().map(change));
            let stepped = compile(&set, &settings, &mut memo);
            let scratch = compile(&set, &settings, &mut Memo::default());
            same(&stepped, &scratch)?;
            closed(&stepped.snapshot)?;
            let changes = stepped.delta.changes.clone().unwrap();
            let mut wanted = difference(&before.snapshot, &stepped.snapshot);
            // A table that is new or different is looked at whole.
            wanted.hosts.retain(|(id, _)| !changes.tables.contains(id));
            prop_assert_eq!(changes, wanted);
            before = stepped;
        }
    }

    #[test]
    fn the_order_of_input_never_changes_the_snapshot(order in Just((0..UNIVERSE.len()).collect::<Vec<_>>()).prop_shuffle()) {
        // Of objects of one name the last one stays, so that only the order among different ones may vary.
        let last = |index: &usize| {
            let own = UNIVERSE[*index].object_ref();
            !UNIVERSE[*index + 1..].iter().any(|object| object.object_ref() == own)
        };
        let put = |index: usize| Change::Put(UNIVERSE[index].clone());
        let shuffled = ResourceSet::default().with(order.into_iter().filter(last).map(put));
        let sorted = ResourceSet::default().with((0..UNIVERSE.len()).filter(last).map(put));
        let one = compile(&shuffled, &settings(), &mut Memo::default());
        let other = compile(&sorted, &settings(), &mut Memo::default());
        same(&one, &other)?;
    }
}

#[test]
fn what_is_not_touched_is_the_same_by_pointer() {
    let settings = settings();
    let mut memo = Memo::default();
    let set = ResourceSet::default().with(UNIVERSE.iter().cloned().map(Change::Put));
    let before = compile(&set, &settings, &mut memo);
    let entry = UNIVERSE.iter().find(|object| matches!(object, AnyObject::EndpointSlice(_))).unwrap();
    let after = compile(&set.with([Change::Delete(entry.object_ref())]), &settings, &mut memo);
    let changed = after.delta.changes.unwrap();
    assert!(changed.listeners.is_empty() && changed.hosts.is_empty(), "{changed:?}");
    for (id, listener) in &before.snapshot.listeners {
        assert!(std::sync::Arc::ptr_eq(listener, after.snapshot.listeners.get(id).unwrap()), "{id}");
    }
}

#[test]
fn a_set_that_does_not_follow_is_compiled_anew() {
    let settings = settings();
    let mut memo = Memo::default();
    let set = ResourceSet::default().with(UNIVERSE.iter().cloned().map(Change::Put));
    compile(&set, &settings, &mut memo);
    let later = set.with([]).with([Change::Delete(UNIVERSE[0].object_ref())]);
    let compiled = compile(&later, &settings, &mut memo);
    assert_eq!(compiled.delta.changes, None);
    assert_eq!(compiled.snapshot, compile(&later, &settings, &mut Memo::default()).snapshot);
}
