//! Numbers and times as people read them.

use std::time::Duration;

/// `1 object`, `2 objects`.
pub(crate) fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// `60s`, `1.5s`, `250ms`, `12.5µs`: to a thousandth of the unit.
pub(crate) fn time(duration: Duration) -> String {
    let (value, unit) = match duration.as_secs_f64() {
        seconds if seconds >= 1.0 || duration.is_zero() => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A text of somebody else on a terminal or in a line: what is not shown as itself becomes `?`.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if routing::is_hidden(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let shown = [0, 12_500, 250_000_000, 1_500_000_000, 60_000_000_000, 100_000_000_000]
            .map(|nanoseconds| time(Duration::from_nanos(nanoseconds)));
        assert_eq!(shown, ["0s", "12.5µs", "250ms", "1.5s", "60s", "100s"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "error")), ["0 errors", "1 error", "2 errors"]);
    }
}
