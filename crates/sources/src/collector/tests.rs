use super::*;
use resources::code;
use resources::diagnostic::Severity;
use resources::file_contents::FileContents;
use resources::key::Key;
use resources::read::{documents, read};
use std::path::Path;

/// The objects of a text in a file of this name.
fn objects(file: &str, text: &str) -> Vec<AnyObject> {
    let file: Arc<Path> = Path::new(file).into();
    documents(text).flat_map(|document| read(&file, document).objects).collect()
}

fn entry(name: &str, address: &str) -> AnyObject {
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
    );
    objects("in.yaml", &text).remove(0)
}

fn gateway(name: &str) -> AnyObject {
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  servers:\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    hosts: ['*']\n"
    );
    objects("in.yaml", &text).remove(0)
}

fn object(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef { kind, key: Key::new("default", name) }
}

fn entry_ref(name: &str) -> ObjectRef {
    object(Kind::WorkloadEntry, name)
}

fn version(resource: &str, generation: i64) -> Option<ObjectVersion> {
    Some(ObjectVersion::new(resource, Some(generation)))
}

fn upsert(object: AnyObject, version: Option<ObjectVersion>) -> SourceEvent {
    SourceEvent::Upsert(Upsert { object, version, findings: Arc::default() })
}

fn finding(code: &'static str, object: Option<ObjectRef>) -> Diagnostic {
    let (field, message) = (String::new(), "reason".to_owned());
    Diagnostic { code, severity: Severity::Error, object, field, position: None, message, help: None }
}

fn invalid(code: &'static str) -> Absence {
    Absence::Invalid { code, selector: None }
}

fn reject(object: ObjectRef, guard: Option<AnyObject>) -> SourceEvent {
    let findings = [finding(code::UNKNOWN_FIELD, Some(object.clone()))].into();
    SourceEvent::Reject(Box::new(Rejection {
        object,
        version: None,
        code: code::UNKNOWN_FIELD,
        guard,
        selector: None,
        findings,
    }))
}

fn unavailable(scope: Scope) -> SourceEvent {
    SourceEvent::Unavailable(scope, [finding(code::UNREADABLE_FILE, None)].into())
}

/// A collector that has seen these events and given what came of them.
fn collector(events: Vec<SourceEvent>) -> Collector {
    let mut collector = Collector::default();
    collector.apply(events.into());
    collector.apply(vec![SourceEvent::Complete(Scope::All)].into());
    assert!(collector.take().complete);
    collector
}

/// The names of the entries in the set.
fn names(collector: &Collector) -> Vec<String> {
    collector.set().workload_entries.keys().map(|key| key.name.to_string()).collect()
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|one| one.code).collect()
}

#[test]
fn only_a_listing_that_is_complete_removes_objects() {
    let kind = || Scope::Kind(Kind::WorkloadEntry);
    let one = || upsert(entry("one", "1.1.1.1"), None);
    let mut collector = collector(vec![one(), upsert(entry("two", "1.1.1.1"), None), upsert(gateway("g"), None)]);
    // A listing that breaks off, and one that is complete.
    collector.apply(vec![SourceEvent::Restart(kind()), one(), unavailable(kind())].into());
    assert_eq!(names(&collector), ["one", "two"]);
    assert_eq!(collector.take().unavailable, 1);
    collector.apply(vec![SourceEvent::Restart(kind())].into());
    assert_eq!(names(&collector), ["one", "two"]);
    collector.apply(vec![one(), SourceEvent::Complete(kind())].into());
    assert_eq!(names(&collector), ["one"]);
    let loaded = collector.take();
    assert_eq!((&*loaded.set.changed, loaded.unavailable, loaded.set.gateways.size()), (&[entry_ref("two")][..], 0, 1));
    // What is complete without a listing removes nothing.
    collector.apply(vec![SourceEvent::Complete(kind())].into());
    assert_eq!(names(&collector), ["one"]);
    assert!(!collector.has_news());
    collector.apply(vec![SourceEvent::Delete(entry_ref("one"))].into());
    assert!(names(&collector).is_empty() && collector.has_news());
}

#[test]
fn a_scope_of_a_path_holds_the_objects_of_its_files() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n";
    let put = |file: &str, name: &str| upsert(objects(file, &text.replace("NAME", name)).remove(0), None);
    let mut collector = collector(vec![put("a/x.yaml", "xx"), put("a/y.yaml", "yy"), put("b/z.yaml", "zz")]);
    let folder = || Scope::Path(Path::new("a").into());
    collector
        .apply(vec![SourceEvent::Restart(folder()), put("a/y.yaml", "yy"), SourceEvent::Complete(folder())].into());
    let names: Vec<&str> = collector.set().namespaces.keys().map(|key| &*key.name).collect();
    assert_eq!(names, ["yy", "zz"]);
}

#[test]
fn an_incomplete_configuration_is_reported_only_where_something_is_unavailable() {
    let mut collector = Collector::default();
    collector.apply(vec![upsert(entry("one", "1.1.1.1"), None)].into());
    collector.apply(vec![SourceEvent::Complete(Scope::Kind(Kind::WorkloadEntry))].into());
    assert!(!collector.has_news());
    collector.apply(vec![unavailable(Scope::Kind(Kind::Secret))].into());
    assert!(collector.has_news());
    let loaded = collector.take();
    assert_eq!((loaded.complete, loaded.unavailable, loaded.set.len()), (false, 1, 1));
    assert_eq!(codes(&loaded), [code::UNREADABLE_FILE]);
    assert!(!collector.has_news());
    let restored = [SourceEvent::Available(Scope::Kind(Kind::Secret)), SourceEvent::Complete(Scope::All)];
    collector.apply(restored.to_vec().into());
    let loaded = collector.take();
    // An incomplete configuration is not served: all of the first complete one is new.
    assert_eq!((loaded.complete, loaded.unavailable, loaded.set.changed.len()), (true, 0, 0));
    assert_eq!(loaded.set.generation, 1);
    collector.apply(vec![upsert(entry("two", "1.1.1.1"), None)].into());
    assert_eq!(*collector.take().set.changed, [entry_ref("two")]);
}

#[test]
fn changes_are_gathered_until_they_are_taken() {
    let mut collector = collector(vec![upsert(entry("one", "1.1.1.1"), None), upsert(entry("two", "1.1.1.1"), None)]);
    let before = collector.set().generation;
    let files = [("a.pem".into(), Arc::from(&b"a"[..]))].into_iter().collect();
    collector
        .apply(vec![upsert(entry("one", "2.2.2.2"), None), SourceEvent::Files(FileContents::of_all(files))].into());
    collector.apply(vec![SourceEvent::Absent(object(Kind::Gateway, "g"), Some(invalid("MG1")))].into());
    collector.apply(vec![SourceEvent::Delete(entry_ref("two"))].into());
    let Loaded { set, .. } = collector.take();
    assert_eq!(set.generation, before + 1);
    assert_eq!(&*set.changed, [object(Kind::Gateway, "g"), entry_ref("one"), entry_ref("two")]);
    assert_eq!(set.changed_files.iter().map(|path| &**path).collect::<Vec<_>>(), ["a.pem"]);
    assert!(!collector.has_news());
    collector.apply(vec![upsert(entry("one", "3.3.3.3"), None)].into());
    let Loaded { set, .. } = collector.take();
    assert_eq!((set.generation, &*set.changed, set.changed_files.len()), (before + 2, &[entry_ref("one")][..], 0));
}

#[test]
fn versions_are_known_and_those_that_mean_the_same_are_no_news() {
    let mut collector = collector(vec![upsert(entry("one", "1.1.1.1"), version("10", 1))]);
    // A listing repeats known objects. The version decides, not the content.
    collector.apply(vec![upsert(entry("one", "9.9.9.9"), version("10", 1))].into());
    assert!(!collector.has_news());
    // A status was written: another version, and the same meaning.
    collector.apply(vec![upsert(entry("one", "1.1.1.1"), version("11", 1))].into());
    assert!(!collector.has_news());
    // Another generation counts, since a status names it.
    collector.apply(vec![upsert(entry("one", "1.1.1.1"), version("12", 2))].into());
    assert!(collector.has_news());
    let loaded = collector.take();
    assert!(loaded.set.changed.is_empty());
    assert_eq!(loaded.versions.get(&entry_ref("one")).copied(), version("12", 2));
    // Readers have the version of before: one for each status that is written would be kept beside it.
    collector.apply(vec![upsert(entry("one", "1.1.1.1"), version("13", 2))].into());
    assert!(!collector.has_news());
    assert_eq!(collector.versions.get(&entry_ref("one")).copied(), version("12", 2));
    collector.apply(vec![upsert(entry("one", "2.2.2.2"), version("14", 3))].into());
    assert_eq!(&*collector.take().set.changed, [entry_ref("one")]);
    collector.apply(vec![SourceEvent::Delete(entry_ref("one"))].into());
    assert!(collector.take().versions.is_empty());
}

/// A Namespace in a phase of its life.
fn namespace(phase: &str) -> SourceEvent {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: a}}\nstatus: {{phase: {phase}}}\n");
    upsert(objects("in.yaml", &text).remove(0), version(phase, 1))
}

#[test]
fn what_is_only_shown_is_news_of_its_own() {
    let mut collector = collector(vec![namespace("Active")]);
    assert!(!collector.has_more_to_show());
    collector.apply(vec![namespace("Active")].into());
    assert!(!collector.has_more_to_show());
    collector.apply(vec![namespace("Terminating")].into());
    assert_eq!((collector.has_news(), collector.has_more_to_show()), (false, true));
    let generation = collector.set().generation;
    let Loaded { set, only_shown, .. } = collector.take();
    assert_eq!((set.generation, set.changed.len(), only_shown), (generation + 1, 0, true));
    assert!(!collector.has_more_to_show());
    // With anything else, it comes along.
    collector.apply(vec![namespace("Active"), upsert(entry("one", "1.1.1.1"), None)].into());
    let Loaded { set, only_shown, .. } = collector.take();
    assert_eq!((&*set.changed, only_shown), (&[entry_ref("one")][..], false));
    assert!(!collector.has_more_to_show() && !collector.has_news());
}

#[test]
fn an_object_with_errors_keeps_its_last_good_version() {
    let mut collector = collector(vec![upsert(entry("one", "1.1.1.1"), None)]);
    collector.apply(vec![reject(entry_ref("one"), None)].into());
    let loaded = collector.take();
    assert_eq!(names(&collector), ["one"]);
    let mut found = codes(&loaded);
    found.sort_unstable();
    assert_eq!(found, [code::UNKNOWN_FIELD, code::LAST_GOOD]);
    // Without errors again.
    collector.apply(vec![upsert(entry("one", "2.2.2.2"), None)].into());
    assert_eq!((codes(&collector.take()).len(), names(&collector)), (0, vec!["one".to_owned()]));
}

#[test]
fn an_object_that_was_never_without_errors_is_guarded_or_absent() {
    let (bad, guarded) = (object(Kind::Gateway, "bad"), entry_ref("guarded"));
    let mut collector =
        collector(vec![reject(bad.clone(), None), reject(guarded.clone(), Some(entry("guarded", "1.1.1.1")))]);
    assert_eq!(collector.set().absent.get(&bad), Some(&invalid(code::UNKNOWN_FIELD)));
    assert_eq!(names(&collector), ["guarded"]);
    // A guard is no good version: the next guard takes its place.
    collector.apply(vec![reject(guarded.clone(), Some(entry("guarded", "2.2.2.2")))].into());
    let address = |collector: &Collector| {
        collector.set().workload_entries.values().map(|entry| entry.spec.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(address(&collector), ["2.2.2.2"]);
    assert_eq!(codes(&collector.take()), [code::UNKNOWN_FIELD, code::UNKNOWN_FIELD]);
    // A listing that does not have them any more removes both.
    collector.apply(vec![SourceEvent::Restart(Scope::All), SourceEvent::Complete(Scope::All)].into());
    let loaded = collector.take();
    assert!(loaded.set.is_empty() && loaded.set.absent.is_empty() && loaded.diagnostics.is_empty());
}

#[test]
fn a_rejection_that_is_repeated_is_no_news() {
    let kinds = [Kind::Service, Kind::Gateway, Kind::WorkloadEntry].map(Scope::Kind);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: kept}\nspec: {ports: [{port: 80}]}\n";
    let kept = || upsert(objects("in.yaml", service).remove(0), version("1", 1));
    let guarded = |address| reject(entry_ref("guarded"), Some(entry("guarded", address)));
    let rejections = |address| {
        let service = |name| reject(object(Kind::Service, name), None);
        vec![service("never-good"), service("kept"), reject(object(Kind::Gateway, "bad"), None), guarded(address)]
    };
    let mut collector = collector([vec![kept()], rejections("1.1.1.1")].concat());
    let before = collector.take();
    let absent: Map<_, _> = [(object(Kind::Gateway, "bad"), invalid(code::UNKNOWN_FIELD))].into_iter().collect();
    assert_eq!((before.set.services.size(), names(&collector)), (1, vec!["guarded".to_owned()]));
    assert_eq!(before.set.absent, absent);
    let relist = |events| {
        let (restart, complete) = (kinds.clone().map(SourceEvent::Restart), kinds.clone().map(SourceEvent::Complete));
        [restart.to_vec(), events, complete.to_vec()].concat()
    };
    // Alone, and in a listing.
    for events in [rejections("1.1.1.1"), relist(rejections("1.1.1.1"))] {
        collector.apply(events.into());
        assert!(!collector.has_news());
        assert_eq!(collector.set().generation, before.set.generation);
        assert_eq!((collector.set().services.size(), names(&collector)), (1, vec!["guarded".to_owned()]));
        assert_eq!(collector.set().absent, absent);
    }
    // Another guard, and other findings.
    collector.apply(relist(rejections("2.2.2.2")).into());
    assert!(collector.has_news());
    assert_eq!(&*collector.take().set.changed, [entry_ref("guarded")]);
    let (object, findings) = (object(Kind::Service, "kept"), [finding(code::UNREADABLE_FILE, None)].into());
    let other = Rejection { object, version: None, code: code::UNREADABLE_FILE, guard: None, selector: None, findings };
    collector.apply(vec![SourceEvent::Reject(Box::new(other))].into());
    assert!(collector.has_news());
    assert!(codes(&collector.take()).contains(&code::UNREADABLE_FILE));
}
