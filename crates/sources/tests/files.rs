//! The folder as people and tools use it: edits, broken documents, renames, links, two files with one object.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use resources::code;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::Absence;
use sources::{FileReader, FileSource, Loaded};
use std::fs;
use std::path::Path;

fn entry(name: &str, address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
    )
}

fn address(loaded: &Loaded, name: &str) -> Option<String> {
    let key = Key::new("default", name);
    loaded.set.workload_entries.get(&key).map(|object| object.spec.address.to_string())
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

fn source(folder: &Path) -> FileReader {
    FileReader::new(vec![folder.to_owned()]).unwrap()
}

#[test]
fn a_changed_document_changes_its_object_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, format!("{}---\n{}", entry("one", "1.1.1.1"), entry("two", "2.2.2.2"))).unwrap();
    let mut source = source(folder.path());
    let first = source.refresh().unwrap();
    assert_eq!((first.set.len(), first.set.generation), (2, 1));
    assert!(source.refresh().is_none(), "nothing changed");
    fs::write(&file, format!("{}---\n{}", entry("one", "1.1.1.1"), entry("two", "2.2.2.22"))).unwrap();
    let second = source.refresh().unwrap();
    let changed = ObjectRef { kind: Kind::WorkloadEntry, key: Key::new("default", "two") };
    assert_eq!(&*second.set.changed, [changed]);
}

#[test]
fn everything_is_read_again_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let write = |text: String| {
        fs::write(&file, text).unwrap();
        fs::File::options().append(true).open(&file).unwrap().set_modified(old).unwrap();
    };
    write(entry("one", "1.1.1.1"));
    let mut source = source(folder.path());
    source.refresh().unwrap();
    // As long and as old as before: no look can see it.
    write(entry("one", "1.1.1.2"));
    assert!(source.refresh().is_none());
    let again = source.reread(std::time::Instant::now());
    assert!(again.requested);
    assert_eq!(address(&again, "one").as_deref(), Some("1.1.1.2"));
    // Where nothing is new, what there is comes again, as no change.
    let again = source.reread(std::time::Instant::now());
    assert_eq!((again.requested, again.set.changed.len()), (true, 0));
    assert_eq!(address(&again, "one").as_deref(), Some("1.1.1.2"));
}

#[test]
fn a_broken_document_keeps_its_last_good_version_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, format!("{}---\n{}", entry("one", "1.1.1.1"), entry("two", "2.2.2.2"))).unwrap();
    let mut source = source(folder.path());
    source.refresh().unwrap();
    // Refused by its own validation, and unreadable.
    for broken in [entry("one", "''"), "spec: [\n".to_owned()] {
        fs::write(&file, format!("{broken}---\n{}", entry("two", "2.2.2.3"))).unwrap();
        let loaded = source.refresh().unwrap();
        assert_eq!(address(&loaded, "one").as_deref(), Some("1.1.1.1"), "{broken}");
        assert_eq!(address(&loaded, "two").as_deref(), Some("2.2.2.3"));
        assert!(codes(&loaded).contains(&code::LAST_GOOD), "{:?}", loaded.diagnostics);
        fs::write(&file, format!("{}---\n{}", entry("one", "1.1.1.1"), entry("two", "2.2.2.2 "))).unwrap();
        let loaded = source.refresh().unwrap();
        assert!(codes(&loaded).is_empty(), "{:?}", loaded.diagnostics);
    }
    fs::remove_file(&file).unwrap();
    assert!(source.refresh().unwrap().set.is_empty());
}

fn rule(mode: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec: {{host: b.test, trafficPolicy: {{tls: {{mode: {mode}}}}}}}\n"
    )
}

#[test]
fn a_destination_rule_with_errors_and_no_version_before_them_guards_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let guards = |loaded: &Loaded| -> Vec<bool> {
        loaded.set.destination_rules.values().map(|rule| rule.spec.is_guard).collect()
    };
    fs::write(&file, rule("SIMPEL")).unwrap();
    let mut source = source(folder.path());
    assert_eq!(guards(&source.refresh().unwrap()), [true]);
    // Also while its host cannot be read, and beside another error.
    fs::write(&file, rule("SIMPEL").replace("b.test", "[b]")).unwrap();
    let loaded = source.refresh().unwrap();
    assert_eq!((guards(&loaded), codes(&loaded).contains(&code::LAST_GOOD)), (vec![true], false));
    fs::write(&file, rule("SIMPLE")).unwrap();
    assert_eq!(guards(&source.refresh().unwrap()), [false]);
    // From now on there is a version without errors.
    fs::write(&file, rule("SIMPEL ")).unwrap();
    let loaded = source.refresh().unwrap();
    assert_eq!((guards(&loaded), codes(&loaded).contains(&code::LAST_GOOD)), (vec![false], true));
    // Another file with errors is no reason to stop what this one has.
    fs::write(folder.path().join("b.yaml"), rule("SIMPLER")).unwrap();
    assert_eq!(guards(&source.refresh().unwrap()), [false]);
    fs::remove_file(&file).unwrap();
    let loaded = source.refresh().unwrap();
    assert_eq!(guards(&loaded), [true], "{:?}", loaded.diagnostics);
    fs::write(&file, rule("SIMPLE")).unwrap();
    assert_eq!(guards(&source.refresh().unwrap()), [false]);
    fs::write(&file, rule("SIMPEL")).unwrap();
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    assert_eq!(guards(&source.refresh().unwrap()), [false], "it is the last good version");
    fs::remove_file(&file).unwrap();
    assert!(source.refresh().unwrap().set.is_empty());
}

#[test]
fn of_two_files_with_one_object_the_first_counts_and_the_other_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.yaml"), entry("one", "2.2.2.2")).unwrap();
    let mut source = source(folder.path());
    source.refresh().unwrap();
    fs::write(folder.path().join("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    let loaded = source.refresh().unwrap();
    assert_eq!(address(&loaded, "one").as_deref(), Some("1.1.1.1"));
    assert_eq!(codes(&loaded), [code::DEFINED_TWICE]);
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    let loaded = source.refresh().unwrap();
    assert_eq!(address(&loaded, "one").as_deref(), Some("2.2.2.2"));
    assert!(codes(&loaded).is_empty());
}

#[test]
fn what_editors_leave_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".a.yaml.swp", "a.yaml~", "#a.yaml#", "4913", "a.yaml.tmp", ".hidden.yaml", "notes.txt"] {
        fs::write(folder.path().join(name), entry("one", "1.1.1.1")).unwrap();
    }
    assert!(source(folder.path()).refresh().unwrap().set.is_empty());
}

#[cfg(unix)]
#[test]
fn a_mounted_config_map_is_swapped_as_a_whole() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, address: &str| {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("a.yaml"), entry("one", address)).unwrap();
    };
    version("..2026_01", "1.1.1.1");
    symlink("..2026_01", folder.path().join("..data")).unwrap();
    symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
    let mut source = source(folder.path());
    let loaded = source.refresh().unwrap();
    assert_eq!((address(&loaded, "one").as_deref(), loaded.set.len()), (Some("1.1.1.1"), 1));
    version("..2026_02", "2.2.2.2");
    symlink("..2026_02", folder.path().join("..data_tmp")).unwrap();
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    assert_eq!(address(&source.refresh().unwrap(), "one").as_deref(), Some("2.2.2.2"));
}

#[test]
fn a_path_that_is_not_there_is_an_error_that_names_it() {
    let error = FileReader::new(vec!["/no/such/folder".into()]).unwrap_err();
    assert_eq!(error.to_string(), "/no/such/folder");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.starts_with("No such file"), "{cause}");
}

#[test]
fn a_file_that_is_no_text_is_told_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), b"a: \xff\xfe").unwrap();
    fs::write(folder.path().join("b.yaml"), entry("one", "1.1.1.1")).unwrap();
    let loaded = source(folder.path()).refresh().unwrap();
    assert_eq!((loaded.set.len(), codes(&loaded)), (1, vec![code::UNREADABLE_FILE]));
}

#[tokio::test]
async fn changes_come_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    let mut changes = sources::watch(FileSource::new(vec![folder.path().to_owned()], None).unwrap());
    assert_eq!(address(&changes.next().await.unwrap(), "one").as_deref(), Some("1.1.1.1"));
    fs::write(folder.path().join(".tmp"), entry("one", "2.2.2.2")).unwrap();
    fs::rename(folder.path().join(".tmp"), folder.path().join("a.yaml")).unwrap();
    assert_eq!(address(&changes.next().await.unwrap(), "one").as_deref(), Some("2.2.2.2"));
}

#[test]
fn gw_11_files_that_gateways_name_are_read_with_them_and_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: default}\nspec:\n  servers:\n  - port: {number: 443, \
                   name: https, protocol: HTTPS}\n    hosts: ['*']\n    tls: {mode: SIMPLE, serverCertificate: certs/a.crt, privateKey: certs/a.key}\n";
    fs::create_dir(folder.path().join("certs")).unwrap();
    fs::write(folder.path().join("certs/a.crt"), "one").unwrap();
    fs::write(folder.path().join("gateway.yaml"), gateway).unwrap();
    let mut source = FileReader::new(vec![folder.path().to_owned()]).unwrap();
    let set = source.refresh().unwrap().set;
    let content =
        |set: &resources::set::ResourceSet, name: &str| set.files.get(name, "any").unwrap().map(|bytes| bytes.to_vec());
    assert_eq!((content(&set, "certs/a.crt"), content(&set, "certs/a.key")), (Some(b"one".to_vec()), None));
    fs::write(folder.path().join("certs/next"), "two").unwrap();
    fs::rename(folder.path().join("certs/next"), folder.path().join("certs/a.crt")).unwrap();
    fs::write(folder.path().join("certs/a.key"), "key").unwrap();
    let next = source.refresh().unwrap().set;
    assert_eq!(next.generation, set.generation + 1);
    assert_eq!(
        (content(&next, "certs/a.crt"), content(&next, "certs/a.key")),
        (Some(b"two".to_vec()), Some(b"key".to_vec()))
    );
    assert_eq!(next.changed_files.iter().map(|name| &**name).collect::<Vec<_>>(), ["certs/a.crt", "certs/a.key"]);
    assert!(source.refresh().is_none());
    fs::remove_file(folder.path().join("gateway.yaml")).unwrap();
    assert!(source.refresh().unwrap().set.files.is_empty());
}

#[test]
fn a_duplicate_names_the_object_that_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs::write(&first, format!("{}---\n{}", entry("other", "1.1.1.1"), entry("one", "1.1.1.1"))).unwrap();
    fs::write(&second, format!("{}---\n{}", entry("one", "2.2.2.2"), entry("other", "2.2.2.2"))).unwrap();
    let third = folder.path().join("c.yaml");
    fs::write(&third, format!("{}---\n{}", entry("two", "2.2.2.2"), entry("two", "2.2.2.3"))).unwrap();
    // Also at the first reading, when there is no set yet that has the files of objects.
    let loaded = source(folder.path()).refresh().unwrap();
    let mut found: Vec<String> = loaded.diagnostics.iter().map(resources::render::line).collect();
    found.iter_mut().for_each(|line| *line = line.replace(&format!("{}/", folder.path().display()), ""));
    let help = "remove one of them, or give it another name";
    assert_eq!(
        found,
        [
            format!(
                "b.yaml:1:1: error[MG0008]: WorkloadEntry default/one: duplicate of a.yaml:5, which is used; {help}"
            ),
            format!(
                "b.yaml:5:1: error[MG0008]: WorkloadEntry default/other: duplicate of a.yaml:1, which is used; {help}"
            ),
            format!(
                "c.yaml:5:1: error[MG0008]: WorkloadEntry default/two: duplicate of c.yaml:1, which is used; {help}"
            ),
        ]
    );
}

#[test]
fn gateways_that_are_written_and_not_there_are_known_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let gateway = |name: &str, version: &str, port: u16| {
        format!(
            "apiVersion: {version}\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  selector: {{istio: egressgateway}}\n  servers:\n  - port: {{number: {port}, name: http, protocol: HTTP}}\n    hosts: ['*']\n---\n"
        )
    };
    let istio = "networking.istio.io/v1";
    fs::write(&file, gateway("bad", istio, 0) + &gateway("other", "gateway.networking.k8s.io/v1", 80)).unwrap();
    let mut source = source(folder.path());
    let object = |name: &str| ObjectRef { kind: Kind::Gateway, key: Key::new("default", name) };
    let first = source.refresh().unwrap().set;
    let selector = Some([("istio".into(), "egressgateway".into())].into_iter().collect());
    let invalid = Absence::Invalid { code: code::GATEWAY_PORT_NUMBER, selector };
    assert_eq!(first.absent.get(&object("bad")), Some(&invalid));
    assert_eq!(first.absent.get(&object("other")), Some(&Absence::OtherGroup("gateway.networking.k8s.io".into())));
    assert!(first.changed.is_empty(), "all of the first set is new");
    // What has a last good version is there.
    fs::write(&file, gateway("bad", istio, 80)).unwrap();
    let second = source.refresh().unwrap().set;
    assert!(second.absent.is_empty() && second.gateways.size() == 1);
    assert_eq!(&*second.changed, [object("bad"), object("other")]);
    fs::write(&file, gateway("bad", istio, 0)).unwrap();
    let third = source.refresh().unwrap().set;
    assert!(third.absent.is_empty() && third.gateways.size() == 1);
}
