//! `rows`: the ids of rows (`S-62`, `DR-07`) that sources, tests, cases and documents cite, compared with `docs/rows.md`, which explains them.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Prefixes of ids.
const PREFIXES: &[&str] =
    &["GW", "VS", "DR", "SE", "WE", "SC", "EF", "PC", "MC", "AP", "RA", "PA", "TE", "WA", "FE", "S", "E", "C", "P"];
/// Where ids are cited: folders and files of the workspace.
const CITING: &[&str] = &[
    "crates",
    "cases",
    "docs",
    "oracle",
    "bench",
    "fuzz",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];
/// Kinds of files that are read.
const EXTENSIONS: &[&str] = &["rs", "yaml", "md", "txt", "py", "sh", "toml"];
/// Folders that have no text of ours.
const SKIPPED: &[&str] = &["target", "corpus", "found", "node_modules"];
/// The page that explains the ids.
const PAGE: &str = "docs/rows.md";

/// An id: the prefix, and the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id(&'static str, u32);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.0, self.1)
    }
}

/// The ids of a text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cited {
    /// Those that are written out.
    ids: BTreeSet<Id>,
    /// Ranges such as `S-30 to S-34`, of which not every number has to exist.
    ranges: BTreeSet<(Id, Id)>,
}

/// Compares the ids with the page.
pub(crate) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let cited = read(&root)?;
    let faults = faults(&cited, &page);
    if !faults.is_empty() {
        bail!("{PAGE} does not fit the ids that are cited:\n  {}", faults.join("\n  "));
    }
    println!("rows hold: {} ids", explained(&page).len());
    Ok(())
}

/// Prints the files that cite an id.
pub(crate) fn find(wanted: &str) -> Result<()> {
    let Some(wanted) = id(wanted) else { bail!("`{wanted}` is not an id of a row, such as S-62") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, _) in read(&root)?.iter().filter(|(_, cited)| cited.ids.contains(&wanted)) {
        println!("{}", path.display());
    }
    Ok(())
}

/// The ids by file. The page itself cites none.
fn read(root: &Path) -> Result<BTreeMap<PathBuf, Cited>> {
    let mut found = BTreeMap::new();
    for place in CITING {
        visit(&root.join(place), &mut |path, text| {
            let path = path.strip_prefix(root).unwrap_or(path);
            if path != Path::new(PAGE) {
                found.insert(path.to_owned(), cited(text));
            }
        })?;
    }
    Ok(found)
}

fn visit(path: &Path, found: &mut dyn FnMut(&Path, &str)) -> Result<()> {
    if path.is_dir() {
        if path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped)) {
            return Ok(());
        }
        for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
            visit(&entry?.path(), found)?;
        }
    } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|read| extension == *read)) {
        found(path, &fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(())
}

/// What is wrong with the page, for these files.
fn faults(cited: &BTreeMap<PathBuf, Cited>, page: &str) -> Vec<String> {
    let rows = explained(page);
    let mut faults = Vec::new();
    let mut before = BTreeSet::new();
    for (id, meaning) in &rows {
        if !before.insert(*id) {
            faults.push(format!("{id} has two rows"));
        }
        if meaning.is_empty() {
            faults.push(format!("{id} has no meaning"));
        }
        let in_range = |(first, last): &(Id, Id)| (first..=last).contains(&id);
        if !cited.values().any(|cited| cited.ids.contains(id) || cited.ranges.iter().any(in_range)) {
            faults.push(format!("{id} is not cited anywhere: remove its row"));
        }
    }
    for (path, cited) in cited {
        for id in cited.ids.difference(&before) {
            faults.push(format!("{} cites {id}, which has no row", path.display()));
        }
    }
    faults
}

/// The rows of the page: lines such as `| S-62 | meaning |`.
fn explained(page: &str) -> Vec<(Id, &str)> {
    let row = |line: &'_ str| -> Option<(Id, usize)> {
        let (first, _) = line.strip_prefix("| ")?.split_once(" |")?;
        Some((id(first)?, first.len() + 4))
    };
    let rows = page.lines().filter_map(|line| Some((line, row(line)?)));
    rows.map(|(line, (id, start))| (id, line[start..].trim().trim_end_matches('|').trim())).collect()
}

/// Ids as `S-62` in prose and as `s_62` at the beginning of names of tests.
fn cited(text: &str) -> Cited {
    let mut cited = Cited::default();
    let words: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    cited.ids.extend(words.iter().filter_map(|word| id(word).or_else(|| id_of_name(word))));
    for three in words.windows(3) {
        if let [first, "to", last] = three
            && let (Some(first), Some(last)) = (id(first), id(last))
        {
            cited.ranges.insert((first, last));
        }
    }
    cited
}

/// The id that a word is.
fn id(word: &str) -> Option<Id> {
    let (prefix, digits) = word.split_once('-')?;
    let prefix = *PREFIXES.iter().find(|known| **known == prefix)?;
    number(prefix, digits)
}

/// The id that the name of a test begins with.
fn id_of_name(word: &str) -> Option<Id> {
    let (prefix, rest) = word.split_once('_')?;
    let prefix = *PREFIXES.iter().find(|known| known.to_ascii_lowercase() == prefix)?;
    number(prefix, rest.split_once('_')?.0)
}

fn number(prefix: &'static str, digits: &str) -> Option<Id> {
    // P-256, P-384 and P-521 are curves.
    let most = if prefix == "P" { 2 } else { 3 };
    let is_number = (2..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().map(|number| Id(prefix, number))
}

#[cfg(test)]
mod tests;
