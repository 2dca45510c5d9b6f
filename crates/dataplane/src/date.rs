//! Moments as texts: in `Date` headers and in the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use text::HttpDate;

/// The value of a `Date` header (RFC 9110 §5.6.7).
pub(crate) fn http_date(seconds: u64) -> HttpDate {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Date { year, month, day, hour, minute, second, weekday } = Date::of(seconds);
    let weekday = DAYS.get(weekday).unwrap_or(&"");
    let month = MONTHS.get((month as usize).wrapping_sub(1)).unwrap_or(&"");
    HttpDate::from_text(&format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"))
}

/// Appends a moment as `2024-02-29T12:34:56.123Z`.
pub(crate) fn push_time(out: &mut Vec<u8>, time: SystemTime) {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Date { year, month, day, hour, minute, second, .. } = Date::of(since.as_secs());
    push_number(out, year, 4);
    for (before, number) in [(b'-', month), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
        out.push(before);
        push_number(out, number, 2);
    }
    out.push(b'.');
    push_number(out, u64::from(since.subsec_millis()), 3);
    out.push(b'Z');
}

fn push_number(out: &mut Vec<u8>, number: u64, digits: u32) {
    for at in (0..digits).rev() {
        out.push(b'0' + (number / 10_u64.pow(at) % 10) as u8);
    }
}

/// A moment in UTC by the Gregorian calendar.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    weekday: usize,
}

impl Date {
    /// From the seconds since 1970. Years are counted from March, so that the leap day is the last of its year.
    fn of(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest % 3600 / 60,
            second: rest % 60,
            weekday: (days % 7) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(784_111_777).as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400).as_str(), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn moments_have_milliseconds() {
        let mut out = Vec::new();
        push_time(&mut out, UNIX_EPOCH + Duration::from_millis(1_709_210_096_007));
        assert_eq!(out, b"2024-02-29T12:34:56.007Z");
    }
}
