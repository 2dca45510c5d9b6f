//! The response of a service for external authorization.

use routing::ext_authz::{Changes, CheckVerdict, grpc};
use wire::edit::{Edits, FieldEdit};
use wire::ext_authz::CheckResponse;
use wire::view::Fields;

/// The octets as the message of a response.
///
/// - No edit of the request or of the response writes or removes a pseudo-header, `Host` or what frames a message, and no value ends its line.
/// - A query has only octets that a target may have.
/// - The status of a denial is one of a response.
///
/// Returns whether the octets are a message.
pub fn ext_authz(data: &[u8]) -> bool {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let frame = [&[0], &length.to_be_bytes()[..], data].concat();
    let Some(response) = CheckResponse::from_frame(&frame) else { return false };
    match grpc::verdict(response) {
        CheckVerdict::Allow(changes) => check_changes(&changes),
        CheckVerdict::Deny(denial) => {
            assert!(denial.status.is_some_and(|status| (200..600).contains(&status)));
            denial.headers.iter().for_each(|(name, value)| check_field(name.as_str(), value));
        }
        CheckVerdict::Error(None) => {}
        CheckVerdict::Error(Some(denial)) => {
            assert!(denial.status.is_none_or(|status| (200..600).contains(&status)));
            denial.headers.iter().for_each(|(name, value)| check_field(name.as_str(), value));
        }
    }
    true
}

fn check_changes(changes: &Changes) {
    let mut edits = Edits::default();
    changes.edit_request(Fields::new(&[], &[]), &mut edits);
    changes.edit_response(Fields::new(&[], &[]), &mut edits);
    for edit in &edits.fields {
        match edit {
            FieldEdit::Remove(name) => check_field(name.as_str(), b""),
            FieldEdit::Set(name, value) | FieldEdit::Append(name, value) => check_field(name.as_str(), value),
        }
    }
    assert!(edits.target.is_none() && edits.authority.is_none());
    let query = changes.query(None).unwrap_or_default();
    assert!(query.iter().all(|octet| octet.is_ascii_graphic() && *octet != b'#'), "{query:?}");
}

fn check_field(name: &str, value: &[u8]) {
    let framing = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te"];
    assert!(!name.is_empty() && !name.starts_with(':') && !framing.contains(&name), "{name}");
    assert!(!value.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)), "{value:?}");
}
