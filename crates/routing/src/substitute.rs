//! Values of Envoy's operators (`%NAME%`), in headers (VS-47) and in lines of the access log. The caller supplies the facts: the data plane, or
//! `explain`.

use crate::judge;
use ir::{AddressOf, Fact, FieldChoice, FieldName, Format, HeaderChanges, HeaderName, HeaderText, Operator, Part};
use std::borrow::Cow;
use text::FieldValue;
use wire::edit::{Edits, FieldEdit};
use wire::view::{Fields, RequestView};

/// The header with the client's address behind trusted proxies.
pub const EXTERNAL_ADDRESS: &str = "x-envoy-external-address";

/// The values of an exchange.
pub trait Facts {
    /// A header of the request as the client sent it, or for a response as it went to the backend; never `:status`.
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>>;

    /// The response's status and header lines, once there is one.
    fn response(&self) -> Option<(u16, Fields<'_>)>;

    /// Appends the value of an operator that is neither a request header nor path nor query; nothing where there is no value. Response headers
    /// and the status are asked for here where [`Facts::response`] has none.
    fn put(&self, operator: &Operator, out: &mut Vec<u8>);
}

/// A header of a request by its name, or what HTTP/2 has in place of one.
pub fn of_request<'a>(view: &RequestView<'a>, name: &FieldName) -> Option<Cow<'a, [u8]>> {
    Some(match name {
        FieldName::Method => Cow::Borrowed(view.method),
        FieldName::Authority => Cow::Borrowed(view.authority),
        FieldName::Scheme => Cow::Owned(view.scheme.as_bytes().to_vec()),
        FieldName::Path => view.target(),
        FieldName::Header(name) => Cow::Borrowed(view.fields.get(name.as_str())?),
        FieldName::Status => return None,
    })
}

/// The first value of a header after some changes.
pub fn edited<'a>(value: Option<Cow<'a, [u8]>>, edits: &'a [FieldEdit<'_>], name: &FieldName) -> Option<Cow<'a, [u8]>> {
    let FieldName::Header(name) = name else { return value };
    let mut value = value;
    for edit in edits.iter().filter(|edit| edit.name().eq_ignore_ascii_case(name.as_str())) {
        value = match edit {
            FieldEdit::Remove(_) => None,
            FieldEdit::Set(_, set) => Some(Cow::Borrowed(&**set)),
            FieldEdit::Append(_, added) => value.or(Some(Cow::Borrowed(&**added))),
        };
    }
    value
}

/// The value of a header; `None` if it is empty. `before` are the earlier edits, of the response if there is one.
pub(crate) fn value<'a>(text: &'a HeaderText, facts: &dyn Facts, before: &[FieldEdit<'_>]) -> Option<FieldValue<'a>> {
    match text {
        HeaderText::Fixed(value) => Some(value.into()),
        HeaderText::Made(format) => made(format, facts, before),
    }
}

fn made(format: &Format, facts: &dyn Facts, before: &[FieldEdit<'_>]) -> Option<FieldValue<'static>> {
    let mut out = Vec::with_capacity(64);
    for part in format.parts() {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Operator(operator, length) => put(operator, *length, facts, before, &mut out),
        }
    }
    // Names in certificates, of routes and of hosts may hold anything.
    Some(FieldValue::cleaned(out)).filter(|value| !value.is_empty())
}

/// Appends the value of an operator, cut to `length` octets; nothing where there is no value.
pub(crate) fn put(
    operator: &Operator,
    length: Option<usize>,
    facts: &dyn Facts,
    before: &[FieldEdit<'_>],
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    put_whole(operator, facts, before, out);
    if let Some(length) = length {
        out.truncate(begin.saturating_add(length));
    }
}

fn put_whole(operator: &Operator, facts: &dyn Facts, before: &[FieldEdit<'_>], out: &mut Vec<u8>) {
    match (operator, facts.response()) {
        (Operator::Request(choice), None) => put_field(choice, out, |name| edited(facts.request(name), before, name)),
        (Operator::Request(choice), Some(_)) => put_field(choice, out, |name| facts.request(name)),
        (Operator::Response(choice), Some((status, fields))) => put_field(choice, out, |name| match name {
            FieldName::Header(header) => edited(fields.get(header.as_str()).map(Cow::Borrowed), before, name),
            FieldName::Status => Some(Cow::Owned(status.to_string().into_bytes())),
            _ => None,
        }),
        (Operator::Fact(Fact::ResponseCode), Some((status, _))) => out.extend_from_slice(status.to_string().as_bytes()),
        (Operator::Path { .. } | Operator::Query(_), _) => {
            let Some(target) = facts.request(&FieldName::Path) else { return };
            let mut parts = target.splitn(2, |byte| *byte == b'?');
            let (path, query) = (parts.next().unwrap_or_default(), parts.next());
            out.extend_from_slice(match operator {
                Operator::Path { query: true } => &target,
                Operator::Query(name) => judge::parameter(name, query).unwrap_or_default(),
                _ => path,
            });
        }
        (Operator::Absent(_), _) => {}
        (other, _) => facts.put(other, out),
    }
}

fn put_field<'a>(choice: &FieldChoice, out: &mut Vec<u8>, value: impl Fn(&FieldName) -> Option<Cow<'a, [u8]>>) {
    let found = value(&choice.first).or_else(|| value(choice.other.as_ref()?));
    out.extend_from_slice(&found.unwrap_or_default());
}

/// Captures headers of a request after its edits.
pub fn capture_headers(
    names: &[FieldName],
    view: &RequestView<'_>,
    edits: &[FieldEdit<'_>],
) -> Vec<(FieldName, Vec<u8>)> {
    let value = |name: &FieldName| Some((name.clone(), edited(of_request(view, name), edits, name)?.into_owned()));
    names.iter().filter_map(value).collect()
}

/// Captures for the access log what edits change of a request. A header that is removed has an empty value.
pub fn capture_edited(names: &[FieldName], view: &RequestView<'_>, edits: &Edits<'_>) -> Vec<(FieldName, Vec<u8>)> {
    let value = |name: &FieldName| {
        let value = match name {
            FieldName::Path => edits.target.as_ref()?.to_vec(),
            FieldName::Authority => edits.authority?.as_str().as_bytes().to_vec(),
            FieldName::Header(header) => {
                let is_edited = edits.fields.iter().any(|edit| edit.name().eq_ignore_ascii_case(header.as_str()));
                is_edited
                    .then(|| edited(of_request(view, name), &edits.fields, name).unwrap_or_default().into_owned())?
            }
            FieldName::Method | FieldName::Scheme | FieldName::Status => return None,
        };
        Some((name.clone(), value))
    };
    names.iter().filter_map(value).collect()
}

/// Captures headers of a response after its edits.
pub fn capture_response(
    names: &[FieldName],
    status: u16,
    fields: Fields<'_>,
    edits: &[FieldEdit<'_>],
) -> Vec<(FieldName, Vec<u8>)> {
    let value = |name: &FieldName| {
        let value = match name {
            FieldName::Header(header) => edited(fields.get(header.as_str()).map(Cow::Borrowed), edits, name)?,
            FieldName::Status => Cow::Owned(status.to_string().into_bytes()),
            _ => return None,
        };
        Some((name.clone(), value.into_owned()))
    };
    names.iter().filter_map(value).collect()
}

/// The request headers that the edits of a response use: they are captured, since the request is no longer available then.
pub(crate) fn captured_headers<'a>(changes: impl Iterator<Item = &'a HeaderChanges>) -> Box<[FieldName]> {
    let mut names = Vec::new();
    let formats = changes.flat_map(|changes| &changes.write).filter_map(|(_, text, _)| match text {
        HeaderText::Made(format) => Some(format),
        HeaderText::Fixed(_) => None,
    });
    for operator in formats.flat_map(Format::operators) {
        match operator {
            Operator::Request(choice) => {
                names.extend([Some(&choice.first), choice.other.as_ref()].into_iter().flatten().cloned())
            }
            Operator::Path { .. } | Operator::Query(_) => names.push(FieldName::Path),
            Operator::Address(AddressOf::Client, _) => {
                names.extend(HeaderName::parse(EXTERNAL_ADDRESS).map(FieldName::Header))
            }
            _ => {}
        }
    }
    names.into()
}
