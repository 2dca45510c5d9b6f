//! `licences`: every dependency's licence is one that deny.toml allows.
//!
//! The same list serves `cargo deny`, which also reads licence texts and advisories; this chore needs nothing installed.

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use std::collections::BTreeSet;
use std::fs;

/// Reads the list and holds it against the whole tree.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new().exec().context("`cargo metadata` failed")?;
    let text = fs::read_to_string(metadata.workspace_root.join("deny.toml")).context("cannot read deny.toml")?;
    let allowed = allow_list(&text);
    if allowed.is_empty() {
        bail!("deny.toml has no `allow = [ … ]` list under [licenses]");
    }
    let mut faults = BTreeSet::new();
    for package in &metadata.packages {
        let expression = package.license.as_deref().unwrap_or("none");
        if !permits(expression, &allowed) {
            faults.insert(format!("{} {}: {expression}", package.name, package.version));
        }
    }
    if !faults.is_empty() {
        bail!("not allowed by deny.toml:\n  {}", faults.into_iter().collect::<Vec<_>>().join("\n  "));
    }
    println!("licences hold: {} packages", metadata.packages.len());
    Ok(())
}

/// The quoted words of the `allow` list.
fn allow_list(text: &str) -> BTreeSet<String> {
    let list = text.split("\nallow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met: one side of each OR, both sides of each AND, which binds tighter.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let flat = expression.replace('/', " OR ");
    split(&flat, " OR ").iter().any(|side| split(side, " AND ").iter().all(|part| permits_part(part.trim(), allowed)))
}

fn permits_part(part: &str, allowed: &BTreeSet<String>) -> bool {
    match part.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => permits(inner, allowed),
        None => allowed.contains(part),
    }
}

/// Cuts at a word that stands outside of brackets.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && at >= start && text[at..].starts_with(word) => {
                parts.push(&text[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::{allow_list, permits};

    #[test]
    fn one_side_of_or_is_enough_and_both_of_and_are_needed() {
        let allowed = allow_list("[licenses]\nallow = [\n \"MIT\",\n \"Apache-2.0\",\n]\n");
        assert!(permits("MIT OR GPL-3.0", &allowed));
        assert!(permits("MIT/Apache-2.0", &allowed));
        assert!(!permits("MIT AND GPL-3.0", &allowed));
        assert!(permits("(MIT OR GPL-3.0) AND Apache-2.0", &allowed));
        assert!(!permits("(MIT OR Apache-2.0) AND GPL-3.0", &allowed));
        assert!(!permits("MPL-2.0", &allowed));
        assert!(!permits("none", &allowed));
    }
}
