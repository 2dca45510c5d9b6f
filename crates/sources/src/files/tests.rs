use super::*;
use crate::collector::{Collector, Loaded};
use resources::code;
use resources::spec::security::AuthorizationAction;
use std::fs;
use tempfile::TempDir;

/// A folder with files, what was read from them, and what came of it.
struct Folder {
    folder: TempDir,
    files: Files,
    collector: Collector,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(vec![folder.path().to_owned()]).unwrap();
        Self { folder, files, collector: Collector::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn round(&mut self) -> Loaded {
        if let Some(batch) = self.files.refresh(self.collector.set()) {
            self.collector.apply(batch);
        }
        self.collector.take()
    }

    /// A round that fails when it has changed everything.
    fn failing_round(&mut self) {
        self.files.fails = true;
        let (files, set) = (&mut self.files, self.collector.set());
        assert!(catch_unwind(AssertUnwindSafe(|| files.refresh(set))).is_err());
    }
}

fn policy(name: &str, action: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: a}}\nspec: {{action: {action}, rules: [{{}}]}}\n"
    )
}

/// Their names, and whether they deny.
fn policies(loaded: &Loaded) -> Vec<(String, bool)> {
    let policies = loaded.set.authorization_policies.iter();
    policies
        .map(|(key, policy)| (key.name.to_string(), policy.spec.action == Some(AuthorizationAction::Deny)))
        .collect()
}

fn named(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names.iter().map(|(name, denies)| ((*name).to_owned(), *denies)).collect()
}

#[test]
fn the_first_round_after_a_failed_one_has_everything() {
    let mut folder = Folder::new();
    folder.write("one.yaml", &policy("one", "DENY"));
    folder.write("mesh.yaml", "rootNamespace: a\n");
    folder.failing_round();
    folder.failing_round();
    let loaded = folder.round();
    assert!(loaded.complete && loaded.diagnostics.is_empty(), "{loaded:?}");
    assert_eq!(policies(&loaded), named(&[("one", true)]));
    assert_eq!(&*loaded.mesh.unwrap().text, "rootNamespace: a\n");
}

#[test]
fn a_failed_round_loses_no_change_of_objects() {
    let mut folder = Folder::new();
    for name in ["changed", "gone", "kept", "same", "withdrawn"] {
        folder.write(&format!("{name}.yaml"), &policy(name, "ALLOW"));
    }
    // The one that counts is replaced, and the other one comes in its place.
    folder.write("first.yaml", &policy("both", "ALLOW"));
    folder.write("second.yaml", &policy("both", "DENY"));
    folder.round();
    folder.write("changed.yaml", &policy("changed", "DENY"));
    fs::remove_file(folder.path("gone.yaml")).unwrap();
    fs::remove_file(folder.path("first.yaml")).unwrap();
    folder.write("kept.yaml", &policy("kept", "NONE-SUCH"));
    folder.write("withdrawn.yaml", &policy("other", "DENY"));
    folder.write("new.yaml", &policy("new", "DENY"));
    folder.failing_round();
    let before = folder.collector.take();
    assert_eq!(before.set.authorization_policies.size(), 6, "the failed round withdraws nothing: {before:?}");
    let loaded = folder.round();
    let all = [("both", true), ("changed", true), ("kept", false), ("new", true), ("other", true), ("same", false)];
    assert_eq!(policies(&loaded), named(&all));
    assert!(loaded.diagnostics.iter().any(|one| one.code == code::LAST_GOOD), "{loaded:?}");
}

#[test]
fn a_failed_round_loses_no_finding() {
    let mut folder = Folder::new();
    folder.write("one.yaml", &policy("one", "DENY"));
    folder.write("two.yaml", &policy("two", "DENY"));
    folder.round();
    folder.write("one.yaml", "");
    folder.failing_round();
    let loaded = folder.round();
    assert_eq!((loaded.unavailable, loaded.set.authorization_policies.size()), (1, 2), "{loaded:?}");
    folder.write("one.yaml", &policy("one", "ALLOW"));
    folder.failing_round();
    let loaded = folder.round();
    assert_eq!((loaded.unavailable, loaded.diagnostics.len()), (0, 0), "{loaded:?}");
    assert_eq!(policies(&loaded), named(&[("one", false), ("two", true)]));
}

#[test]
fn a_failed_round_loses_no_change_of_files_that_objects_name() {
    let mut folder = Folder::new();
    folder.write(
        "gateway.yaml",
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec:\n  servers:\n  - port: {number: 443, name: https, protocol: HTTPS}\n    hosts: ['*']\n    tls: {mode: SIMPLE, serverCertificate: c.pem, privateKey: k.pem}\n",
    );
    folder.write("c.pem", "one");
    folder.write("k.pem", "key");
    let mesh = |root: &str| format!("rootNamespace: {root}\n");
    folder.write("mesh.yaml", &mesh("one"));
    folder.round();
    folder.write("c.pem", "another one");
    folder.write("mesh.yaml", &mesh("another"));
    folder.failing_round();
    let loaded = folder.round();
    assert_eq!(*loaded.mesh.unwrap().text, mesh("another"));
    let held = |name: &str| folder.files.known.named.contents().get(name).map(|held| held.to_vec());
    assert_eq!(held("c.pem").unwrap(), b"another one");
    assert_eq!(loaded.set.changed_files.iter().map(|path| &**path).collect::<Vec<_>>(), ["c.pem"]);
}

#[test]
fn a_file_that_breaks_its_reader_concerns_no_other() {
    let mut folder = Folder::new();
    for name in ["broken", "gone"] {
        folder.write(&format!("{name}.yaml"), &policy(name, "ALLOW"));
    }
    folder.round();
    folder.files.fails_at = Some("broken.yaml");
    // By itself, and with others.
    for (round, others) in ["", "other"].into_iter().enumerate() {
        folder.write("broken.yaml", &policy("broken", ["DENY", "AUDIT"][round]));
        if others.is_empty() {
            fs::remove_file(folder.path("gone.yaml")).unwrap();
        } else {
            folder.write("other.yaml", &policy(others, "DENY"));
        }
        let loaded = folder.round();
        assert_eq!(loaded.unavailable, 1, "{loaded:?}");
        let kept = policies(&loaded);
        assert_eq!(kept.first(), Some(&("broken".to_owned(), false)), "its last good version: {loaded:?}");
        assert_eq!(kept.len(), 1 + usize::from(!others.is_empty()), "{kept:?}");
    }
}
