//! The folder of a demo and its files, which are kept where they exist.

use anyhow::{Context, Result, bail};
use resources::set::ResourceSet;
use sources::FileReader;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The names of the example's files, by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) written: Vec<String>,
    pub(super) kept: Vec<String>,
}

impl Files {
    pub(super) fn put(
        &mut self,
        folder: &Path,
        name: &str,
        is_there: bool,
        text: impl FnOnce() -> Result<String>,
    ) -> Result<()> {
        if is_there {
            self.kept.push(name.to_owned());
            return Ok(());
        }
        let text = text()?;
        let path = folder.join(name);
        // A file that has come meanwhile is an error and no loss.
        let written = std::fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        self.written.push(name.to_owned());
        Ok(())
    }
}

/// The folder that is given, or a new one.
pub(super) fn folder(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = given {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        return Ok(folder.to_owned());
    }
    let name = format!("moongate-demo-{}", std::process::id());
    let first = std::env::temp_dir().join(&name);
    // Ids of processes recur, and what somebody else has left there is not this demo's.
    let others = (1..100).map(|number| std::env::temp_dir().join(format!("{name}-{number}")));
    for folder in std::iter::once(first.clone()).chain(others) {
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder.clone()).with_context(|| no_folder(&folder)),
        }
    }
    bail!("{}: it exists; choose another with --dir", no_folder(&first))
}

fn no_folder(folder: &Path) -> String {
    format!("cannot make the folder {}", folder.display())
}

/// What can be read in the folder; the gateway itself reports what cannot.
pub(super) fn objects(folder: &Path) -> Result<Arc<ResourceSet>> {
    let loaded = FileReader::new(vec![folder.to_owned()])?.refresh();
    Ok(loaded.map(|loaded| loaded.set).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_dir_the_folder_is_a_new_one() {
        let folders = [folder(None).unwrap(), folder(None).unwrap()];
        assert_ne!(folders[0], folders[1]);
        for folder in folders {
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
            std::fs::remove_dir(folder).unwrap();
        }
    }
}
