//! The headers that tell a backend about a verified token (RA-04).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ir::HeaderName;
use ir::policy::Provider;
use jose::Token;
use serde_json::{Map, Value};
use text::FieldValue;

/// A header line with a checked value.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The header.
    pub name: HeaderName,
    /// The value.
    pub value: FieldValue<'static>,
}

/// The lines for a token. A value that a header may not have is left out.
pub(super) fn of(provider: &Provider, token: &Token<'_>) -> Vec<Output> {
    let payload = provider.payload_header.iter().map(|name| (name, token.encoded_payload().as_bytes().to_vec()));
    let claims = provider.claim_headers.iter().filter_map(|header| {
        let mut names = header.claim.iter();
        let first = token.payload().get(&**names.next()?)?;
        let value = names.try_fold(first, |value, name| value.as_object()?.get(&**name))?;
        Some((&header.name, text(value)?.into_bytes()))
    });
    let output =
        |(name, value): (&HeaderName, Vec<u8>)| Some(Output { name: name.clone(), value: FieldValue::checked(value)? });
    payload.chain(claims).filter_map(output).collect()
}

/// A claim as a header value: texts, numbers and truth values as they are, lists and objects as JSON in base64. Empty texts and `null` are
/// left out.
fn text(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()?) {
            (Some(whole), _) => whole.to_string(),
            (None, whole) if whole >= 0.0 && whole.fract() == 0.0 => format!("{whole:.0}"),
            (None, other) => format!("{other:.6}"),
        },
        Value::Array(_) | Value::Object(_) => {
            // The form of protobuf's JSON: names in order, and no angle brackets.
            let json = sorted(claim).to_string().replace('<', "\\u003c").replace('>', "\\u003e");
            STANDARD.encode(json)
        }
    };
    Some(text).filter(|text| !text.is_empty())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        Value::Object(object) => {
            let mut members: Vec<(&String, &Value)> = object.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            Value::Object(members.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ra_04_claims_become_texts_as_in_envoy() {
        let of = |json: &str| text(&serde_json::from_str(json).unwrap());
        for (json, expected) in [
            (r#""a b""#, Some("a b")),
            ("7", Some("7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("2.0", Some("2")),
            ("2.5", Some("2.500000")),
            ("-1", Some("-1.000000")),
            ("true", Some("true")),
            ("null", None),
            (r#""""#, None),
        ] {
            assert_eq!(of(json).as_deref(), expected, "{json}");
        }
        assert_eq!(of(r#"["admins", "b"]"#).as_deref(), Some("WyJhZG1pbnMiLCJiIl0="));
        assert_eq!(
            of(r#"{"role": "root", "list": ["a", "b"]}"#).as_deref(),
            Some("eyJsaXN0IjpbImEiLCJiIl0sInJvbGUiOiJyb290In0=")
        );
        assert_eq!(of(r#"["<"]"#), Some(STANDARD.encode(r#"["\u003c"]"#)));
    }
}
