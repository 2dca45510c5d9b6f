//! Names and wildcards by the name that they match.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::HostPattern;

/// Values by name: the exact name, the longest wildcard, or `*` (S-14, S-34).
#[derive(Debug, Clone)]
pub(crate) struct NameIndex<T> {
    exact: HashMap<Box<str>, T, RandomState>,
    /// By the text behind the `*`, which begins with a dot.
    suffixes: HashMap<Box<str>, T, RandomState>,
    any: Option<T>,
    /// The longest wildcard.
    longest: usize,
}

impl<T> Default for NameIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), suffixes: HashMap::default(), any: None, longest: 0 }
    }
}

impl<T> NameIndex<T> {
    /// Adds a value, unless the name has one.
    pub(crate) fn put(&mut self, name: &HostPattern, value: T) {
        match name {
            HostPattern::Exact(name) => {
                self.exact.entry(name.as_ref().into()).or_insert(value);
            }
            HostPattern::Suffix(suffix) => {
                self.longest = self.longest.max(suffix.len());
                self.suffixes.entry(suffix.as_ref().into()).or_insert(value);
            }
            HostPattern::Any => self.any = self.any.take().or(Some(value)),
        }
    }

    /// The value of a name in lower case; `None` in place of a name is matched by `*` alone.
    pub(crate) fn get(&self, name: Option<&str>) -> Option<&T> {
        let found = name.and_then(|name| self.exact.get(name).or_else(|| self.wildcard(name)));
        found.or(self.any.as_ref())
    }

    fn wildcard(&self, name: &str) -> Option<&T> {
        if self.suffixes.is_empty() {
            return None;
        }
        suffixes(name, self.longest).find_map(|suffix| self.suffixes.get(suffix))
    }
}

/// What follows each dot of a name, dot included, from the longest to the shortest. Those longer than any wildcard are passed over
/// unseen: a name of thousands of dots costs no more than one of a few.
pub(crate) fn suffixes(name: &str, longest: usize) -> impl Iterator<Item = &str> {
    // A wildcard stands for at least one character, so that a name's own first dot does not count.
    let start = name.len().saturating_sub(longest).max(1);
    let dots = memchr::memchr_iter(b'.', name.as_bytes().get(start..).unwrap_or_default());
    dots.filter_map(move |at| name.get(start + at..))
}
