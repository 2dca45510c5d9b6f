//! The promises of docs/threat-model.md: each test that the page names exists.

use anyhow::{Context, Result, ensure};
use std::path::Path;

const PAGE: &str = "docs/threat-model.md";

/// Fails where the page names a test that does not exist.
pub(crate) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let tests = named(&page);
    ensure!(!tests.is_empty(), "{PAGE} names no tests");
    let missing: Vec<String> = tests
        .iter()
        .filter(|(file, test)| !std::fs::read_to_string(root.join(file)).is_ok_and(|text| has_test(&text, test)))
        .map(|(file, test)| format!("{file} has no test `{test}`"))
        .collect();
    ensure!(missing.is_empty(), "promises of {PAGE} without a test:\n{}", missing.join("\n"));
    println!("promises hold: {} tests exist", tests.len());
    Ok(())
}

/// File and name of each test: lines such as `` - `file` `test` ``.
fn named(page: &str) -> Vec<(&str, &str)> {
    page.lines().filter_map(named_in).collect()
}

fn named_in(line: &str) -> Option<(&str, &str)> {
    let (file, rest) = line.strip_prefix("- `")?.split_once("` `")?;
    Some((file, rest.strip_suffix('`')?))
}

fn has_test(text: &str, test: &str) -> bool {
    text.contains(&format!("fn {test}("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_by_file_and_function() {
        let page = "**A promise.**\n\n- `a/b.rs` `c_d`\n- a point\n- `a` and `b`\n";
        assert_eq!(named(page), [("a/b.rs", "c_d")]);
        assert!(has_test("fn c_d() {", "c_d") && !has_test("fn c_d_e() {", "c_d"));
    }

    #[test]
    fn every_promise_of_the_threat_model_has_its_tests() {
        assert_eq!(check().map_err(|error| error.to_string()), Ok(()));
    }
}
