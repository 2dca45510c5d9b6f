//! A process without free descriptors keeps its configuration. The only test of this file, since it uses up those of its process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![cfg(unix)]

use resources::code;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sources::FileReader;
use std::fs::{self, File};

#[test]
fn without_descriptors_everything_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |name: &str, address: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
        )
    };
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    fs::write(folder.path().join("sub/b.yaml"), entry("two", "2.2.2.2")).unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limit }).unwrap();
    for watched in [false, true] {
        let mut source = FileReader::new(vec![folder.path().to_owned()]).unwrap();
        if watched {
            source.start_watching();
        }
        assert_eq!(source.refresh().unwrap().set.len(), 2);
        let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(1024).collect();
        let loaded = source.refresh().expect("it is reported");
        assert_eq!((loaded.set.len(), loaded.set.changed.len(), loaded.unavailable), (2, 0, 1));
        assert_eq!(loaded.diagnostics.iter().map(|one| one.code).collect::<Vec<_>>(), [code::MISSING_ROOT]);
        drop(taken);
        let loaded = source.refresh().expect("it is over");
        assert_eq!((loaded.set.len(), loaded.diagnostics.len(), loaded.unavailable), (2, 0, 0));
    }
}
