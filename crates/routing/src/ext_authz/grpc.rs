//! Envoy's gRPC service: the check and its response.

use super::changes::{Changes, HeaderAction, checked, free_name};
use super::request::{CheckedBody, CheckedConnection, CheckedRequest};
use super::{CheckVerdict, Denial, FORBIDDEN, PARTIAL_BODY};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use text::FieldValue;
use wire::ext_authz::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedResponse, HeaderValue, HeaderValueOption,
    HttpRequest, HttpResponse, OkResponse, Peer, RequestAttributes, SocketAddress, Timestamp, TlsSession,
};
use wire::forwarded;

/// The check of a connection whose bytes are passed on.
pub fn connection_check(connection: &CheckedConnection<'_>) -> CheckRequest {
    let CheckedConnection { source, destination, source_principal, destination_principal, sni } = *connection;
    let attributes = AttributeContext {
        source: Some(peer(Some(source), source_principal)),
        destination: Some(peer(destination, destination_principal)),
        request: None,
        context_extensions: BTreeMap::new(),
        tls_session: sni.map(|sni| TlsSession { sni: sni.to_owned() }),
    };
    CheckRequest { attributes: Some(attributes) }
}

/// The check of a request; `raw` sends the body as octets.
pub fn check(request: &CheckedRequest<'_>, raw: bool) -> CheckRequest {
    let mut check = connection_check(&request.connection);
    if let Some(attributes) = &mut check.attributes {
        attributes.request = Some(RequestAttributes { time: timestamp(request.time), http: Some(http(request, raw)) });
    }
    check
}

fn peer(address: Option<SocketAddr>, principal: &str) -> Peer {
    let address = address.map(|address| Address {
        socket_address: Some(SocketAddress {
            address: forwarded::plain_address(address).to_string(),
            port_value: u32::from(address.port()),
        }),
    });
    Peer { address, service: String::new(), principal: principal.to_owned() }
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp { seconds: i64::try_from(since.as_secs()).ok()?, nanos: since.subsec_nanos().cast_signed() })
}

fn http(request: &CheckedRequest<'_>, raw: bool) -> HttpRequest {
    let view = request.view;
    let (method, path, host) = (text(view.method), text(&view.target()), text(view.authority));
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in request.lines() {
        let name = text(name).to_ascii_lowercase();
        let separator = if name == "cookie" { "; " } else { "," };
        let value = text(&value);
        headers
            .entry(name)
            .and_modify(|joined| {
                joined.push_str(separator);
                joined.push_str(&value);
            })
            .or_insert(value);
    }
    for (name, value) in [(":method", &*method), (":path", &path), (":authority", &host), (":scheme", view.scheme)] {
        headers.insert(name.to_owned(), value.to_owned());
    }
    let (mut body, mut raw_body) = (String::new(), Vec::new());
    if let Some(CheckedBody { octets, is_partial }) = request.body {
        headers.insert(PARTIAL_BODY.to_owned(), is_partial.to_string());
        if raw {
            raw_body = octets.to_vec();
        } else {
            body = text(octets);
        }
    }
    HttpRequest {
        id: request.id.to_owned(),
        method,
        headers,
        path,
        host,
        scheme: view.scheme.to_owned(),
        size: request.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1),
        protocol: request.protocol.to_owned(),
        body,
        raw_body,
    }
}

/// Octets as text: what is not UTF-8 becomes `!`, as in Envoy.
fn text(octets: &[u8]) -> String {
    match String::from_utf8_lossy(octets) {
        std::borrow::Cow::Borrowed(text) => text.to_owned(),
        std::borrow::Cow::Owned(text) => text.replace(char::REPLACEMENT_CHARACTER, "!"),
    }
}

/// The decision in a response of the service.
pub fn verdict(response: CheckResponse) -> CheckVerdict {
    let is_ok = response.status.is_none_or(|status| status.code == 0);
    match (is_ok, response.http_response) {
        (true, Some(HttpResponse::Ok(ok))) => {
            changes(&ok).map_or(CheckVerdict::Error(None), |all| CheckVerdict::Allow(all.into()))
        }
        (true, _) => CheckVerdict::Allow(Box::default()),
        (false, Some(HttpResponse::Error(error))) => {
            let denial = denial(error);
            CheckVerdict::Error(Some(Box::new(denial)))
        }
        (false, Some(HttpResponse::Denied(denied))) => {
            let Denial { status, headers, body } = denial(denied);
            CheckVerdict::Deny(Box::new(Denial { status: Some(status.unwrap_or(FORBIDDEN)), headers, body }))
        }
        (false, Some(HttpResponse::Ok(_)) | None) => {
            CheckVerdict::Deny(Box::new(Denial { status: Some(FORBIDDEN), headers: Vec::new(), body: Vec::new() }))
        }
    }
}

fn denial(from: DeniedResponse) -> Denial {
    let DeniedResponse { status, headers, body } = from;
    let headers = headers.iter().filter_map(|option| {
        let header = option.header.as_ref()?;
        let value = FieldValue::checked(value_of(header).to_vec())?;
        Some((free_name(header.key.as_bytes())?, value))
    });
    let status = status.and_then(|status| Denial::valid_status(status.code));
    Denial { status, headers: headers.collect(), body: body.into_bytes() }
}

/// The changes; `None` if there are too many.
fn changes(ok: &OkResponse) -> Option<Changes> {
    fn listed(
        all: &[HeaderValueOption],
        unless_told: HeaderAction,
    ) -> impl Iterator<Item = (&[u8], &[u8], HeaderAction)> {
        all.iter().filter_map(move |option| {
            let header = option.header.as_ref()?;
            Some((header.key.as_bytes(), value_of(header), action(option, unless_told)))
        })
    }
    let octets = |text: &String| text.as_bytes().to_vec();
    let (request, unwritable) = checked(listed(&ok.headers, HeaderAction::Set));
    let (response, _) = checked(listed(&ok.response_headers_to_add, HeaderAction::Append));
    let removed = ok.headers_to_remove.iter().filter_map(|name| free_name(name.as_bytes()));
    Changes {
        request,
        remove: removed.chain(unwritable).collect(),
        response,
        query_set: ok.query_parameters_to_set.iter().map(|one| (octets(&one.key), octets(&one.value))).collect(),
        query_remove: ok.query_parameters_to_remove.iter().map(octets).collect(),
    }
    .bounded()
}

fn value_of(header: &HeaderValue) -> &[u8] {
    if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value }
}

/// The older field counts where it is there. `unless_told` stands for the action 0, which is also what a service sends that knows no actions.
fn action(option: &HeaderValueOption, unless_told: HeaderAction) -> HeaderAction {
    match (option.append, option.append_action) {
        (Some(true), _) => HeaderAction::Append,
        (Some(false), _) => HeaderAction::Set,
        (None, 0) => unless_told,
        (None, 1) => HeaderAction::AddIfAbsent,
        (None, 3) => HeaderAction::SetIfPresent,
        (None, _) => HeaderAction::Set,
    }
}
