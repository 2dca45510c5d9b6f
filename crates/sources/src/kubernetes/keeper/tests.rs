use super::super::follow::Pace;
use super::*;
use crate::collector::Collector;
use crate::event::{Batch, Scope};
use serde_json::json;
use std::path::Path;

fn keeper(state: Option<State>) -> Keeper {
    let namespace: Arc<str> = "istio-system".into();
    let files = LocalFiles::new(None, None, Arc::clone(&namespace));
    Keeper::new(namespace, References::default(), state, None, files)
}

fn events(keeper: &mut Keeper, value: Value) -> Vec<SourceEvent> {
    let mut events = Vec::new();
    keeper.put(value, &mut events, true);
    events
}

#[test]
fn another_annotation_of_a_config_map_is_no_news() {
    let map = |name: &str, leader: &str, mesh: &str, version: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": mesh},
            "metadata": {
                "name": name, "namespace": "istio-system", "resourceVersion": version,
                "annotations": {"control-plane.alpha.kubernetes.io/leader": leader},
            },
        })
    };
    let (mut keeper, mut collector) = (keeper(None), Collector::default());
    collector.apply(Batch::from(events(&mut keeper, map("istio", "one", "", "1"))));
    collector.apply(Batch::from(vec![SourceEvent::Complete(Scope::All)]));
    assert_eq!(collector.take().set.config_maps.size(), 1);
    collector.apply(Batch::from(events(&mut keeper, map("istio", "two", "", "2"))));
    assert!(!collector.has_news());
    assert!(events(&mut keeper, map("istio-leader", "one", "", "3")).is_empty());
    collector.apply(Batch::from(events(&mut keeper, map("istio", "two", "rootNamespace: other", "4"))));
    assert!(collector.has_news());
}

fn policy(action: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "spec": {"action": action},
        "metadata": {"name": "p", "namespace": "istio-system", "resourceVersion": action},
    })
}

/// What a keeper of a folder makes of versions, the present one last: the actions that the folder has at its next start.
fn kept(folder: &Path, versions: &[&str]) -> Vec<String> {
    {
        let (state, before) = State::open(folder, Pace::default()).unwrap();
        let mut keeper = keeper(Some(state));
        keeper.restore(&before, &mut Vec::new());
        versions.iter().for_each(|action| drop(events(&mut keeper, policy(action))));
        // What is put last is there once everything is.
        let last =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": versions.concat().to_lowercase()}});
        events(&mut keeper, last);
        keeper.state.as_ref().unwrap().complete();
    }
    let last = format!("namespaces - {} ", versions.concat().to_lowercase());
    let is_there = || std::fs::read_to_string(folder.join("objects")).is_ok_and(|text| text.contains(&last));
    testkit::wait::until("everything is there", || is_there() && folder.join("complete").exists());
    let (_, objects) = State::open(folder, Pace::default()).unwrap();
    let objects = objects.iter().map(|text| serde_json::from_slice::<Value>(text).unwrap());
    objects.filter_map(|object| Some(object.pointer("/spec/action")?.as_str()?.to_owned())).collect()
}

#[test]
fn the_newest_version_is_kept_while_each_has_errors_and_the_last_good_one_else() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(kept(folder.path(), &["ONE", "TWO"]), ["TWO"]);
    assert_eq!(kept(folder.path(), &["THREE"]), ["THREE"], "also after a start");
    assert_eq!(kept(folder.path(), &["DENY", "FOUR"]), ["DENY"]);
    assert_eq!(kept(folder.path(), &["FIVE"]), ["DENY"]);
}

/// It would count as present at a later start, where something refers to it.
#[test]
fn what_is_not_needed_of_what_was_kept_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _) = State::open(folder.path(), Pace::default()).unwrap();
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "istio-system"}});
    let text = map.to_string().into_bytes();
    let object = ObjectRef { kind: Kind::ConfigMap, key: Key::new("istio-system", "other") };
    state.put(object, &text);
    let last = || {
        let text = std::fs::read_to_string(folder.path().join("objects")).unwrap_or_default();
        let line = text.lines().rfind(|line| line.starts_with("configmaps istio-system other "));
        line.map(|line| line.ends_with('}'))
    };
    testkit::wait::until("it is kept", || last() == Some(true));
    keeper(Some(state)).restore(&[text.into()], &mut Vec::new());
    testkit::wait::until("it is removed", || last() == Some(false));
}
