//! The access log, in Istio's default text format or as JSON with its keys (TE-05).
//!
//! A worker formats a line and hands it to one writing thread over a bounded channel; when that is full the line is dropped and
//! counted, and no request ever waits.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Istio's default text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
pub type LogTarget = Box<dyn Write + Send>;

/// A handle for workers.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    format: LogFormat,
}

/// What a line tells. Empty texts are written as `-`.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) start: SystemTime,
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) status: u16,
    pub(crate) flags: &'static str,
    pub(crate) details: &'a str,
    pub(crate) transport_failure: &'a str,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    pub(crate) upstream_time: Option<Duration>,
    pub(crate) forwarded_for: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) authority: &'a [u8],
    pub(crate) upstream_host: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) upstream_local: &'a str,
    pub(crate) downstream_local: &'a str,
    pub(crate) downstream_remote: &'a str,
    pub(crate) route_name: &'a str,
}

impl AccessLog {
    /// Starts the writing thread, which ends when the last handle is dropped.
    pub(crate) fn start(target: LogTarget, format: LogFormat, lines: usize) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(lines);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write_lines(target, &receiver))?;
        Ok(Self { lines: sender, dropped: Arc::default(), format })
    }

    /// Lines that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Hands a line over, if there is room.
    pub(crate) fn write(&self, record: &Record<'_>) {
        let line = match self.format {
            LogFormat::Text => text(record),
            LogFormat::Json => json(record),
        };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what waits, as much as there is at once, and then flushes.
fn write_lines(target: LogTarget, lines: &Receiver<Vec<u8>>) {
    let mut target = std::io::BufWriter::with_capacity(64 << 10, target);
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            // A log that cannot be written is no reason to stop serving.
            let _ = target.write_all(&line);
            next = lines.try_recv().ok();
        }
        let _ = target.flush();
    }
}

fn text(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.push(b'[');
    push_time(&mut out, record.start);
    out.extend_from_slice(b"] \"");
    push_quoted(&mut out, record.method);
    out.push(b' ');
    push_quoted(&mut out, record.path);
    let millis = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), |time| time.as_millis().to_string());
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let middle = format!(
        " HTTP/1.1\" {} {} {} - \"{}\" {} {} {} {} \"",
        record.status,
        record.flags,
        dash(record.details),
        dash(record.transport_failure),
        record.received,
        record.sent,
        record.duration.as_millis(),
        millis(record.upstream_time),
    );
    out.extend_from_slice(middle.as_bytes());
    for (at, value) in
        [record.forwarded_for, record.user_agent, record.request_id, record.authority].into_iter().enumerate()
    {
        if at > 0 {
            out.extend_from_slice(b"\" \"");
        }
        push_quoted(&mut out, value);
    }
    let end = format!(
        "\" \"{}\" {} {} {} {} - {}\n",
        dash(record.upstream_host),
        dash(record.cluster),
        dash(record.upstream_local),
        dash(record.downstream_local),
        dash(record.downstream_remote),
        dash(record.route_name),
    );
    out.extend_from_slice(end.as_bytes());
    out
}

/// A value inside of quotes; what could end them or the line is escaped.
fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        out.push(b'-');
    }
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f | 0x7f => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

fn json(record: &Record<'_>) -> Vec<u8> {
    let mut time = Vec::with_capacity(24);
    push_time(&mut time, record.start);
    let bytes = |value: &[u8]| match value {
        [] => serde_json::Value::Null,
        _ => String::from_utf8_lossy(value).into_owned().into(),
    };
    let words = |value: &str| bytes(value.as_bytes());
    let object = serde_json::json!({
        "start_time": bytes(&time),
        "method": bytes(record.method),
        "path": bytes(record.path),
        "protocol": "HTTP/1.1",
        "response_code": record.status,
        "response_flags": record.flags,
        "response_code_details": words(record.details),
        "connection_termination_details": serde_json::Value::Null,
        "upstream_transport_failure_reason": words(record.transport_failure),
        "bytes_received": record.received,
        "bytes_sent": record.sent,
        "duration": record.duration.as_millis() as u64,
        "upstream_service_time": record.upstream_time.map(|time| time.as_millis().to_string()),
        "x_forwarded_for": bytes(record.forwarded_for),
        "user_agent": bytes(record.user_agent),
        "request_id": bytes(record.request_id),
        "authority": bytes(record.authority),
        "upstream_host": words(record.upstream_host),
        "upstream_cluster": words(record.cluster),
        "upstream_local_address": words(record.upstream_local),
        "downstream_local_address": words(record.downstream_local),
        "downstream_remote_address": words(record.downstream_remote),
        "requested_server_name": serde_json::Value::Null,
        "route_name": words(record.route_name),
    });
    let mut line = object.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn push_time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Date { year, month, day, hour, minute, second, .. } = Date::of(since.as_secs());
    let millis = since.subsec_millis();
    out.extend_from_slice(
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z").as_bytes(),
    );
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

/// The value of a `Date` header.
pub(crate) type HttpDate = [u8; 29];

/// The value of a `Date` header (RFC 9110 §5.6.7).
pub(crate) fn http_date(seconds: u64) -> HttpDate {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Date { year, month, day, hour, minute, second, weekday } = Date::of(seconds);
    let weekday = DAYS.get(weekday).unwrap_or(&"");
    let month = MONTHS.get((month as usize).wrapping_sub(1)).unwrap_or(&"");
    let text = format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    // Every year with four digits gives this length.
    text.as_bytes().try_into().unwrap_or([b' '; 29])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            start: UNIX_EPOCH + Duration::from_millis(1_709_210_096_123),
            method: b"GET",
            path: b"/a\"b",
            status: 503,
            flags: "UF",
            details: "upstream_reset_before_response_started{connection_failure}",
            transport_failure: "",
            received: 1,
            sent: 2,
            duration: Duration::from_millis(3),
            upstream_time: None,
            forwarded_for: b"1.2.3.4",
            user_agent: b"",
            request_id: b"id",
            authority: b"a.test",
            upstream_host: "127.0.0.1:9001",
            cluster: "outbound|80||a.test",
            upstream_local: "",
            downstream_local: "127.0.0.1:80",
            downstream_remote: "127.0.0.1:5000",
            route_name: "r",
        }
    }

    #[test]
    fn te_05_the_text_is_istios() {
        assert_eq!(
            String::from_utf8(text(&record())).unwrap(),
            "[2024-02-29T12:34:56.123Z] \"GET /a\\\"b HTTP/1.1\" 503 UF upstream_reset_before_response_started{connection_failure} - \"-\" 1 2 3 - \
             \"1.2.3.4\" \"-\" \"id\" \"a.test\" \"127.0.0.1:9001\" outbound|80||a.test - 127.0.0.1:80 127.0.0.1:5000 - r\n"
        );
    }

    #[test]
    fn te_05_json_has_istios_keys() {
        let value: serde_json::Value = serde_json::from_slice(&json(&record())).unwrap();
        assert_eq!(value["response_flags"], "UF");
        assert_eq!(value["user_agent"], serde_json::Value::Null);
        assert_eq!(value.as_object().unwrap().len(), 24);
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(&http_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&http_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
    }
}
