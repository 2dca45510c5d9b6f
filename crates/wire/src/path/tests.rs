//! Tests of paths: tables by row, and properties of how a backend interprets the forwarded path.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn normal(path: &str, mode: Normalization) -> Option<String> {
    let mut scratch = Vec::new();
    normalise(path.as_bytes(), mode, &mut scratch).ok().map(|path| String::from_utf8_lossy(path).into_owned())
}

#[test]
fn s_116_dot_segments_are_resolved_and_slashes_are_kept() {
    for (path, expected) in [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/..", "/"),
        ("/../x", "/x"),
        ("/a//b", "/a//b"),
        ("/a//../b", "/a/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/..;/b", "/b"),
        ("/a/..%3bx=1/b", "/b"),
        ("/a/.%3B", "/a/"),
        ("/a/..%3c/b", "/a/..%3c/b"),
        ("/a/x%3b../b", "/a/x%3b../b"),
        ("/a\\b", "/a/b"),
        ("/%61/b", "/a/b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%5Cb", "/a%5Cb"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/a%2561", "/a%2561"),
        ("/a|b^c", "/a%7Cb%5Ec"),
        ("/a.b/c..d", "/a.b/c..d"),
        ("/...", "/..."),
    ] {
        assert_eq!(normal(path, Normalization::Base).as_deref(), Some(expected), "{path}");
    }
    assert_eq!(normal("/a%00b", Normalization::Base), None);
    assert_eq!(normal("/a\0b", Normalization::Base), None);
}

#[test]
fn mc_02_slashes_are_merged_and_decoded_where_that_is_set() {
    assert_eq!(normal("//a///b", Normalization::MergeSlashes).as_deref(), Some("/a/b"));
    assert_eq!(normal("//", Normalization::MergeSlashes).as_deref(), Some("//"));
    assert_eq!(normal("/", Normalization::MergeSlashes).as_deref(), Some("/"));
    assert_eq!(normal("/a%2Fb", Normalization::MergeSlashes).as_deref(), Some("/a%2Fb"));
    assert_eq!(normal("/a%2F%5cb", Normalization::DecodeAndMergeSlashes).as_deref(), Some("/a/b"));
    assert_eq!(normal("/a/%2f../b", Normalization::DecodeAndMergeSlashes).as_deref(), Some("/a/b"));
    assert_eq!(normal("/a/../b%00", Normalization::None).as_deref(), Some("/a/../b%00"));
}

#[test]
fn pc_04_escaped_slashes_are_found_and_undone_by_themselves() {
    assert_eq!(normal("/a%2F/b//c", Normalization::DecodeSlashes).as_deref(), Some("/a//b//c"));
    assert!(["/a%2fb", "/a%5Cb", "/%2F"].iter().all(|path| has_escaped_slash(path.as_bytes())));
    assert!(["/a/b", "/a%20b", "/a%2"].iter().all(|path| !has_escaped_slash(path.as_bytes())));
}

#[test]
fn s_122_the_fragment_is_dropped() {
    assert_eq!(split(b"/a?x=1#f"), (&b"/a"[..], Some(&b"x=1"[..])));
    assert_eq!(split(b"/a#f?x"), (&b"/a"[..], None));
    assert_eq!(split(b"/a?"), (&b"/a"[..], Some(&b""[..])));
}

#[test]
fn any_path_gives_a_value_or_an_error_and_stays_rooted() {
    let mut seed = 7_u32;
    for _ in 0..20_000 {
        let mut path = b"/".to_vec();
        for _ in 0..seed % 12 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            path.push(b"/.%2eE5Cc;\\a0"[(seed >> 16) as usize % 13]);
        }
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        for mode in [Normalization::Base, Normalization::MergeSlashes, Normalization::DecodeAndMergeSlashes] {
            let mut scratch = Vec::new();
            if let Ok(once) = normalise(&path, mode, &mut scratch) {
                assert_eq!(once.first(), Some(&b'/'));
                let dots = |segment: &[u8]| matches!(segment, b"." | b"..");
                assert!(!once.split(|b| *b == b'/').any(dots), "{:?}", String::from_utf8_lossy(&path));
            }
        }
    }
}

const MODES: [Normalization; 5] = [
    Normalization::None,
    Normalization::Base,
    Normalization::MergeSlashes,
    Normalization::DecodeAndMergeSlashes,
    Normalization::DecodeSlashes,
];

#[test]
fn s_116_a_percent_that_starts_no_escape_is_refused_in_every_mode() {
    for path in [
        "/%%36%31dmin",
        "/%6%31dmin",
        "/x/%%32%65%%32%65/admin",
        "/%2%66admin",
        "/%%30%30",
        "/100%",
        "/a%2",
        "/a%zz",
        "/a%u0061",
        "/a%2%2f",
        "/%%%",
    ] {
        assert!(has_invalid_escape(path.as_bytes()), "{path}");
        assert!(MODES.iter().all(|mode| normal(path, *mode).is_none()), "{path}");
    }
    assert!(["/", "/%25", "/%2525", "/%c0%AF"].iter().all(|path| !has_invalid_escape(path.as_bytes())));
}

#[test]
fn dot_segments_are_found_in_all_their_forms() {
    for path in ["/a/..", "/./a", "/%2e", "/.%2E/a", "/a/..;x=1/b", "/a/..%3B/b", "/a/.;/b", "/a\\..\\b", "../a"] {
        assert!(has_dot_segment(path.as_bytes()), "{path}");
    }
    for path in ["/", "/a..", "/..a", "/...", "/a.b/c", "/%2e%2ea", "/;..", "/%2f.."] {
        assert!(!has_dot_segment(path.as_bytes()), "{path}");
    }
}

/// A path as a backend interprets it: every escape is decoded once, then dot segments are removed (RFC 3986 §5.2.4).
fn as_backends_read(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let [byte, behind @ ..] = rest {
        let (byte, behind) = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (u8::from_str_radix(std::str::from_utf8(&[*high, *low]).unwrap(), 16).unwrap(), behind)
            }
            (byte, behind) => (*byte, behind),
        };
        decoded.push(byte);
        rest = behind;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<_> = decoded.split(|byte| *byte == b'/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            b"." if last => kept.push(b""),
            b"." => {}
            b".." => {
                kept.pop();
                if last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    [&b"/"[..], &kept.join(&b'/')].concat()
}

/// Paths made of pieces that attacks use.
fn odd_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["%", "2", "5", "e", "6", "1", "F", "f", "/", ".", ";", "\\", "a", "d", "~"]),
        4 => prop::sample::select(vec!["%2e", "%2F", "%5c", "%25", "%61", "%3B", "%3f", "%C3%A9", "%20", "%36", "%31", "%00"]),
        2 => prop::sample::select(vec!["/admin", "..", "/../", "//", "%%32%65", "%%36%31", "%6%31", "%2%66", "dmin", "|", "^"]),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// The text of rules: characters that need no escape, and slashes.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~')
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]

    /// MC-02: if slashes are decoded, exact and prefix rules of plain characters see the same path as the backend.
    #[test]
    fn mc_02_backends_read_the_path_that_was_matched(path in odd_path()) {
        for mode in [Normalization::DecodeAndMergeSlashes, Normalization::DecodeSlashes] {
            let mut scratch = Vec::new();
            let Ok(sent) = normalise(path.as_bytes(), mode, &mut scratch) else { continue };
            let read = as_backends_read(sent);
            // A rule of plain characters matches at most up to the first other character.
            let seen = |path: &[u8]| path.iter().take_while(|byte| plain(**byte)).count();
            prop_assert_eq!(sent.get(..seen(sent)), read.get(..seen(&read)), "{} is sent as {:?}", path, String::from_utf8_lossy(sent));
            prop_assert_eq!(seen(sent) == sent.len(), seen(&read) == read.len(), "{}", path);
            prop_assert!(!has_dot_segment(&read), "{} is read as {:?}", path, String::from_utf8_lossy(&read));
        }
    }

    /// S-116: no escape is left that the mode decodes, and no new escape is formed.
    #[test]
    fn s_116_what_was_normalised_stays_as_it_is(path in odd_path()) {
        for mode in MODES {
            let mut scratch = Vec::new();
            let Ok(once) = normalise(path.as_bytes(), mode, &mut scratch) else { continue };
            prop_assert!(!has_invalid_escape(once));
            prop_assert!(mode == Normalization::None || !has_dot_segment(once), "{}", path);
            let mut again = Vec::new();
            prop_assert_eq!(normalise(once, mode, &mut again), Ok(once));
            let percents = |path: &[u8]| path.iter().filter(|byte| **byte == b'%').count();
            let written = path.bytes().filter(|byte| matches!(byte, b'|' | b'^')).count();
            prop_assert!(percents(once) <= percents(path.as_bytes()) + written);
        }
    }
}
