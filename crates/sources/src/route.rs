//! Which folders have to be watched, so that a change of what is read is noticed: the folders themselves, and every folder on the way
//! to them, since a rename or another link there leads to other files.

use crate::inotify::Interest;
use crate::listing::Listing;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Links that are followed at most, as Linux does.
const MAX_LINKS: usize = 40;

/// What to watch for what was listed, for the roots, and for single files elsewhere.
pub(crate) fn interests<'a>(
    listing: &Listing,
    roots: impl Iterator<Item = &'a Path>,
    files: impl Iterator<Item = PathBuf>,
) -> BTreeMap<Arc<Path>, Interest> {
    let mut wanted: BTreeMap<Arc<Path>, Interest> = BTreeMap::new();
    let mut whole = |folder: Arc<Path>| wanted.entry(folder).or_default().all = true;
    listing.folders.values().for_each(|real| whole(Arc::clone(real)));
    for file in &listing.files {
        // Nearly all are in a folder that was listed; links may lead elsewhere.
        whole(Arc::clone(file.real_folder()));
    }
    let paths = roots.map(Path::to_owned).map(|path| (path, false)).chain(files.map(|path| (path, true)));
    for (path, is_file) in paths {
        let steps = steps(&path);
        let last = steps.len().saturating_sub(1);
        for (at, (folder, name)) in steps.into_iter().enumerate() {
            let interest = wanted.entry(folder.into()).or_default();
            interest.names.insert(name);
            interest.contents |= is_file && at == last;
        }
    }
    wanted
}

/// Each folder on the way to a path, with the name in it that leads on; links are followed, what is missing is taken to be there.
fn steps(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut steps = Vec::new();
    let mut at = if path.is_absolute() { PathBuf::from("/") } else { std::env::current_dir().unwrap_or_default() };
    let mut rest: VecDeque<PathBuf> = parts(path).collect();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match part.components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::Normal(name)) => {
                steps.push((at.clone(), name.to_owned()));
                let next = at.join(name);
                match fs::read_link(&next) {
                    Ok(target) if links < MAX_LINKS => {
                        links += 1;
                        parts(&target).rev().for_each(|part| rest.push_front(part));
                    }
                    Ok(_) | Err(_) => at = next,
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    steps
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    path.components().map(|part| PathBuf::from(part.as_os_str())).collect::<Vec<_>>().into_iter()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_folder_on_the_way_is_named_links_and_missing_ones_too() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(base.join("releases/1/config")).unwrap();
        symlink("releases/1", base.join("current")).unwrap();
        let inside: Vec<_> = steps(&base.join("current/config/gone"))
            .into_iter()
            .filter_map(|(folder, name)| {
                Some((folder.strip_prefix(&base).ok()?.to_owned(), name.into_string().unwrap()))
            })
            .map(|(folder, name)| format!("{}:{name}", folder.display()))
            .collect();
        assert_eq!(inside, [":current", ":releases", "releases:1", "releases/1:config", "releases/1/config:gone"]);
    }
}
