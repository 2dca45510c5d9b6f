//! Paths as they are matched and forwarded: without fragment, and normalised as MeshConfig configures it (S-116, S-122, MC-02).

/// How a path is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalization {
    /// Not at all.
    None,
    /// Dot segments are resolved, `\` becomes `/`, and unnecessary escapes are decoded.
    Base,
    /// Also, runs of slashes become one.
    MergeSlashes,
    /// Also, `%2F` and `%5C` are decoded first.
    DecodeAndMergeSlashes,
    /// The same, except that runs of slashes are kept.
    DecodeSlashes,
}

impl Normalization {
    fn merges(self) -> bool {
        matches!(self, Self::MergeSlashes | Self::DecodeAndMergeSlashes)
    }

    fn decodes(self) -> bool {
        matches!(self, Self::DecodeAndMergeSlashes | Self::DecodeSlashes)
    }
}

/// Whether a path has `%2F` or `%5C`.
pub fn has_escaped_slash(path: &[u8]) -> bool {
    let is_one = |escape: &[u8]| escape.eq_ignore_ascii_case(b"%2f") || escape.eq_ignore_ascii_case(b"%5c");
    memchr::memchr(b'%', path).is_some() && path.windows(3).any(is_one)
}

/// The path cannot be normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path cannot be normalised")]
pub struct InvalidPath;

/// Whether a path has a `%` that does not start an escape (RFC 3986 §2.1).
///
/// Such a `%` and decoded characters after it may form a new escape (`/%%36%31dmin`), which the backend decodes after the rules were matched.
pub fn has_invalid_escape(path: &[u8]) -> bool {
    let digit = |at: usize| path.get(at).is_some_and(u8::is_ascii_hexdigit);
    memchr::memchr_iter(b'%', path).any(|at| !digit(at + 1) || !digit(at + 2))
}

/// Whether a path has a segment that backends resolve: `.` or `..`, also with escaped dots, or followed by parameters.
pub fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dot_segment)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while let [b'.', behind @ ..] | [b'%', b'2', b'e' | b'E', behind @ ..] = rest {
        rest = behind;
        dots += 1;
    }
    matches!(dots, 1 | 2) && matches!(rest, [] | [b';', ..] | [b'%', b'3', b'b' | b'B', ..])
}

/// Splits a target in origin form into path and query; a fragment is dropped (S-122).
pub fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let target = match memchr::memchr(b'#', target) {
        Some(at) => target.get(..at).unwrap_or_default(),
        None => target,
    };
    match memchr::memchr(b'?', target) {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    }
}

/// The normalised form of a path without query and fragment; `scratch` holds it if it differs from `path`.
///
/// `*` is unchanged. A `%` that does not start an escape is an error in every mode; a NUL, escaped or not, is one in the modes that decode, as
/// in Envoy. So each `%` of the result starts an escape of `path`, and none is an escape of a character that the mode decodes.
pub fn normalise<'a>(path: &'a [u8], mode: Normalization, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], InvalidPath> {
    if path == b"*" {
        return Ok(path);
    }
    if path.first() != Some(&b'/') {
        return Err(InvalidPath);
    }
    if mode == Normalization::None {
        return if has_invalid_escape(path) { Err(InvalidPath) } else { Ok(path) };
    }
    if is_normal(path, mode) {
        return Ok(path);
    }
    scratch.clear();
    let mut source = Source { path, at: 0, decode: mode.decodes() };
    while let Some(byte) = source.next()? {
        match byte {
            Unit::Slash if resolve_dots(scratch) => {}
            Unit::Slash => scratch.push(b'/'),
            Unit::Dot => scratch.push(b'.'),
            Unit::Byte(byte) => scratch.push(byte),
            Unit::Escape(escape) => scratch.extend_from_slice(&escape),
        }
    }
    resolve_dots(scratch);
    if mode.merges() {
        merge_slashes(scratch);
    }
    Ok(scratch)
}

/// Whether nothing would change, which holds for nearly every path.
fn is_normal(path: &[u8], mode: Normalization) -> bool {
    let mut before = 0;
    for &byte in path {
        let plain = match byte {
            b'.' => before != b'/',
            b'/' => !mode.merges() || before != b'/',
            b'%' | b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            0x21..=0x7e => true,
            _ => false,
        };
        if !plain {
            return false;
        }
        before = byte;
    }
    true
}

enum Unit {
    Slash,
    Dot,
    Byte(u8),
    Escape([u8; 3]),
}

struct Source<'a> {
    path: &'a [u8],
    at: usize,
    decode: bool,
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<Unit>, InvalidPath> {
        let Some(&byte) = self.path.get(self.at) else { return Ok(None) };
        self.at += 1;
        Ok(Some(match byte {
            b'/' | b'\\' => Unit::Slash,
            b'.' => Unit::Dot,
            b'%' => return self.escape().map(Some),
            0 => return Err(InvalidPath),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0..=0x20 | 0x7f.. => Unit::Escape(escaped(byte)),
            byte => Unit::Byte(byte),
        }))
    }

    /// Decodes escapes of letters, digits, `-`, `_`, `~` and dots, and of slashes in the modes that do; keeps others.
    fn escape(&mut self) -> Result<Unit, InvalidPath> {
        let (high, low) = (self.path.get(self.at).copied(), self.path.get(self.at + 1).copied());
        let (Some(high), Some(low)) = (high, low) else { return Err(InvalidPath) };
        let (Some(h), Some(l)) = (hex(high), hex(low)) else { return Err(InvalidPath) };
        self.at += 2;
        Ok(match h << 4 | l {
            0 => return Err(InvalidPath),
            b'.' => Unit::Dot,
            b'/' | b'\\' if self.decode => Unit::Slash,
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') => Unit::Byte(byte),
            _ => Unit::Escape([b'%', high, low]),
        })
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn escaped(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    [b'%', digit(byte >> 4), digit(byte & 15)]
}

/// Resolves the last segment if it is `.` or `..`; returns whether it was. The path then ends with the slash before the segment. Parameters
/// after a `;` do not hide such a segment, nor do those after an escaped `;`, which some backends decode first.
fn resolve_dots(out: &mut Vec<u8>) -> bool {
    let Some(slash) = memchr::memrchr(b'/', out) else { return false };
    let segment = out.get(slash + 1..).unwrap_or_default();
    let end = segment.iter().position(|byte| matches!(byte, b';' | b'%')).unwrap_or(segment.len());
    let (name, behind) = segment.split_at(end);
    if !matches!(behind, [] | [b';', ..] | [b'%', b'3', b'b' | b'B', ..]) {
        return false;
    }
    match name {
        b"." => out.truncate(slash + 1),
        b".." => {
            out.truncate(slash);
            let parent = memchr::memrchr(b'/', out).map_or(0, |at| at + 1);
            out.truncate(parent);
            if out.is_empty() {
                out.push(b'/');
            }
        }
        _ => return false,
    }
    true
}

/// Replaces runs of slashes by one. A path of only slashes keeps its first and its last, as in Envoy.
fn merge_slashes(out: &mut Vec<u8>) {
    let several = out.len() > 1;
    let mut before = 0;
    out.retain(|&byte| {
        let keep = !(byte == b'/' && before == b'/');
        before = byte;
        keep
    });
    if several && out.len() == 1 {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests;
