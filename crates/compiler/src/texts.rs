//! Texts that nearly every route has, kept once: with a hundred thousand routes an empty text each is megabytes.

use std::sync::{Arc, LazyLock};

static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| "/".into());
/// How many rules, and entries of `match` in each, have their field paths kept.
const KEPT: usize = 8;
static RULES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| {
    let entries = |rule| (0..KEPT).map(move |entry| rule_path(rule, Some(entry)));
    (0..KEPT).flat_map(|rule| std::iter::once(rule_path(rule, None)).chain(entries(rule))).map(Arc::from).collect()
});

/// A text, shared if it is one of the common ones.
pub(crate) fn shared(text: &str) -> Arc<str> {
    match text {
        "" => Arc::clone(&EMPTY),
        "/" => Arc::clone(&ROOT),
        other => other.into(),
    }
}

/// `http[rule]` or `http[rule].match[entry]`.
pub(crate) fn rule(rule: usize, entry: Option<usize>) -> Arc<str> {
    let kept = (rule < KEPT && entry.is_none_or(|entry| entry < KEPT)).then(|| {
        let within = entry.map_or(0, |entry| entry + 1);
        RULES.get(rule * (KEPT + 1) + within)
    });
    kept.flatten().cloned().unwrap_or_else(|| rule_path(rule, entry).into())
}

fn rule_path(rule: usize, entry: Option<usize>) -> String {
    match entry {
        None => format!("http[{rule}]"),
        Some(entry) => format!("http[{rule}].match[{entry}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::rule;

    #[test]
    fn kept_paths_are_those_that_are_written() {
        assert_eq!(&*rule(0, None), "http[0]");
        assert_eq!(&*rule(7, Some(7)), "http[7].match[7]");
        assert_eq!(&*rule(3, Some(0)), "http[3].match[0]");
        assert_eq!(&*rule(8, Some(9)), "http[8].match[9]");
    }
}
