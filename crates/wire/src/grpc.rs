//! gRPC as a proxy has to know it: which requests are gRPC, their deadline, and the form of the gateway's own responses.

use crate::grpc_web::{Call, Writing};
use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;
use text::format::GrpcStatusFormat;

/// The gRPC status for an expired deadline.
pub const DEADLINE_EXCEEDED: u8 = 4;

/// The header or trailer with the status.
pub const STATUS: &str = "grpc-status";

/// The protocol of a gRPC client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// gRPC itself.
    Grpc,
    /// gRPC-Web, if it is translated.
    Web(Call),
}

impl Dialect {
    /// The protocol of a request, whose headers `get` finds; `web` enables the translation of gRPC-Web. `None` if the request is not gRPC.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a [u8]>, web: bool) -> Option<Self> {
        let content_type = get("content-type")?;
        match (is_grpc(content_type), web) {
            (true, _) => Some(Self::Grpc),
            (false, true) => Call::of(content_type, get("accept")).map(Self::Web),
            (false, false) => None,
        }
    }

    /// The call, if it is translated.
    pub fn web(self) -> Option<Call> {
        match self {
            Self::Grpc => None,
            Self::Web(call) => Some(call),
        }
    }

    /// The content type of a response without a message.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web(Call { answer: Writing::Binary, .. }) => "application/grpc-web+proto",
            Self::Web(Call { answer: Writing::Text, .. }) => "application/grpc-web-text+proto",
        }
    }

    /// The HTTP status of a response of the gateway's own. gRPC has its status in a header; browsers use both.
    pub fn status(self, http: u16) -> u16 {
        match self {
            Self::Grpc => 200,
            Self::Web(_) => http,
        }
    }
}

/// The names of statuses by number, in the two forms of Envoy's logs.
const STATUS_NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// The status of a response as a log states it, as in Envoy: `value` is its `grpc-status`, without which the HTTP status says it. A status that
/// is not defined is a number, and a value that is no number is -1.
pub fn status_text(value: Option<&[u8]>, http: u16, format: GrpcStatusFormat) -> Cow<'static, str> {
    let number = match value.filter(|value| !value.is_empty()) {
        None => Some(u64::from(status_of(http))),
        Some(value) => std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok()),
    };
    let Some(number) = number else { return Cow::Borrowed("-1") };
    let names = usize::try_from(number).ok().and_then(|number| STATUS_NAMES.get(number));
    match (names, format) {
        (Some((name, _)), GrpcStatusFormat::CamelCase) | (Some((_, name)), GrpcStatusFormat::SnakeCase) => {
            Cow::Borrowed(name)
        }
        (None, _) | (_, GrpcStatusFormat::Number) => Cow::Owned(number.to_string()),
    }
}

/// Whether a request or a response is gRPC, by its `content-type`: `application/grpc`, or that with `+` and a format.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let named = content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"));
    named && matches!(content_type.get(16), None | Some(b'+' | b';'))
}

/// The gRPC status for an HTTP status, as gRPC clients and Envoy map it.
pub fn status_of(http: u16) -> u8 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The HTTP status for a gRPC status, as Envoy maps it.
pub fn http_status_of(grpc: u8) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// Parses a `grpc-timeout`: up to eight digits and a unit. `None` if it is invalid, or zero, which is no limit (VS-39).
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number = digits
        .iter()
        .try_fold(0_u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))?;
    let time = match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    };
    (!time.is_zero()).then_some(time)
}

/// Encodes a text for `grpc-message`: printable ASCII stays, `%` and everything else is percent-encoded.
pub fn message(text: &[u8]) -> String {
    let mut message = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | ..b' ' | 0x7f.. => {
                // Writing to a string does not fail.
                let _ = write!(message, "%{byte:02X}");
            }
            _ => message.push(char::from(*byte)),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_grpc_by_its_content_type() {
        for yes in ["application/grpc", "application/grpc+proto", "Application/GRPC;charset=x"] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in ["application/grpc-web", "application/grpcx", "application/json", "application/grp", ""] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }

    /// Envoy's `GrpcStatusFormatter`.
    #[test]
    fn te_05_a_status_is_written_in_three_forms() {
        use GrpcStatusFormat::{CamelCase, Number, SnakeCase};
        let rows: &[(Option<&str>, u16, [&str; 3])] = &[
            (Some("0"), 200, ["OK", "OK", "0"]),
            (Some("1"), 200, ["Canceled", "CANCELLED", "1"]),
            (Some("3"), 503, ["InvalidArgument", "INVALID_ARGUMENT", "3"]),
            (Some("16"), 200, ["Unauthenticated", "UNAUTHENTICATED", "16"]),
            (Some("17"), 200, ["17", "17", "17"]),
            (Some("x"), 200, ["-1", "-1", "-1"]),
            (Some(""), 404, ["Unimplemented", "UNIMPLEMENTED", "12"]),
            (None, 503, ["Unavailable", "UNAVAILABLE", "14"]),
            (None, 200, ["Unknown", "UNKNOWN", "2"]),
        ];
        for (value, http, texts) in rows {
            let of = |format| status_text(value.map(str::as_bytes), *http, format);
            assert_eq!([CamelCase, SnakeCase, Number].map(of), *texts, "{value:?} {http}");
        }
    }

    #[test]
    fn timeouts_have_up_to_eight_digits_and_a_unit() {
        assert_eq!(timeout(b"1H"), Some(Duration::from_secs(3600)));
        assert_eq!(timeout(b"2M"), Some(Duration::from_secs(120)));
        assert_eq!(timeout(b"99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout(b"7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout(b"7n"), Some(Duration::from_nanos(7)));
        for none in ["", "S", "1", "0m", "123456789S", "1s", "-1S", "1 S", "\u{e9}S"] {
            assert_eq!(timeout(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn messages_are_printable() {
        assert_eq!(message("a b%\n\u{e9}~".as_bytes()), "a b%25%0A%C3%A9~");
    }
}
