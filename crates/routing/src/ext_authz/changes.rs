//! What a service changes of a request that it allows, and of its response.

use crate::query;
use text::{FieldValue, HeaderName};
use wire::edit::{Edits, FieldEdit};
use wire::view::Fields;

/// Names that a service cannot write or remove: the host by which the request is routed, and what frames a message.
const PROTECTED: &[&str] = &[
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "te",
    "trailer",
    "http2-settings",
];
/// The header of a request that was allowed without a decision.
const FAILURE_MODE_ALLOWED: &str = "x-envoy-auth-failure-mode-allowed";
/// The most changes that are taken from one response.
const MAX_CHANGES: usize = 256;

/// What becomes of headers that are there (Envoy's `HeaderAppendAction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderAction {
    /// They stay.
    Append,
    /// If there is any, nothing is added.
    AddIfAbsent,
    /// They are replaced.
    Set,
    /// They are replaced; without any, nothing is added.
    SetIfPresent,
}

/// A header that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderChange {
    /// The name.
    pub name: HeaderName,
    /// The value.
    pub value: FieldValue<'static>,
    /// What becomes of those that are there.
    pub action: HeaderAction,
}

/// Changes to a request and to its response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Headers of the request, in their order.
    pub request: Vec<HeaderChange>,
    /// Headers that are removed from the request, after the others were written.
    pub remove: Vec<HeaderName>,
    /// Headers of the response to the client.
    pub response: Vec<HeaderChange>,
    /// Parameters of the query that are set.
    pub query_set: Vec<(Vec<u8>, Vec<u8>)>,
    /// Parameters of the query that are removed.
    pub query_remove: Vec<Vec<u8>>,
}

/// The name of a header that a service may write or remove; `None` for pseudo-headers, `Host`, and names that are none.
pub(super) fn free_name(name: &[u8]) -> Option<HeaderName> {
    let name = HeaderName::parse(std::str::from_utf8(name).ok()?).ok()?;
    (!PROTECTED.contains(&name.as_str())).then_some(name)
}

/// Header changes of one message, and the names whose values cannot be written: those headers are removed, so that what the client wrote is not
/// taken for the word of the service.
pub(super) fn checked<'a>(
    all: impl Iterator<Item = (&'a [u8], &'a [u8], HeaderAction)>,
) -> (Vec<HeaderChange>, Vec<HeaderName>) {
    let (mut changes, mut unwritable) = (Vec::new(), Vec::new());
    for (name, value, action) in all {
        let Some(name) = free_name(name) else { continue };
        match FieldValue::checked(value.to_vec()) {
            Some(value) => changes.push(HeaderChange { name, value, action }),
            None => unwritable.push(name),
        }
    }
    (changes, unwritable)
}

impl Changes {
    /// What a request gets that is allowed without a decision.
    pub fn failed_open() -> Self {
        let value = FieldValue::from("true");
        let name = HeaderName::parse(FAILURE_MODE_ALLOWED).ok();
        let request = name.map(|name| HeaderChange { name, value, action: HeaderAction::Set });
        Self { request: request.into_iter().collect(), ..Self::default() }
    }

    /// Bounds what one response changes.
    pub(super) fn bounded(mut self) -> Option<Self> {
        let all = [self.request.len(), self.remove.len(), self.response.len(), self.query_set.len()];
        let all = all.iter().sum::<usize>() + self.query_remove.len();
        self.request.shrink_to_fit();
        (all <= MAX_CHANGES).then_some(self)
    }

    /// Whether the request stays as it is.
    pub fn leaves_request(&self) -> bool {
        self.request.is_empty() && self.remove.is_empty() && !self.changes_query()
    }

    /// Whether the query is different.
    pub fn changes_query(&self) -> bool {
        !self.query_set.is_empty() || !self.query_remove.is_empty()
    }

    /// Adds the edits of the request, whose header lines are `fields` with the edits so far.
    pub fn edit_request<'a>(&'a self, fields: Fields<'_>, edits: &mut Edits<'a>) {
        write(&self.request, fields, edits);
        self.remove.iter().for_each(|name| edits.remove(name));
    }

    /// Adds the edits of the response, whose header lines are `fields` with the edits so far.
    pub fn edit_response<'a>(&'a self, fields: Fields<'_>, edits: &mut Edits<'a>) {
        write(&self.response, fields, edits);
    }

    /// The query of the request after the changes: parameters keep their order, a parameter that is set stands at the end.
    ///
    /// Names are compared as a backend reads them, without percent-encoding.
    pub fn query(&self, query: Option<&[u8]>) -> Option<Vec<u8>> {
        let is_changed = |name: &[u8]| {
            let name = decoded(name);
            self.query_remove.iter().any(|other| decoded(other) == name)
                || self.query_set.iter().any(|(other, _)| decoded(other) == name)
        };
        let mut joined: Vec<u8> = Vec::new();
        for parameter in query::parameters(query.unwrap_or_default()) {
            if !parameter.whole.is_empty() && !is_changed(parameter.name) {
                push(&mut joined, parameter.whole);
            }
        }
        for (at, (name, value)) in self.query_set.iter().enumerate() {
            let later = self.query_set.get(at + 1..).unwrap_or_default();
            let is_last = !later.iter().any(|(other, _)| other == name);
            if is_last && !self.query_remove.iter().any(|other| decoded(other) == decoded(name)) {
                push(&mut joined, &[escaped(name).as_slice(), b"=", &escaped(value)].concat());
            }
        }
        (!joined.is_empty()).then_some(joined)
    }
}

fn push(joined: &mut Vec<u8>, pair: &[u8]) {
    if !joined.is_empty() {
        joined.push(b'&');
    }
    joined.extend_from_slice(pair);
}

/// Encodes what would end a parameter or the target.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for octet in text {
        if octet.is_ascii_graphic() && !matches!(octet, b'&' | b'#') {
            out.push(*octet);
        } else {
            out.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
    out
}

/// Decodes `%XX` and `+`.
fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|octet| if *octet == b'+' { b' ' } else { *octet }).collect();
    query::decoded(&spaced).into_owned()
}

fn write<'a>(changes: &'a [HeaderChange], fields: Fields<'_>, edits: &mut Edits<'a>) {
    for change in changes {
        let HeaderChange { name, value, action } = change;
        let is_present = || is_present(name.as_str(), fields, &edits.fields);
        match action {
            HeaderAction::Append => edits.append(name, value.by_ref()),
            HeaderAction::Set => edits.set(name, value.by_ref()),
            HeaderAction::AddIfAbsent if !is_present() => edits.append(name, value.by_ref()),
            HeaderAction::SetIfPresent if is_present() => edits.set(name, value.by_ref()),
            HeaderAction::AddIfAbsent | HeaderAction::SetIfPresent => {}
        }
    }
}

/// Whether there is a header line of a name after the edits.
fn is_present(name: &str, fields: Fields<'_>, edits: &[FieldEdit<'_>]) -> bool {
    let last = edits.iter().rev().find(|edit| edit.name() == name);
    match last {
        Some(FieldEdit::Remove(_)) => false,
        Some(FieldEdit::Set(..) | FieldEdit::Append(..)) => true,
        None => fields.get(name).is_some(),
    }
}
