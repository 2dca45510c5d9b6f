//! Every head that a snapshot can produce, written by the serialisers of both versions and read again: none of them may be
//! anything else than one message, whatever the configuration had in its strings.

use ir::policy::{CheckProtocol, ExternalAuthorization, HttpCheck};
use ir::{Balancer, FieldName, Filter, HashKey, Operator, Route, Service, Snapshot};
use routing::ext_authz::{CheckedConnection, CheckedRequest};
use routing::{Facts, FilterState, LocalAnswer, RouteEntry, substitute};
use std::borrow::Cow;
use std::sync::Arc;
use wire::edit::Edits;
use wire::forwarded::{self, Certificate, Peer};
use wire::h1::response::RequestKind;
use wire::h1::{
    HeadLimits, OutFraming, RequestHead, RequestParts, ResponseHead, ResponseParts, write_request, write_response,
};
use wire::view::{Fields, RequestView};

/// What injected texts would become a header or a request line of.
pub(super) const MARK: &str = "x-smug";

const REQUEST: &str = "GET /api/x?q=1 HTTP/1.1\r\nHost: a.test:80\r\nX-In: 1\r\nOrigin: https://page.test\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nX-In: 2\r\nContent-Length: 0\r\n\r\n";

/// An exchange whose variables are as hostile as a certificate or a name can make them.
struct Hostile<'a>(&'a RequestView<'a>, Option<(u16, Fields<'a>)>);

impl Facts for Hostile<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        substitute::of_request(self.0, name)
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        self.1
    }

    fn put(&self, _: &Operator, out: &mut Vec<u8>) {
        out.extend_from_slice(b" \r\nx-smug: 1\r\n\r\nGET /SMUG\0\x7f ");
    }
}

/// Writes and reads every head of a snapshot; how many there were.
pub(super) fn check(snapshot: &Snapshot, from: &str) -> usize {
    let mut count = 0;
    for (id, table) in snapshot.tables.iter() {
        let server =
            snapshot.listeners.get(&id.listener).and_then(|listener| listener.mesh_settings.headers.server.clone());
        for host in table.hosts.values() {
            for route in host.routes.iter() {
                count += route_heads(route, server.as_ref(), from);
            }
        }
    }
    for listener in snapshot.listeners.values() {
        if let Some(ExternalAuthorization::Check(check)) = listener.policies.ext_authz.as_deref()
            && let CheckProtocol::Http(options) = &check.protocol
        {
            authorization_check(options, from);
            count += 1;
        }
        let services = listener.plain.iter().chain(listener.tls.iter().map(|server| &server.service));
        for service in services {
            if let Service::Tcp(route) = service
                && let Some(tunnel) = &route.tunnel
            {
                let authority = &tunnel.authority;
                request(format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n").as_bytes(), from);
                http::uri::Authority::try_from(authority.as_str()).unwrap();
                count += 1;
            }
        }
    }
    for cluster in snapshot.clusters.values() {
        if let Balancer::ConsistentHash(hash) = &cluster.balance.balancer
            && let Some(HashKey::Cookie(cookie)) = &hash.key
        {
            let attributes = cookie.attributes.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
            let texts = [cookie.name.as_str(), cookie.path.as_str()].into_iter().chain(attributes);
            texts.for_each(|text| assert!(text.bytes().all(|octet| (b' '..=b'~').contains(&octet) && octet != b';')));
            count += 1;
        }
    }
    count
}

/// The check of a request at a service for authorization.
fn authorization_check(options: &HttpCheck, from: &str) {
    let mut head = RequestHead::default();
    head.parse(REQUEST.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let view = RequestView {
        method: b"GET",
        scheme: "http",
        authority: b"a.test:80",
        host: "a.test",
        path: b"/api/x",
        query: Some(b"q=1"),
        fields: head.fields(REQUEST.as_bytes()),
        destination: None,
    };
    let client = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
    let checked = CheckedRequest {
        view: &view,
        edits: &[],
        protocol: "HTTP/1.1",
        id: "id",
        time: std::time::SystemTime::UNIX_EPOCH,
        connection: CheckedConnection {
            source: client,
            destination: None,
            source_principal: "",
            destination_principal: "",
            sni: None,
        },
        size: None,
        body: None,
    };
    let check = routing::ext_authz::http::check(options, &checked);
    let (parts, edits) = check.head();
    let mut out = Vec::new();
    write_request(&mut out, &parts, &edits);
    request(&out, from);
}

fn route_heads(route: &Arc<Route>, server: Option<&ir::HeaderValue>, from: &str) -> usize {
    let entry = RouteEntry::build(route, &mut |_| 0);
    let mut head = RequestHead::default();
    head.parse(REQUEST.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let fields = head.fields(REQUEST.as_bytes());
    let view = RequestView {
        method: b"GET",
        scheme: "http",
        authority: b"a.test:80",
        host: "a.test",
        // As a path is where nothing is normalised.
        path: "/api/é x\r\nx-smug: 1".as_bytes(),
        query: Some(b"q=1"),
        fields,
        destination: None,
    };
    let address = std::net::IpAddr::from([192, 0, 2, 1]).into();
    // The serialisers are given what parsers let through; only rewrites see the hostile path.
    let parts = RequestParts::of(&head, &RequestView { path: b"/api/x", ..view }, None);
    let mut count = 0;
    for target in 0..entry.targets.len().max(1) {
        let mut edits = Edits::default();
        let peer = Peer {
            address: &address,
            scheme: "http",
            trusted_proxies: 1,
            certificate: Certificate::Append("Subject=\"\r\nx-smug: 1\""),
            port: Some(80),
        };
        forwarded::edit(&peer, fields, "http", Some("id".into()), &mut edits);
        // A rewrite that gives no path that may be sent is answered 400.
        let Ok(rewritten) = entry.rewritten(&view) else { continue };
        entry.edit_request(target, rewritten, &view, &Hostile(&view, None), &mut edits);
        forwarded::set_forwarded_host(view.authority, fields, &mut edits);
        let mut out = Vec::new();
        write_request(&mut out, &parts, &edits);
        request(&out, from);
        if let Some(sent) = wire::h2::request(&parts, &edits, false) {
            assert!(!sent.headers().contains_key(MARK), "{from}: {sent:?}");
            assert!(sent.uri().to_string().bytes().all(|octet| octet.is_ascii_graphic()), "{from}: {sent:?}");
        }
        count += 2 + response_heads(&entry, target, &view, server, from);
    }
    if let Some(answer) = entry.local_answer(&view) {
        local(&entry, &answer, from);
        count += 1;
    }
    for filter in &*route.filters {
        let Filter::Cors(cors) = filter else { continue };
        let preflight = preflight();
        let answer = FilterState::default().run_cors(cors, b"OPTIONS", preflight.fields(PREFLIGHT.as_bytes()));
        if let Some(answer) = answer {
            local(&entry, &answer, from);
            count += 1;
        }
    }
    count
}

const PREFLIGHT: &str = "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nOrigin: https://page.test\r\n\
    Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n\r\n";

fn preflight() -> RequestHead {
    let mut head = RequestHead::default();
    head.parse(PREFLIGHT.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    head
}

fn response_heads(
    entry: &RouteEntry,
    target: usize,
    view: &RequestView<'_>,
    server: Option<&ir::HeaderValue>,
    from: &str,
) -> usize {
    let mut head = ResponseHead::default();
    head.parse(RESPONSE.as_bytes(), RequestKind::Other, &HeadLimits::default()).unwrap().unwrap();
    let fields = head.fields(RESPONSE.as_bytes());
    let mut state = FilterState::default();
    for filter in &*entry.config.filters {
        if let Filter::Cors(cors) = filter {
            state.run_cors(cors, b"GET", view.fields);
        }
    }
    let mut edits = Edits::default();
    if let Some(server) = server {
        edits.set("server", server);
    }
    routing::filter::edit_response(entry, target, &state, &Hostile(view, Some((200, fields))), &mut edits);
    written(fields, &edits, from);
    2
}

fn local(entry: &RouteEntry, answer: &LocalAnswer, from: &str) {
    let mut edits = Edits::default();
    if let Some(location) = &answer.location {
        edits.set("location", location.by_ref());
    }
    answer.fields.iter().for_each(|(name, value)| edits.set(*name, value.by_ref()));
    written(Fields::new(&[], &[]), &edits, from);
    assert!(entry.targets.is_empty() || answer.location.is_none());
}

/// A request is one, and has the lines that were written.
fn request(bytes: &[u8], from: &str) {
    let mut head = RequestHead::default();
    let shown = String::from_utf8_lossy(bytes);
    let length = head.parse(bytes, &HeadLimits::default()).unwrap_or_else(|error| panic!("{from}: {error}\n{shown}"));
    assert_eq!(length, Some(bytes.len()), "{from}: more than one request\n{shown}");
    lines(head.fields(bytes), bytes, from);
}

fn written(fields: Fields<'_>, edits: &Edits<'_>, from: &str) {
    let parts = ResponseParts {
        status: 200,
        fields,
        nominates: false,
        framing: OutFraming::Length(0),
        upgrade: None,
        close: false,
    };
    let mut bytes = Vec::new();
    write_response(&mut bytes, &parts, edits);
    let mut head = ResponseHead::default();
    let shown = String::from_utf8_lossy(&bytes);
    let parsed = head.parse(&bytes, RequestKind::Other, &HeadLimits::default());
    let length = parsed.unwrap_or_else(|error| panic!("{from}: {error}\n{shown}"));
    assert_eq!(length, Some(bytes.len()), "{from}: more than one response\n{shown}");
    lines(head.fields(&bytes), &bytes, from);
    assert!(!wire::h2::response(&parts, edits).headers().contains_key(MARK), "{from}");
}

fn lines(fields: Fields<'_>, bytes: &[u8], from: &str) {
    let shown = String::from_utf8_lossy(bytes);
    assert!(fields.get(MARK).is_none(), "{from}: a text became a header\n{shown}");
    let ends = bytes.iter().filter(|octet| **octet == b'\n').count();
    assert_eq!(ends, fields.len() + 2, "{from}: a text ended a line\n{shown}");
    let control = |octet: &u8| octet.is_ascii_control() && !b"\r\n\t".contains(octet);
    assert!(!bytes.iter().any(control), "{from}: a control octet was written\n{shown}");
    assert!(fields.iter().all(|(_, value)| value.trim_ascii() == value), "{from}: blanks around a value\n{shown}");
}
