//! The contents of the files that objects name, and which objects may name files: whoever reads one has to say for which object.

use crate::Map;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Contents of files by the path as objects write it; absent are those that cannot be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileContents {
    contents: Map<Arc<str>, Arc<[u8]>>,
    /// The namespace whose objects alone may name them; `None`: all objects may.
    only: Option<Arc<str>>,
}

impl FileContents {
    /// Files that any object may name: whoever writes the objects writes the files.
    pub fn of_all(contents: Map<Arc<str>, Arc<[u8]>>) -> Self {
        Self { contents, only: None }
    }

    /// Files that only objects of a namespace may name.
    pub fn only_of(self, namespace: Arc<str>) -> Self {
        Self { only: Some(namespace), ..self }
    }

    /// The contents of a file that an object of this namespace names. An error is the namespace whose objects alone may name files.
    pub fn get(&self, path: &str, namespace: &str) -> Result<Option<&Arc<[u8]>>, &str> {
        match &self.only {
            Some(only) if **only != *namespace => Err(only),
            _ => Ok(self.contents.get(path)),
        }
    }

    /// The paths of those that could be read.
    pub fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        self.contents.keys()
    }

    /// How many could be read.
    pub fn len(&self) -> usize {
        self.contents.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// The paths of files that differ, sorted; all of them where others may name them now.
    pub(crate) fn differing(&self, other: &Self) -> Vec<Arc<str>> {
        let mut paths = BTreeSet::new();
        for (here, there) in [(self, other), (other, self)] {
            let differs = |(path, content): &(&Arc<str>, &Arc<[u8]>)| {
                here.only != there.only || there.contents.get(*path) != Some(*content)
            };
            paths.extend(here.contents.iter().filter(differs).map(|(path, _)| Arc::clone(path)));
        }
        paths.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_namespace_are_for_no_object_of_another() {
        let contents: Map<Arc<str>, Arc<[u8]>> = [("a.pem".into(), Arc::from(&b"a"[..]))].into_iter().collect();
        let all = FileContents::of_all(contents);
        let only = all.clone().only_of("gateways".into());
        assert!(all.get("a.pem", "any").unwrap().is_some() && all.get("b.pem", "any").unwrap().is_none());
        assert!(only.get("a.pem", "gateways").unwrap().is_some());
        for namespace in ["any", "", "gateways2"] {
            assert_eq!(only.get("a.pem", namespace), Err("gateways"));
        }
        assert_eq!(all.differing(&only), ["a.pem".into()]);
        assert!(all.differing(&all).is_empty());
    }
}
