//! How old objects are, in kubectl's words (`HumanDuration` of apimachinery).

use jiff::Timestamp;
use serde_json::Value;

/// The column AGE of an object.
pub(super) fn age(object: &Value, now: Timestamp) -> String {
    let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    let created = created.and_then(|text| text.parse::<Timestamp>().ok());
    created.map_or_else(|| "<unknown>".to_owned(), |created| since(now.as_second().saturating_sub(created.as_second())))
}

/// So many seconds.
pub(super) fn since(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    let days = hours / 24;
    let two = |large: i64, unit: char, small: i64, lesser: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{lesser}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, 'd', hours % 24, 'h'),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        const HOUR: i64 = 3_600;
        const DAY: i64 = 24 * HOUR;
        let seconds = [
            -5,
            -1,
            0,
            119,
            120,
            125,
            599,
            600,
            179 * 60,
            3 * HOUR,
            3 * HOUR + 60,
            8 * HOUR - 1,
            8 * HOUR,
            48 * HOUR - 1,
            2 * DAY,
            7 * DAY + HOUR,
            8 * DAY,
            729 * DAY,
            730 * DAY,
            800 * DAY,
            8 * 365 * DAY,
        ];
        let words = [
            "<invalid>",
            "0s",
            "0s",
            "119s",
            "2m",
            "2m5s",
            "9m59s",
            "10m",
            "179m",
            "3h",
            "3h1m",
            "7h59m",
            "8h",
            "47h",
            "2d",
            "7d1h",
            "8d",
            "729d",
            "2y",
            "2y70d",
            "8y",
        ];
        assert_eq!(seconds.map(since), words);
    }
}
