//! `rows`: which row ids of the behaviour reference (`S-62`, `DR-07`) the tests and cases cite, and where.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Prefixes of row ids.
const PREFIXES: &[&str] = &["GW", "S", "VS", "DR", "SE", "WE", "MC", "PC", "TE"];

/// Prints one line per id: the id and the number of places that cite it.
pub(crate) fn list() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cited: BTreeMap<(usize, u32), BTreeSet<PathBuf>> = BTreeMap::new();
    for folder in ["crates", "cases"] {
        visit(&root.join(folder), &mut |path, text| {
            for id in ids(text) {
                cited.entry(id).or_default().insert(path.to_owned());
            }
        })?;
    }
    for ((prefix, number), places) in &cited {
        println!("{}-{number:02}\t{}", PREFIXES[*prefix], places.len());
    }
    println!("{} ids are cited", cited.len());
    Ok(())
}

fn visit(folder: &Path, found: &mut dyn FnMut(&Path, &str)) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs" || e == "yaml") {
            found(&path, &fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Ids as `S-62` in prose and as `s_62` in the names of tests.
fn ids(text: &str) -> BTreeSet<(usize, u32)> {
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')) {
        for (at, prefix) in PREFIXES.iter().enumerate() {
            let lower = prefix.to_ascii_lowercase();
            let rest = word.strip_prefix(&format!("{prefix}-")).or_else(|| word.strip_prefix(&format!("{lower}_")));
            let digits: String = rest.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse() {
                found.insert((at, number));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_are_found_in_prose_and_in_names() {
        let found = ids("fn s_62_is_last() {} // see VS-12, DR-07.");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), vec![(1, 62), (2, 12), (3, 7)]);
    }
}
