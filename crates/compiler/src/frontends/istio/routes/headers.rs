//! `headers` blocks to [`HeaderChanges`] (VS-34, VS-38, VS-47).

use crate::code;
use crate::report::Notes;
use ir::{Authority, HeaderAppend, HeaderChanges, HeaderName, HeaderText, Operator};
use resources::spec::scalar::Text;
use resources::spec::virtual_service::{HeaderOperations, Headers};
use std::collections::BTreeMap;

/// What becomes of a header whose value cannot be made.
const LEFT_OUT: &str = "fix the value; until then the header is left out";

/// What one `headers` block asks for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Operations {
    pub(crate) request: HeaderChanges,
    pub(crate) response: HeaderChanges,
    /// `Host` or `:authority` that the request is to carry; `set` wins over `add` (VS-38).
    pub(crate) authority: Option<Authority>,
}

/// Compiles a block; `field` is its path.
pub(crate) fn compile_headers(headers: Option<&Headers>, field: &str, notes: &mut Notes) -> Operations {
    let mut operations = Operations::default();
    let Some(headers) = headers else { return operations };
    if let Some(request) = &headers.request {
        operations.request = changes(request, &format!("{field}.request"), notes);
        let mut authority = |block, of| authority(of, &format!("{field}.request.{block}"), notes);
        operations.authority = authority("set", &request.set).or_else(|| authority("add", &request.add));
    }
    if let Some(response) = &headers.response {
        operations.response = changes(response, &format!("{field}.response"), notes);
    }
    operations
}

/// Both at once: all removals, then all that is set, then all that is added; of either `first` comes first.
pub(crate) fn together(first: &HeaderChanges, then: &HeaderChanges) -> HeaderChanges {
    if then.is_empty() {
        return first.clone();
    }
    let mut write: Vec<_> = first.write.iter().chain(&then.write).cloned().collect();
    write.sort_by_key(|(_, _, append)| *append == HeaderAppend::Append);
    let more = then.remove.iter().filter(|name| !first.remove.contains(name));
    HeaderChanges::new(first.remove.iter().chain(more).cloned().collect(), write)
}

fn changes(operations: &HeaderOperations, field: &str, notes: &mut Notes) -> HeaderChanges {
    let (mut remove, mut write) = (Vec::new(), Vec::new());
    for (index, name) in operations.remove.iter().enumerate().filter(|(_, name)| !is_internal(name)) {
        remove.extend(parse_name(name, &format!("{field}.remove[{index}]"), notes));
    }
    for (block, of, append) in
        [("set", &operations.set, HeaderAppend::Overwrite), ("add", &operations.add, HeaderAppend::Append)]
    {
        for (name, value) in of.iter().filter(|(name, _)| !is_internal(name)) {
            let at = format!("{field}.{block}.{name}");
            let Some(name) = parse_name(name, &at, notes) else { continue };
            write.extend(parse_value(value, &at, notes).map(|value| (name, value, append)));
        }
    }
    HeaderChanges::new(remove, write)
}

/// VS-47: pseudo headers and `Host` are not headers here.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn authority(headers: &BTreeMap<Text, Text>, field: &str, notes: &mut Notes) -> Option<Authority> {
    let is_host = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let (name, value) = headers.iter().find(|(name, value)| is_host(name) && !value.is_empty())?;
    if value.contains('%') {
        let message = format!("the Host `{value}` is sent as it is: operators act in other headers only");
        notes.add(code::FIELD_NO_EFFECT, format!("{field}.{name}"), message);
    }
    let parsed = Authority::parse(value);
    parsed.map_err(|error| notes.add(code::BAD_HEADER, format!("{field}.{name}"), error.to_string())).ok()
}

fn parse_name(name: &str, field: &str, notes: &mut Notes) -> Option<HeaderName> {
    HeaderName::parse(name).map_err(|why| notes.add(code::BAD_HEADER, field, why.to_string())).ok()
}

/// `None` for what is left out. Envoy leaves out empty values as well.
fn parse_value(text: &str, field: &str, notes: &mut Notes) -> Option<HeaderText> {
    let value = HeaderText::parse(text)
        .map_err(|why| notes.add_with_help(code::BAD_HEADER, field, format!("`{text}`: {why}"), LEFT_OUT))
        .ok()?;
    if let HeaderText::Made(format) = &value {
        for operator in format.operators() {
            let message = match operator {
                Operator::Absent(name) => format!("the gateway has no value for the operator `{name}`"),
                operator if operator.is_for_log() => {
                    format!("the operator `{operator}` has a value only in the access log")
                }
                _ => continue,
            };
            let message = format!("`{text}`: {message}; it stays empty");
            notes.add_with_help(code::FIELD_NO_EFFECT, field, message, "leave the operator out");
        }
    }
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vs_47_values_are_checked_when_they_are_compiled() {
        let mut notes = Notes::default();
        let mut written = |text: &str| parse_value(text, "f", &mut notes).map(|value| value.to_string());
        assert_eq!(written("100%% sure").as_deref(), Some("100% sure"));
        assert_eq!(written("a %PROTOCOL%").as_deref(), Some("a %PROTOCOL%"));
        assert_eq!(written("%START_TIME(%s)%").as_deref(), Some("%START_TIME(%s)%"));
        assert_eq!(written("%DYNAMIC_METADATA(x)%").as_deref(), Some("%DYNAMIC_METADATA(x)%"));
        assert_eq!(written("a %TRAILER(x)%").as_deref(), Some("a %TRAILER(x)%"));
        assert_eq!(
            [written("50%"), written("%NOBODY%"), written("%START_TIME(%!)%"), written("")],
            [None, None, None, None]
        );
        let expected = [
            "`%DYNAMIC_METADATA(x)%`: the gateway has no value for the operator `DYNAMIC_METADATA(x)`; it stays empty",
            "`a %TRAILER(x)%`: the operator `TRAILER(x)` has a value only in the access log; it stays empty",
            "`50%`: `%` at character 3 begins an operator that does not end; write `%%` for a percent sign",
            "`%NOBODY%`: unknown operator `NOBODY` at character 1",
            "`%START_TIME(%!)%`: operator `START_TIME` at character 1 takes a valid `strftime` format",
        ];
        assert_eq!(notes.messages(), expected);
    }
}
