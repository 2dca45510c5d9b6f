//! Configurations that Istio accepts must be accepted: the recordings in `oracle/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use resources::diagnostic::Severity;
use resources::read::{documents, read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn inputs() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle");
    let folders = |path: &Path| -> Vec<PathBuf> {
        let mut found: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()).collect();
        found.sort();
        found
    };
    folders(&root).iter().flat_map(|profile| folders(profile)).map(|seed| seed.join("in.yaml")).collect()
}

#[test]
fn what_istio_took_is_not_refused() {
    let mut refused = Vec::new();
    let inputs = inputs();
    assert!(inputs.len() >= 70, "{} recordings", inputs.len());
    for path in inputs {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: Arc<Path> = Arc::from(path.as_path());
        for document in documents(&text) {
            for diagnostic in read(&file, document).diagnostics {
                if diagnostic.severity == Severity::Error {
                    refused.push(resources::render::line(&diagnostic));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{} errors:\n{}", refused.len(), refused.join("\n"));
}
