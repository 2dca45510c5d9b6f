//! Objects go only with proof: what cannot be listed or read, is missing as a whole, emptied, or replaced by something else keeps what it
//! held, and is reported until it is back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![cfg(unix)]

use resources::code;
use sources::{FileReader, Loaded};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn entry(name: &str, address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
    )
}

/// The names and addresses of all entries.
fn entries(loaded: &Loaded) -> Vec<String> {
    let all = loaded.set.workload_entries.iter();
    all.map(|(key, object)| format!("{} {}", key.name, object.spec.address)).collect()
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

fn source(folder: &Path) -> FileReader {
    FileReader::new(vec![folder.to_owned()]).unwrap()
}

/// What a change of the folder leads to: the entries, the codes, and how many paths are unavailable.
fn after(source: &mut FileReader) -> (Vec<String>, Vec<&'static str>, usize) {
    let loaded = source.refresh().expect("something is different");
    (entries(&loaded), codes(&loaded), loaded.unavailable)
}

const NONE: [&str; 0] = [];

#[test]
fn a_missing_root_keeps_everything_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("config");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    let mut source = source(&root);
    assert_eq!(after(&mut source), (vec!["one 1.1.1.1".to_owned()], vec![], 0));
    fs::rename(&root, folder.path().join("away")).unwrap();
    assert_eq!(after(&mut source), (vec!["one 1.1.1.1".to_owned()], vec![code::MISSING_ROOT], 1));
    assert!(source.refresh().is_none(), "nothing is new");
    // A file in place of the folder is no folder without files.
    fs::write(&root, "").unwrap();
    assert_eq!(after(&mut source).0, ["one 1.1.1.1"]);
    fs::remove_file(&root).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(root.join("b.yaml"), entry("two", "2.2.2.2")).unwrap();
    assert_eq!(after(&mut source), (vec!["two 2.2.2.2".to_owned()], vec![], 0));
}

#[test]
fn an_emptied_file_keeps_what_it_held_until_it_is_deleted_or_another_file_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    for empty in ["", " \n\t\n", "# nothing\n---\n"] {
        fs::write(&a, format!("{}---\n{}", entry("one", "1.1.1.1"), entry("two", "2.2.2.2"))).unwrap();
        let mut source = source(folder.path());
        source.refresh().unwrap();
        fs::write(&a, empty).unwrap();
        let both = vec!["one 1.1.1.1".to_owned(), "two 2.2.2.2".to_owned()];
        assert_eq!(after(&mut source), (both, vec![code::EMPTIED_FILE], 1), "{empty:?}");
        // What another file has by now is its own.
        fs::write(&b, entry("two", "2.2.2.3")).unwrap();
        assert_eq!(after(&mut source).0, ["one 1.1.1.1", "two 2.2.2.3"]);
        fs::remove_file(&a).unwrap();
        assert_eq!(after(&mut source), (vec!["two 2.2.2.3".to_owned()], vec![], 0));
        fs::remove_file(&b).unwrap();
    }
    // One that never held anything may be empty.
    fs::write(&a, "").unwrap();
    assert_eq!(after(&mut source(folder.path())), (vec![], vec![], 0));
}

#[test]
fn a_file_that_is_replaced_by_a_folder_keeps_what_no_file_in_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{}---\n{}", entry("one", "1.1.1.1"), entry("two", "2.2.2.2"))).unwrap();
    let mut source = source(folder.path());
    source.refresh().unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let both = ["one 1.1.1.1", "two 2.2.2.2"].map(str::to_owned).to_vec();
    assert_eq!(after(&mut source), (both, vec![code::REPLACED_FILE], 1));
    fs::write(path.join("one.yaml"), entry("one", "1.1.1.9")).unwrap();
    assert_eq!(after(&mut source).0, ["one 1.1.1.9", "two 2.2.2.2"]);
    fs::write(path.join("two.yaml"), entry("two", "2.2.2.9")).unwrap();
    assert_eq!(after(&mut source), (["one 1.1.1.9", "two 2.2.2.9"].map(str::to_owned).to_vec(), vec![], 0));
}

#[test]
fn links_that_lead_nowhere_or_in_circles_keep_what_was_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("b.yaml"), entry("two", "2.2.2.2")).unwrap();
    fs::write(elsewhere.path().join("a"), entry("one", "1.1.1.1")).unwrap();
    symlink(elsewhere.path().join("a"), folder.path().join("a.yaml")).unwrap();
    symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
    let mut source = source(folder.path());
    let both = ["one 1.1.1.1", "two 2.2.2.2"].map(str::to_owned).to_vec();
    assert_eq!(after(&mut source), (both.clone(), vec![], 0));
    fs::rename(elsewhere.path().join("a"), elsewhere.path().join("c")).unwrap();
    assert_eq!(after(&mut source), (both.clone(), vec![code::UNLISTED_FOLDER], 1));
    fs::remove_file(folder.path().join("sub")).unwrap();
    symlink("sub", folder.path().join("sub")).unwrap();
    assert_eq!(after(&mut source), (both.clone(), vec![code::UNLISTED_FOLDER; 2], 2));
    fs::rename(elsewhere.path().join("c"), elsewhere.path().join("a")).unwrap();
    fs::remove_file(folder.path().join("sub")).unwrap();
    assert_eq!(after(&mut source), (vec!["one 1.1.1.1".to_owned()], vec![], 0));
}

#[test]
fn a_document_that_does_not_say_what_it_is_may_be_any_object_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let good = entry("one", "1.1.1.1");
    let broken = [
        good.replace("kind: ", "knd: "),
        good.replace("apiVersion: networking.istio.io/v1\n", ""),
        good.replace("networking.istio.io/v1", "networking.istio.io/v7"),
        good.replace("name: one", ""),
        "text\n".to_owned(),
        good[..good.len() / 2].to_owned(),
    ];
    for broken in broken {
        fs::write(&path, &good).unwrap();
        let mut source = source(folder.path());
        source.refresh().unwrap();
        fs::write(&path, &broken).unwrap();
        assert_eq!(after(&mut source).0, ["one 1.1.1.1"], "{broken}");
    }
}

const CHILD: &str = "SOURCES_TEST_WITHOUT_RIGHTS";

/// Runs a test of this binary as a user whom the rights of files bind, if this one is not. Whether to go on here.
fn without_rights(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() || fs::metadata("/proc/self").is_ok_and(|own| owner(&own) != 0) {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", test]).env(CHILD, "1").env("TMPDIR", folder.path()).current_dir(folder.path());
    let output = command.uid(65534).gid(65534).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    false
}

fn owner(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_may_not_be_listed_or_read_keeps_what_it_held() {
    if !without_rights("what_may_not_be_listed_or_read_keeps_what_it_held") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sub = folder.path().join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(folder.path().join("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    fs::write(sub.join("b.yaml"), entry("two", "2.2.2.2")).unwrap();
    let mut source = source(folder.path());
    source.refresh().unwrap();
    let both = ["one 1.1.1.1", "two 2.2.2.2"].map(str::to_owned).to_vec();
    // Without all rights, without that to list it, without that to enter it.
    for mode in [0o000, 0o300, 0o600] {
        chmod(&sub, mode);
        assert_eq!(after(&mut source), (both.clone(), vec![code::UNLISTED_FOLDER], 1), "{mode:o}");
        chmod(&sub, 0o700);
        assert_eq!(after(&mut source), (both.clone(), vec![], 0), "{mode:o}");
        chmod(folder.path(), mode);
        assert_eq!(after(&mut source), (both.clone(), vec![code::MISSING_ROOT], 1), "{mode:o}");
        chmod(folder.path(), 0o700);
        assert_eq!(after(&mut source), (both.clone(), vec![], 0), "{mode:o}");
    }
    chmod(&sub.join("b.yaml"), 0o000);
    fs::write(folder.path().join("a.yaml"), entry("one", "1.1.1.2")).unwrap();
    // Rights alone are no other version; with one that cannot be read the version before stays.
    let next = folder.path().join(".next");
    fs::write(&next, entry("two", "2.2.2.3")).unwrap();
    chmod(&next, 0o000);
    fs::rename(&next, sub.join("b.yaml")).unwrap();
    let mixed = ["one 1.1.1.2", "two 2.2.2.2"].map(str::to_owned).to_vec();
    assert_eq!(after(&mut source), (mixed, vec![code::UNREADABLE_FILE], 1));
    chmod(&sub.join("b.yaml"), 0o600);
    let both = ["one 1.1.1.2", "two 2.2.2.3"].map(str::to_owned).to_vec();
    assert_eq!(after(&mut source), (both, vec![], 0), "it is read as soon as that is allowed");
}

#[test]
fn gw_11_a_certificate_that_cannot_be_had_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: default}\nspec:\n  servers:\n  - port: {number: 443, \
                   name: https, protocol: HTTPS}\n    hosts: ['*']\n    tls: {mode: SIMPLE, serverCertificate: certs/a.crt, privateKey: certs/a.key}\n";
    let certificate = folder.path().join("certs/a.crt");
    fs::create_dir(folder.path().join("certs")).unwrap();
    fs::write(&certificate, "one").unwrap();
    fs::write(folder.path().join("gateway.yaml"), gateway).unwrap();
    let mut source = source(folder.path());
    let content = |loaded: &Loaded| loaded.set.files.get("certs/a.crt", "any").unwrap().map(|bytes| bytes.to_vec());
    let first = source.refresh().unwrap();
    assert_eq!((content(&first), codes(&first)), (Some(b"one".to_vec()), vec![]));
    fs::write(&certificate, "").unwrap();
    let emptied = source.refresh().unwrap();
    assert_eq!((content(&emptied), codes(&emptied)), (Some(b"one".to_vec()), vec![code::EMPTIED_FILE]));
    fs::remove_file(&certificate).unwrap();
    let gone = source.refresh().unwrap();
    assert_eq!((content(&gone), codes(&gone)), (Some(b"one".to_vec()), vec![code::UNREADABLE_FILE]));
    fs::write(&certificate, "two").unwrap();
    let back = source.refresh().unwrap();
    assert_eq!((content(&back), codes(&back)), (Some(b"two".to_vec()), vec![]));
}

#[test]
fn mc_01_mesh_settings_that_cannot_be_had_leave_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.yaml");
    fs::write(folder.path().join("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    for named in [None, Some(path.clone())] {
        fs::write(&path, "rootNamespace: good\n").unwrap();
        let is_named = named.is_some();
        let mut source = source(folder.path()).with_mesh(named);
        let text = |loaded: &Loaded| loaded.mesh.as_ref().map(|mesh| mesh.text.to_string());
        let good = Some("rootNamespace: good\n".to_owned());
        assert_eq!(text(&source.refresh().unwrap()), good);
        fs::write(&path, "# nothing\n").unwrap();
        let emptied = source.refresh().unwrap();
        assert_eq!((text(&emptied), codes(&emptied)), (good.clone(), vec![code::EMPTIED_FILE]));
        fs::remove_file(&path).unwrap();
        let gone = source.refresh().unwrap();
        // One that was named has to be there; one that was found may go.
        let expected = if is_named { (good, vec![code::UNREADABLE_FILE]) } else { (None, NONE.to_vec()) };
        assert_eq!((text(&gone), codes(&gone)), expected);
    }
}
