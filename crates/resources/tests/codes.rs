//! Every code of this crate is documented in `docs/diagnostics.md`, each exactly once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

#[test]
fn every_code_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/diagnostics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut seen = BTreeSet::new();
    for (code, title) in resources::code::ALL {
        assert!(seen.insert(code), "{code} stands for two things");
        assert!(
            text.contains(&format!("| {code} | {title} |")),
            "docs/diagnostics.md has no line `| {code} | {title} |`"
        );
    }
}
