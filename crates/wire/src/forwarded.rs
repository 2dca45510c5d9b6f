//! Headers that tell the backend about the client, and those of the client that are not trusted: S-111 to S-114, S-124.

use crate::edit::Edits;
use crate::view::Fields;
use std::net::{IpAddr, SocketAddr};
use text::{AddressText, FieldValue};

/// Headers that control Envoy or describe it: not accepted from outside of the mesh.
const INTERNAL: &[&str] = &[
    "x-envoy-internal",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-original-host",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-max-retries",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-is-timeout-retry",
    "x-envoy-attempt-count",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
];

/// Facts about a client's connection and its listener.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The client's address as text, formatted once per connection.
    pub address: &'a AddressText,
    /// The scheme of the connection itself, `http` or `https`.
    pub scheme: &'static str,
    /// The number of trusted proxies in front (`numTrustedProxies`).
    pub trusted_proxies: u32,
    /// The handling of `x-forwarded-client-cert` (S-113).
    pub certificate: Certificate<'a>,
    /// The port that the client connected to, if it is forwarded (S-114).
    pub port: Option<u16>,
}

/// The handling of the header with the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate<'a> {
    /// The received header is dropped.
    #[default]
    Drop,
    /// The received header is kept.
    Keep,
    /// The received header is replaced by this value.
    Set(&'a str),
    /// This value is appended to the received header.
    Append(&'a str),
}

/// An address, where an IPv4-mapped IPv6 address becomes IPv4.
pub fn plain_address(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// The scheme that the client used to the outermost trusted proxy (S-114).
pub fn scheme(peer: &Peer<'_>, fields: Fields<'_>) -> &'static str {
    if peer.trusted_proxies == 0 {
        return peer.scheme;
    }
    match fields.get("x-forwarded-proto") {
        Some(b"http") => "http",
        Some(b"https") => "https",
        _ => peer.scheme,
    }
}

/// The client's address (S-111): the n-th from the right of `X-Forwarded-For`, or the peer's if there are fewer.
pub fn client<'a>(peer: &Peer<'a>, fields: Fields<'a>) -> &'a str {
    client_behind(peer, fields).unwrap_or(peer.address.as_str())
}

/// The same, if it is not the address of the peer.
pub fn client_behind<'a>(peer: &Peer<'a>, fields: Fields<'a>) -> Option<&'a str> {
    let back = peer.trusted_proxies.checked_sub(1)?;
    // Several lines are one list (RFC 9110 §5.3).
    let lines = || fields.all("x-forwarded-for").filter(|line| !line.is_empty());
    let all = || lines().flat_map(|line| line.split(|byte| *byte == b','));
    let from_left = all().count().checked_sub(1 + back as usize);
    let found = from_left.and_then(|at| std::str::from_utf8(all().nth(at)?).ok()).map(str::trim);
    found.filter(|text| text.parse::<IpAddr>().is_ok() && *text.as_bytes() != **peer.address)
}

/// What a forward proxy removes from requests: credentials for itself, and what would tell others of the network behind it.
const OF_PROXY: [&str; 10] = [
    "proxy-authorization",
    "proxy-authenticate",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-client-cert",
    "x-real-ip",
    "x-envoy-external-address",
];

/// Adds the edits of every request of a forward proxy.
pub fn edit_proxied(edits: &mut Edits<'_>) {
    OF_PROXY.iter().for_each(|name| edits.remove(*name));
    edits.append("via", "1.1 moongate");
}

/// Adds the edits of every request of an edge gateway.
///
/// `request_id` is the id for a request without a trusted one; `None` leaves the header unchanged (PC-03).
pub fn edit<'a>(
    peer: &Peer<'a>,
    fields: Fields<'a>,
    scheme: &'static str,
    request_id: Option<FieldValue<'a>>,
    edits: &mut Edits<'a>,
) {
    let Received { forwarded_for, certificates, has_id, has_port } = received(peer, fields, edits);
    match forwarded_for {
        None => edits.set("x-forwarded-for", peer.address),
        Some(mut joined) => {
            joined.push(b',');
            joined.extend_from_slice(peer.address);
            edits.set_checked("x-forwarded-for", joined);
        }
    }
    if let Certificate::Set(own) | Certificate::Append(own) = peer.certificate {
        let mut all = certificates.unwrap_or_default();
        all.extend_from_slice(own.as_bytes());
        edits.set_checked("x-forwarded-client-cert", all);
    }
    edits.set("x-forwarded-proto", scheme);
    match client_behind(peer, fields) {
        None => edits.set("x-envoy-external-address", peer.address),
        Some(client) => edits.set_checked("x-envoy-external-address", client.as_bytes()),
    }
    if let Some(port) = peer.port.filter(|_| !has_port || peer.trusted_proxies == 0) {
        edits.set("x-forwarded-port", u64::from(port));
    }
    // An id from outside is kept only if a trusted proxy may have set it.
    if let Some(request_id) = request_id.filter(|_| !has_id || peer.trusted_proxies == 0) {
        edits.set("x-request-id", request_id);
    }
}

/// What a request has of the headers that [`edit`] writes.
#[derive(Default)]
struct Received {
    /// The lines of `x-forwarded-for` as one list.
    forwarded_for: Option<Vec<u8>>,
    /// The lines of `x-forwarded-client-cert` that are kept, each with a comma behind it.
    certificates: Option<Vec<u8>>,
    has_id: bool,
    has_port: bool,
}

/// Reads these headers, and removes those that no client may send.
#[inline]
fn received<'a>(peer: &Peer<'a>, fields: Fields<'a>, edits: &mut Edits<'a>) -> Received {
    let mut received = Received::default();
    for (name, value) in fields.iter() {
        // `x-request-id` and the internal ones have a common prefix; others are skipped early.
        if name.len() < 12 || !name.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'x')) {
            continue;
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("x-forwarded-for") {
            // As in Envoy, an empty line adds nothing to the list.
            if value.is_empty() {
                continue;
            }
            let joined = received.forwarded_for.get_or_insert_default();
            if !joined.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(value);
        } else if is("x-request-id") {
            received.has_id = true;
        } else if is("x-forwarded-port") {
            received.has_port = true;
        } else if is("x-forwarded-client-cert") {
            match peer.certificate {
                Certificate::Drop => edits.remove("x-forwarded-client-cert"),
                Certificate::Keep | Certificate::Set(_) => {}
                Certificate::Append(_) if value.is_empty() => {}
                Certificate::Append(_) => {
                    let joined = received.certificates.get_or_insert_default();
                    joined.extend_from_slice(value);
                    joined.push(b',');
                }
            }
        } else if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"x-envoy-"))
            && let Some(internal) = INTERNAL.iter().find(|internal| is(internal))
        {
            edits.remove(*internal);
        }
    }
    received
}

/// Sets `x-forwarded-host` to the client's host if the backend gets another one (S-114).
pub fn set_forwarded_host<'a>(authority: &'a [u8], fields: Fields<'a>, edits: &mut Edits<'a>) {
    if edits.authority.is_none() || authority.is_empty() {
        return;
    }
    let before: Vec<&[u8]> = fields.all("x-forwarded-host").collect();
    let last = before.last().and_then(|list| list.rsplit(|byte| *byte == b',').next());
    if last.is_some_and(|last| last.trim_ascii() == authority) {
        return;
    }
    let mut all = before.join(&b","[..]);
    if !all.is_empty() {
        all.push(b',');
    }
    all.extend_from_slice(authority);
    edits.set_checked("x-forwarded-host", all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::FieldEdit;
    use crate::h1::{HeadLimits, RequestHead};

    fn nines() -> AddressText {
        IpAddr::from([9, 9, 9, 9]).into()
    }

    fn edits_of(head: &str, trusted_proxies: u32) -> Vec<String> {
        edits_with(head, trusted_proxies, Certificate::Drop)
    }

    fn edits_with(head: &str, trusted_proxies: u32, certificate: Certificate<'_>) -> Vec<String> {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        let mut parsed = RequestHead::default();
        parsed.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
        let peer = Peer { address: &nines(), scheme: "http", trusted_proxies, certificate, port: None };
        let fields = parsed.fields(text.as_bytes());
        let mut edits = Edits::default();
        edit(&peer, fields, scheme(&peer, fields), Some("id".into()), &mut edits);
        let show = |edit: &FieldEdit<'_>| match edit {
            FieldEdit::Set(name, value) => format!("{}={}", name.as_str(), String::from_utf8_lossy(value)),
            other => format!("-{}", other.name()),
        };
        edits.fields.iter().map(show).collect()
    }

    #[test]
    fn s_111_the_peer_is_appended_and_its_claims_are_not_trusted() {
        let edits = edits_of(
            "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Envoy-Max-Retries: 3\r\nX-Forwarded-Client-Cert: By=x\r\n",
            0,
        );
        assert_eq!(
            edits,
            [
                "-x-envoy-max-retries",
                "-x-forwarded-client-cert",
                "x-forwarded-for=1.2.3.4,9.9.9.9",
                "x-forwarded-proto=http",
                "x-envoy-external-address=9.9.9.9",
                "x-request-id=id"
            ]
        );
    }

    #[test]
    fn s_111_empty_lines_add_nothing() {
        let edits = edits_of("X-Forwarded-For:\r\n", 0);
        assert_eq!(edits.first().map(String::as_str), Some("x-forwarded-for=9.9.9.9"));
        let edits = edits_of("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For:\r\nX-Forwarded-For: 2.2.2.2\r\n", 1);
        assert_eq!(edits.first().map(String::as_str), Some("x-forwarded-for=1.1.1.1,2.2.2.2,9.9.9.9"));
        assert!(edits.contains(&"x-envoy-external-address=2.2.2.2".to_owned()), "{edits:?}");
        let certificates = edits_with("X-Forwarded-Client-Cert:\r\n", 0, Certificate::Append("Hash=2"));
        assert!(certificates.contains(&"x-forwarded-client-cert=Hash=2".to_owned()), "{certificates:?}");
    }

    #[test]
    fn s_113_the_client_certificate_is_forwarded_as_configured() {
        let came = "X-Forwarded-Client-Cert: Hash=1\r\n";
        let edited = |certificate| {
            let edits = edits_with(came, 0, certificate);
            edits.into_iter().filter(|edit| edit.contains("client-cert")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(edited(Certificate::Drop), "-x-forwarded-client-cert");
        assert_eq!(edited(Certificate::Keep), "");
        assert_eq!(edited(Certificate::Set("Hash=2")), "x-forwarded-client-cert=Hash=2");
        assert_eq!(edited(Certificate::Append("Hash=2")), "x-forwarded-client-cert=Hash=1,Hash=2");
    }

    #[test]
    fn s_111_trusted_proxies_are_trusted() {
        let edits =
            edits_of("X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-Proto: https\r\nX-Request-Id: theirs\r\n", 2);
        assert_eq!(
            edits,
            ["x-forwarded-for=1.1.1.1, 2.2.2.2,9.9.9.9", "x-forwarded-proto=https", "x-envoy-external-address=1.1.1.1"]
        );
    }

    #[test]
    fn s_111_the_client_is_counted_from_the_right_over_all_lines() {
        let counted = |lines: &[&str], trusted_proxies| {
            let lines: String = lines.iter().map(|line| format!("X-Forwarded-For: {line}\r\n")).collect();
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let mut parsed = RequestHead::default();
            parsed.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
            let certificate = Certificate::Drop;
            let peer = Peer { address: &nines(), scheme: "http", trusted_proxies, certificate, port: None };
            client(&peer, parsed.fields(text.as_bytes())).to_owned()
        };
        let lines = ["1.1.1.1, 2.2.2.2", "3.3.3.3", "2001:db8::4"];
        let found: Vec<String> = (0..=5).map(|trusted| counted(&lines, trusted)).collect();
        assert_eq!(found, ["9.9.9.9", "2001:db8::4", "3.3.3.3", "2.2.2.2", "1.1.1.1", "9.9.9.9"]);
        // An invalid or missing entry is no address.
        assert_eq!(counted(&["1.1.1.1, unknown"], 1), "9.9.9.9");
        assert_eq!(counted(&[], 1), "9.9.9.9");
        assert_eq!(counted(&["1.1.1.1,"], 1), "9.9.9.9");
    }

    #[test]
    fn a_forward_proxy_removes_what_tells_of_the_network_behind_it() {
        let mut edits = Edits::default();
        edit_proxied(&mut edits);
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "proxy-authorization"] {
            assert!(
                edits.fields.iter().any(|edit| matches!(edit, FieldEdit::Remove(_)) && edit.name() == name),
                "{name}"
            );
        }
    }

    #[test]
    fn s_114_host_and_port_are_forwarded_if_configured() {
        let edited = |came: &str, trusted_proxies, rewritten: bool| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{came}\r\n");
            let mut parsed = RequestHead::default();
            parsed.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
            let (certificate, port) = (Certificate::Drop, Some(443));
            let peer = Peer { address: &nines(), scheme: "http", trusted_proxies, certificate, port };
            let fields = parsed.fields(text.as_bytes());
            let other = text::Authority::parse("b").unwrap();
            let mut edits = Edits { authority: rewritten.then_some(&other), ..Edits::default() };
            edit(&peer, fields, "http", None, &mut edits);
            set_forwarded_host(b"a", fields, &mut edits);
            let value = |name: &str| {
                let set = edits.fields.iter().find(|edit| edit.name() == name);
                set.map(|edit| match edit {
                    FieldEdit::Set(_, value) => String::from_utf8_lossy(value).into_owned(),
                    _ => "gone".to_owned(),
                })
            };
            [value("x-forwarded-host"), value("x-forwarded-port"), value("x-request-id")]
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(edited("", 0, false), [None, some("443"), None]);
        assert_eq!(edited("X-Forwarded-Port: 1\r\n", 0, true), [some("a"), some("443"), None]);
        assert_eq!(edited("X-Forwarded-Port: 1\r\nX-Forwarded-Host: c\r\n", 1, true), [some("c,a"), None, None]);
        assert_eq!(edited("X-Forwarded-Host: c, a\r\n", 1, true), [None, some("443"), None]);
    }
}
