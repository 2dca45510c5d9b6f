//! The HTTP form: the request itself, without its body, and what the response means.

use super::changes::{Changes, HeaderAction, checked, free_name};
use super::request::CheckedRequest;
use super::{CheckVerdict, Denial, PARTIAL_BODY};
use ir::policy::{HttpCheck, NamePattern};
use text::{FieldValue, HeaderName, Target};
use wire::edit::Edits;
use wire::h1::{OutFraming, RequestParts};
use wire::view::Fields;

/// The header of a response that names headers to be removed from the request.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";
/// Headers of a denying response that the client always gets.
const ALWAYS_ON_DENY: &[&str] = &["www-authenticate", "location"];
/// Headers that a response has of its own.
const OF_RESPONSE: &[&str] = &["date", "server", "x-envoy-upstream-service-time"];

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheckRequest {
    /// The method of the request.
    pub method: Vec<u8>,
    /// The target: the prefix and the path of the request.
    pub target: Target<'static>,
    /// The host of the request.
    pub authority: Vec<u8>,
    /// The headers.
    pub headers: Vec<(HeaderName, FieldValue<'static>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpCheckRequest {
    /// The head, as `wire` writes it.
    pub fn head(&self) -> (RequestParts<'_>, Edits<'_>) {
        let parts = RequestParts {
            method: &self.method,
            path: &self.target,
            query: None,
            authority: &self.authority,
            fields: Fields::new(&[], &[]),
            nominates: false,
            framing: OutFraming::Length(self.body.len() as u64),
            upgrade: None,
            close: false,
        };
        let mut edits = Edits::default();
        for (name, value) in &self.headers {
            edits.append(name, value.by_ref());
        }
        (parts, edits)
    }
}

/// The check of a request.
pub fn check(options: &HttpCheck, request: &CheckedRequest<'_>) -> HttpCheckRequest {
    let prefix = options.path_prefix.as_ref().map_or(&[][..], |prefix| prefix.as_bytes());
    let is_added = |name: &[u8]| {
        options.additional_headers.iter().any(|(other, _)| name.eq_ignore_ascii_case(other.as_str().as_bytes()))
    };
    let is_sent = |name: &[u8]| name.eq_ignore_ascii_case(b"authorization") || matches(&options.request_headers, name);
    let mut headers: Vec<(HeaderName, FieldValue<'static>)> = request
        .lines()
        .filter(|(name, _)| is_sent(name) && !is_added(name) && !name.eq_ignore_ascii_case(PARTIAL_BODY.as_bytes()))
        .filter_map(|(name, value)| Some((free_name(name)?, FieldValue::checked(value)?.into_owned())))
        .collect();
    let added = options.additional_headers.iter();
    headers.extend(added.map(|(name, value)| (name.clone(), FieldValue::from(value).into_owned())));
    let mut body = Vec::new();
    if let Some(checked) = request.body {
        let is_partial = FieldValue::from(if checked.is_partial { "true" } else { "false" });
        headers.extend(HeaderName::parse(PARTIAL_BODY).ok().map(|name| (name, is_partial)));
        body.extend_from_slice(checked.octets);
    }
    HttpCheckRequest {
        method: request.view.method.to_vec(),
        target: Target::escaped([prefix, request.view.path].concat(), request.view.query),
        authority: request.view.authority.to_vec(),
        headers,
        body,
    }
}

/// The decision in a response of the service: 200 allows, 5xx is an error, everything else denies.
pub fn verdict(options: &HttpCheck, status: u16, fields: Fields<'_>, body: &[u8]) -> CheckVerdict {
    match status {
        200 => {
            changes(options, fields).map_or(CheckVerdict::Error(None), |changes| CheckVerdict::Allow(Box::new(changes)))
        }
        201..500 => {
            let headers = fields.iter().filter_map(|(name, value)| {
                let kept = match options.to_downstream_on_deny.is_empty() {
                    true => !OF_RESPONSE.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())),
                    false => {
                        matches(&options.to_downstream_on_deny, name)
                            || ALWAYS_ON_DENY.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
                    }
                };
                let name = free_name(name).filter(|_| kept)?;
                Some((name, FieldValue::checked(value)?.into_owned()))
            });
            CheckVerdict::Deny(Box::new(Denial {
                status: Some(status),
                headers: headers.collect(),
                body: body.to_vec(),
            }))
        }
        _ => CheckVerdict::Error(None),
    }
}

/// The changes; `None` if there are too many.
fn changes(options: &HttpCheck, fields: Fields<'_>) -> Option<Changes> {
    let names = fields.all(TO_REMOVE).flat_map(|value| value.split(|octet| *octet == b',')).map(<[u8]>::trim_ascii);
    let (request, unwritable) = checked(written(&options.to_upstream_on_allow, fields));
    let (response, _) = checked(written(&options.to_downstream_on_allow, fields));
    let remove = names.filter_map(free_name).chain(unwritable).collect();
    Changes { request, remove, response, ..Changes::default() }.bounded()
}

/// Headers that match: the first of a name replaces those that are there.
fn written<'a>(
    patterns: &'a [NamePattern],
    fields: Fields<'a>,
) -> impl Iterator<Item = (&'a [u8], &'a [u8], HeaderAction)> {
    let matching = move || fields.iter().filter(|(name, _)| matches(patterns, name)).enumerate();
    matching().map(move |(at, (name, value))| {
        let is_first = !matching().take(at).any(|(_, (earlier, _))| earlier.eq_ignore_ascii_case(name));
        (name, value, if is_first { HeaderAction::Set } else { HeaderAction::Append })
    })
}

fn matches(patterns: &[NamePattern], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}
