//! Header values with variables (VS-47). The caller supplies the values: the data plane, or `explain`.

use crate::{judge, rewrite};
use ir::{AddressOf, FieldChoice, FieldName, HeaderChanges, HeaderName, HeaderText, Part, Template, Variable};
use std::borrow::Cow;
use text::FieldValue;
use wire::edit::FieldEdit;
use wire::view::{Fields, RequestView};

/// The header with the client's address behind trusted proxies.
pub const EXTERNAL_ADDRESS: &str = "x-envoy-external-address";

/// The values of an exchange.
pub trait Facts {
    /// A header of the request as the client sent it, or for a response as it went to the backend; never `:status`.
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>>;

    /// The response's status and header lines, once there is one.
    fn response(&self) -> Option<(u16, Fields<'_>)>;

    /// Appends what a variable stands for that is neither header nor path nor query.
    fn put(&self, variable: &Variable, out: &mut Vec<u8>);
}

/// A header of a request by its name, or what HTTP/2 has in place of one.
pub fn of_request<'a>(view: &RequestView<'a>, name: &FieldName) -> Option<Cow<'a, [u8]>> {
    Some(match name {
        FieldName::Method => Cow::Borrowed(view.method),
        FieldName::Authority => Cow::Borrowed(view.authority),
        FieldName::Scheme => Cow::Owned(view.scheme.as_bytes().to_vec()),
        FieldName::Path => Cow::Owned(rewrite::with_query(view.path.to_vec(), view.query)),
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
        HeaderText::Made(template) => made(template, facts, before),
    }
}

fn made(template: &Template, facts: &dyn Facts, before: &[FieldEdit<'_>]) -> Option<FieldValue<'static>> {
    let mut out = Vec::with_capacity(64);
    for part in template.parts() {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Variable(variable) => put(variable, facts, before, &mut out),
        }
    }
    // Names in certificates, of routes and of hosts may hold anything.
    Some(FieldValue::cleaned(out)).filter(|value| !value.is_empty())
}

fn put(variable: &Variable, facts: &dyn Facts, before: &[FieldEdit<'_>], out: &mut Vec<u8>) {
    let response = facts.response();
    match variable {
        Variable::Request(choice) => put_field(choice, out, |name| match response {
            None => edited(facts.request(name), before, name),
            Some(_) => facts.request(name),
        }),
        Variable::Response(choice) => {
            let Some((status, fields)) = response else { return };
            put_field(choice, out, |name| match name {
                FieldName::Header(header) => edited(fields.get(header.as_str()).map(Cow::Borrowed), before, name),
                FieldName::Status => Some(Cow::Owned(status.to_string().into_bytes())),
                _ => None,
            });
        }
        Variable::ResponseCode => {
            let status = response.map(|(status, _)| status.to_string());
            out.extend_from_slice(status.unwrap_or_default().as_bytes());
        }
        Variable::Path { .. } | Variable::Query(_) => {
            let Some(target) = facts.request(&FieldName::Path) else { return };
            let mut parts = target.splitn(2, |byte| *byte == b'?');
            let (path, query) = (parts.next().unwrap_or_default(), parts.next());
            out.extend_from_slice(match variable {
                Variable::Path { query: true } => &target,
                Variable::Query(name) => judge::parameter(name, query).unwrap_or_default(),
                _ => path,
            });
        }
        Variable::Nothing => {}
        other => facts.put(other, out),
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

/// The request headers that the edits of a response use: they are captured, since the request is no longer available then.
pub(crate) fn captured_headers<'a>(changes: impl Iterator<Item = &'a HeaderChanges>) -> Box<[FieldName]> {
    let mut names = Vec::new();
    let templates = changes.flat_map(|changes| &changes.write).filter_map(|(_, text, _)| match text {
        HeaderText::Made(template) => Some(template),
        HeaderText::Fixed(_) => None,
    });
    for variable in templates.flat_map(Template::variables) {
        match variable {
            Variable::Request(choice) => {
                names.extend([Some(&choice.first), choice.other.as_ref()].into_iter().flatten().cloned())
            }
            Variable::Path { .. } | Variable::Query(_) => names.push(FieldName::Path),
            Variable::Address(AddressOf::Client, _) => {
                names.extend(HeaderName::parse(EXTERNAL_ADDRESS).map(FieldName::Header))
            }
            _ => {}
        }
    }
    names.into()
}
