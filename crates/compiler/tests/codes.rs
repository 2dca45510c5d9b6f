//! Every code of this crate is documented in `docs/diagnostics.md`.

#[test]
fn every_code_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/diagnostics.md");
    let text = std::fs::read_to_string(path).unwrap();
    for code in compiler::code::ALL {
        let line = format!("| {} | {} |", code.id, code.title);
        assert!(text.contains(&line), "docs/diagnostics.md has no line `{line}`");
    }
}
