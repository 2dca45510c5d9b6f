//! Hosts and paths: the host that routing goes by, and the path that is matched and sent on.

use crate::random::Random;
use text::Authority;
use wire::host::host_of;
use wire::path::{Normalization, has_dot_segment, has_escaped_slash, has_invalid_escape, normalise, split};

const MODES: [Normalization; 5] = [
    Normalization::None,
    Normalization::Base,
    Normalization::MergeSlashes,
    Normalization::DecodeAndMergeSlashes,
    Normalization::DecodeSlashes,
];

/// An authority and, behind the first space, a request target.
///
/// - A host is in lower case, has no octet that ends a host in a URI, and stays the same with another port and when it is read again.
/// - A normalised path begins with `/`, has no invalid escape, is visible ASCII, has no dot segment, and none of the slashes and escapes that
///   the mode merges and decodes. It stays the same when it is normalised again.
/// - Where slashes are decoded, the path has no dot segment for a backend that decodes every escape either.
///
/// Returns whether both are accepted.
pub fn host_and_path(data: &[u8]) -> bool {
    let mut random = Random::of(data);
    let mut parts = data.splitn(2, |octet| *octet == b' ');
    let (authority, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let host = check_host(authority, &mut random);
    let (path, query) = split(target);
    check_split(target, path, query);
    let mut accepted = 0;
    for mode in MODES {
        accepted += usize::from(check_path(path, mode));
    }
    host && accepted > 0
}

fn check_host(authority: &[u8], random: &mut Random) -> bool {
    let mut scratch = String::new();
    let Ok(host) = host_of(authority, &mut scratch) else {
        let text = std::str::from_utf8(authority);
        assert!(text.is_err() || text.is_ok_and(|text| Authority::parse(text).is_err()), "{text:?}");
        return false;
    };
    assert!(host.bytes().all(|octet| octet.is_ascii_graphic() && !octet.is_ascii_uppercase()), "{host:?}");
    assert!(!host.bytes().any(|octet| b"/?#@\\\"<>^`{|}".contains(&octet)), "{host:?}");
    assert!(host.starts_with('[') || !host.contains(':'), "{host:?}");
    let begins = authority.get(..host.len()).is_some_and(|start| start.eq_ignore_ascii_case(host.as_bytes()));
    assert!(begins, "{host:?} is not what the authority begins with");
    let with_port = format!("{host}:{}", random.below(65536));
    for again in [host, &with_port, &host.to_ascii_uppercase()] {
        assert_eq!(host_of(again.as_bytes(), &mut String::new()), Ok(host), "{again:?}");
    }
    if let Ok(parsed) = Authority::parse(&with_port) {
        assert_eq!(parsed.as_bytes(), with_port.as_bytes());
    }
    true
}

fn check_split(target: &[u8], path: &[u8], query: Option<&[u8]>) {
    assert!(!path.iter().any(|octet| matches!(octet, b'?' | b'#')));
    assert!(!query.is_some_and(|query| query.contains(&b'#')));
    let joined = query.map_or_else(|| path.to_vec(), |query| [path, b"?", query].concat());
    let rest = target.strip_prefix(&joined[..]);
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"#")), "{}", joined.escape_ascii());
}

fn check_path(path: &[u8], mode: Normalization) -> bool {
    let mut scratch = Vec::new();
    let Ok(normal) = normalise(path, mode, &mut scratch) else { return false };
    let text = || format!("{mode:?}: {}", normal.escape_ascii());
    let mut again = Vec::new();
    assert_eq!(normalise(normal, mode, &mut again), Ok(normal), "{}", text());
    if path == b"*" {
        return normal == path;
    }
    assert!(normal.starts_with(b"/"), "{}", text());
    assert!(!has_invalid_escape(normal), "{}", text());
    if mode == Normalization::None {
        assert_eq!(normal, path);
        return true;
    }
    assert!(normal.iter().all(|octet| octet.is_ascii_graphic() && *octet != b'\\'), "{}", text());
    assert!(!has_dot_segment(normal), "{}", text());
    if matches!(mode, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes) {
        assert!(normal == b"//" || !normal.windows(2).any(|two| two == b"//"), "{}", text());
    }
    if matches!(mode, Normalization::DecodeSlashes | Normalization::DecodeAndMergeSlashes) {
        assert!(!has_escaped_slash(normal), "{}", text());
        // What is an escape after this is none for a backend that decodes once.
        let decoded = decoded(normal);
        let is_dots = |segment: &[u8]| matches!(segment.split(|octet| *octet == b';').next(), Some(b"." | b".."));
        assert!(!decoded.split(|octet| matches!(octet, b'/' | b'\\')).any(is_dots), "{}", text());
    }
    true
}

/// The path with every escape decoded, once.
pub(crate) fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut out, mut rest) = (Vec::new(), path);
    while let [octet, behind @ ..] = rest {
        let escape = match (octet, behind) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*octet);
                rest = behind;
            }
        }
    }
    out
}
