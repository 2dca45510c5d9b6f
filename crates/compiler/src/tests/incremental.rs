//! The memo held to its word: whatever changes in whatever order, what comes out is what a compilation from scratch gives, and
//! the delta names just what is different.

use super::world::objects;
use crate::{Compiled, Memo, Settings, Workload, compile};
use ir::{Changes, ClusterId, HostPattern, ListenerId, Locality, Service, Snapshot, TableId, TargetCluster};
use proptest::prelude::*;
use resources::set::{AnyObject, Change, ResourceSet};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Objects of every kind, several of one name, so that a put is a new object, an edit, or nothing.
static UNIVERSE: LazyLock<Vec<AnyObject>> = LazyLock::new(|| objects(include_str!("universe.yaml")));

fn settings() -> Settings {
    let near = Workload { locality: Some(Locality("r1/a".into())), ..Workload::ingress() };
    let on_node = Workload { node: Some("own".into()), ..Workload::egress() };
    Settings { workloads: vec![near, on_node], ..Settings::default() }
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
        if a_http.settings.grpc_web != b_http.settings.grpc_web {
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
                let mirrors = forward.mirrors.iter().map(|mirror| &mirror.cluster);
                let clusters = forward.targets.iter().map(|target| &target.cluster).chain(mirrors);
                named.extend(clusters.filter_map(|cluster| match cluster {
                    ir::TargetCluster::Known(id) => Some(id.clone()),
                    ir::TargetCluster::Unknown { .. } => None,
                }));
            }
        }
    }
    // TCP and TLS rules may be shadowed by older ones, and still need their clusters.
    for listener in snapshot.listeners.values() {
        for service in listener.plain.iter().chain(listener.tls.iter().map(|server| &server.service)) {
            let Service::Tcp(route) = service else { continue };
            for target in &route.targets {
                if let TargetCluster::Known(id) = &target.cluster {
                    prop_assert!(snapshot.clusters.contains_key(id), "{}", id);
                    named.extend([id.clone()]);
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

#[test]
fn gw_10_services_of_a_mesh_come_and_go_at_a_server_with_auto_passthrough() {
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: ew, namespace: default}\nspec: \
                   {selector: {istio: ingressgateway}, servers: [{port: {number: 15443, name: tls, protocol: TLS}, \
                   hosts: ['*.local', 'apps/x.test'], tls: {mode: AUTO_PASSTHROUGH}}]}\n---\n";
    let service = |name: &str, port: u16| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: apps}}\nspec: {{ports: [{{name: p, port: {port}}}]}}\n---\n"
        )
    };
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: apps}\nspec: \
                {host: a, subsets: [{name: v1}]}\n---\n";
    let names = |texts: &[String]| -> Vec<String> {
        let compiled = super::world::compiled(&texts.concat());
        let tls: Vec<_> = compiled.snapshot.listeners.values().flat_map(|listener| &listener.tls).collect();
        assert!(
            tls.iter().all(|server| server.mesh_only && server.origin.to_string() == "Gateway default/ew servers[0]")
        );
        let mut names: Vec<_> = tls.iter().flat_map(|server| &server.names).map(ToString::to_string).collect();
        names.sort();
        names
    };
    let all = [gateway.to_owned(), service("a", 80), service("b", 81), rule.to_owned()];
    let expected = [
        "outbound_.80_._.a.apps.svc.cluster.local",
        "outbound_.80_.v1_.a.apps.svc.cluster.local",
        "outbound_.81_._.b.apps.svc.cluster.local",
    ];
    assert_eq!(names(&all), expected);
    assert_eq!(names(&all[..2]), expected[..1]);
    assert_eq!(names(&all[1..]), [""; 0]);
}
