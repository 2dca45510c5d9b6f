//! AP-06, S-116, MC-02: spellings of `/admin` against a `DENY` on it, in each normalisation of paths. Envoy's normalisation is written here once more,
//! as its documentation and source describe it, so that nothing passes that Istio stops.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward};
use crate::policies::{denying, of_requests, paths};
use ir::PathNormalization;
use std::collections::BTreeSet;

/// `admin` with some of its letters encoded.
fn cores() -> Vec<String> {
    let mut all = Vec::new();
    for chosen in 0..32_u8 {
        for upper in [false, true] {
            let letter = |(at, letter): (usize, char)| match chosen >> at & 1 {
                0 => letter.to_string(),
                _ if upper => format!("%{:02X}", letter as u8),
                _ => format!("%{:02x}", letter as u8),
            };
            all.push("admin".chars().enumerate().map(letter).collect());
        }
    }
    let others =
        ["ADMIN", "adm%49n", "%2561dmin", "%c1%a1dmin", "%e0%81%a1dmin", "%ef%bd%81dmin", "adm%0ain", "%00admin"];
    all.extend(others.map(str::to_owned));
    all.push("ad\\min".to_owned());
    all
}

const BEFORE: [&str; 22] = [
    "/",
    "//",
    "///",
    "/./",
    "/.//",
    "/x/../",
    "/x/y/../../",
    "/%2e/",
    "/%2E/",
    "/x/%2e%2e/",
    "/x/%2E./",
    "/x/.%2e/",
    "/%2f",
    "/%2F",
    "/%5c",
    "/\\",
    "/x\\..\\",
    "/x/..%2f",
    "/x/..%5C",
    "/x%2f../",
    "/%2e%2e/",
    "/..;/",
];
const BEHIND: [&str; 18] = [
    "",
    "/",
    "//",
    "/.",
    "/%2e",
    "/x",
    "/x/..",
    "/x/../",
    "/x/%2e%2e",
    "?x=1",
    "/?",
    "%2f",
    "%5c",
    "\\",
    ";x",
    "%3bx",
    "%20",
    ".",
];

/// All spellings: every core at a plain place, and a plain and an encoded core at every place.
fn spellings() -> BTreeSet<String> {
    let mut all: BTreeSet<String> = cores().iter().map(|core| format!("/{core}")).collect();
    for before in BEFORE {
        for behind in BEHIND {
            all.extend(["admin", "%61dmin", "adm%69n"].map(|core| format!("{before}{core}{behind}")));
        }
    }
    all.extend(
        ["http://a.test/admin", "HTTP://a.test/admin", "http://a.test//admin", "https://a.test/x/../admin"]
            .map(str::to_owned),
    );
    all
}

/// The path that Envoy's policies see; `None` where it refuses the request.
fn envoy(target: &str, mode: PathNormalization) -> Option<String> {
    let path = target.split('?').next().unwrap();
    let path = match path.to_ascii_lowercase().split_once("://") {
        Some((scheme, rest)) => &path[scheme.len() + 3 + rest.find('/').unwrap()..],
        None => path,
    };
    let mut path = path.to_owned();
    if matches!(mode, PathNormalization::DecodeAndMergeSlashes | PathNormalization::DecodeSlashes) {
        for (code, slash) in [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\")] {
            path = path.replace(code, slash);
        }
    }
    if mode != PathNormalization::None {
        path = without_dots(&unescaped(&path.replace('\\', "/"))?);
    }
    if matches!(mode, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes) {
        while path.contains("//") {
            path = path.replace("//", "/");
        }
    }
    Some(path)
}

/// Decodes what needs no encoding (RFC 3986 §2.3); NUL is refused.
fn unescaped(path: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3)?;
        let octet = u8::from_str_radix(code, 16).ok()?;
        match octet {
            0 => return None,
            _ if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) => out.push(octet as char),
            _ => out.push_str(&rest[at..at + 3]),
        }
        rest = &rest[at + 3..];
    }
    Some(out + rest)
}

/// Removes dot segments (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    out.pop();
                }
                if is_last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    format!("/{}", out.join("/"))
}

fn is_denied(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

/// The statuses of all spellings, in their order.
fn statuses(gateway: &Gateway, spellings: &BTreeSet<String>) -> Vec<u16> {
    let mut client: Option<Client> = None;
    let mut status = |target: &String| {
        let open = client.get_or_insert_with(|| gateway.client());
        let answer = open.get(target).answer();
        if answer.header("connection") == Some("close") {
            client = None;
        }
        answer.status
    };
    spellings.iter().map(&mut status).collect()
}

const MODES: [PathNormalization; 5] = [
    PathNormalization::None,
    PathNormalization::Base,
    PathNormalization::MergeSlashes,
    PathNormalization::DecodeAndMergeSlashes,
    PathNormalization::DecodeSlashes,
];

#[test]
fn ap_06_s_116_no_spelling_passes_a_deny_that_istio_stops() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let all = spellings();
    assert!(all.len() > 1000, "{}", all.len());
    let deny = of_requests(denying(paths(&["/admin", "/admin/*"])));
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).authorized(deny);
    let gateway = Gateway::serving(&setup);
    for mode in MODES {
        gateway.apply(&setup.clone().normalised(mode));
        let statuses = statuses(&gateway, &all);
        let of_istio: Vec<bool> = all.iter().map(|one| envoy(one, mode).is_none_or(|path| is_denied(&path))).collect();
        let passed = all.iter().zip(&statuses).zip(&of_istio);
        let passed: Vec<&String> =
            passed.filter(|((_, status), stops)| **stops && **status == 200).map(|((one, _), _)| one).collect();
        assert_eq!(passed, Vec::<&String>::new(), "{mode:?}");
        // The test is one of spellings that are stopped and of others that pass.
        let stopped = of_istio.iter().filter(|stops| **stops).count();
        let open = statuses.iter().filter(|status| **status == 200).count();
        assert!(stopped > 10 && open > 40, "{mode:?}: {stopped} stopped by Istio, {open} passed");
    }
    // What reached the backend is what was decided about: no spelling became the path that is denied.
    for head in backend.seen() {
        let target = head.split(' ').nth(1).unwrap();
        assert!(!is_denied(target.split('?').next().unwrap()), "{target}");
    }
}
