//! What a proxy has to know of gRPC: which requests are such, until when they are to be answered, and how an answer of its own is told.

use crate::grpc_web::{Call, Writing};
use std::fmt::Write;
use std::time::Duration;

/// gRPC's status of a request whose time is over.
pub const DEADLINE_EXCEEDED: u8 = 4;

/// What a client of gRPC speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// gRPC itself.
    Grpc,
    /// gRPC-Web, where that is translated.
    Web(Call),
}

impl Dialect {
    /// What a request says by the header that `get` finds; `web` is whether gRPC-Web is translated. `None` for what is no gRPC.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a [u8]>, web: bool) -> Option<Self> {
        let content_type = get("content-type")?;
        match (is_grpc(content_type), web) {
            (true, _) => Some(Self::Grpc),
            (false, true) => Call::of(content_type, get("accept")).map(Self::Web),
            (false, false) => None,
        }
    }

    /// The call, where it is translated.
    pub fn web(self) -> Option<Call> {
        match self {
            Self::Grpc => None,
            Self::Web(call) => Some(call),
        }
    }

    /// The content type of an answer that has no message.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web(Call { answer: Writing::Binary, .. }) => "application/grpc-web+proto",
            Self::Web(Call { answer: Writing::Text, .. }) => "application/grpc-web-text+proto",
        }
    }

    /// The status of HTTP that an answer of the gateway's own has: gRPC tells its own elsewhere, and browsers look at both.
    pub fn status(self, http: u16) -> u16 {
        match self {
            Self::Grpc => 200,
            Self::Web(_) => http,
        }
    }
}

/// Whether a request or an answer is gRPC, by its `content-type`: `application/grpc`, or that with a format behind `+`.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let named = content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"));
    named && matches!(content_type.get(16), None | Some(b'+' | b';'))
}

/// gRPC's status in place of one of HTTP, as gRPC's clients and Envoy translate it.
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

/// The status of HTTP in place of gRPC's, as Envoy translates it.
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

/// The time that a `grpc-timeout` gives: up to eight digits and a unit. `None` for what is none, and for zero, which is no limit (VS-39).
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

/// A text as `grpc-message` carries it: printable ASCII, all else and `%` as percent and two digits.
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
