//! The claims of the verified token of a request: what authorization, routing and headers ask about it (RA-04, VS-22).
//!
//! A request has the claims of one token at most: of several verified tokens Istio keeps the payload of one (see `authentication`).

use jose::Payload;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Claims whose text is a list of words in every token.
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// The claims of the verified token of a request; without a token there are none. A clone shares the payload.
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Option<Arc<Payload>>);

/// Claims are personal data: a debug format shows their names alone.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().flat_map(|payload| payload.keys())).finish()
    }
}

impl Claims {
    /// The claims of a verified payload. The text of the claims `scope`, `permission` and `space_delimited` becomes the list of its words,
    /// as in the metadata that Istio's policies read.
    pub fn new(mut payload: Payload, space_delimited: &[Arc<str>]) -> Self {
        for claim in SPACE_DELIMITED.into_iter().chain(space_delimited.iter().map(AsRef::as_ref)) {
            let Some(value) = payload.get_mut(claim) else { continue };
            let Value::String(text) = &*value else { continue };
            let words: Vec<Value> = text.split(' ').filter(|word| !word.is_empty()).map(Value::from).collect();
            if !words.is_empty() {
                *value = Value::Array(words);
            }
        }
        Self(Some(Arc::new(payload)))
    }

    /// Whether the request has no verified token.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value at a path of names, one for each level: `["a", "b"]` is the member `b` of the object `a`.
    pub fn value<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<&Value> {
        let mut names = path.into_iter();
        let first = self.0.as_ref()?.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_object()?.get(name))
    }

    /// The texts at a path: the text there, or each text of the list there. Other values (numbers, `true`, objects, and what is not a text
    /// in a list) are no texts: as in Istio, no condition matches them.
    pub fn texts<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> impl Iterator<Item = &str> {
        let (one, list) = match self.value(path) {
            Some(Value::String(text)) => (Some(text.as_str()), &[][..]),
            Some(Value::Array(list)) => (None, list.as_slice()),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(list.iter().filter_map(Value::as_str))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.value([name])?.as_str()
    }

    /// The issuer: `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// The subject: `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The identity that a token stands for, `iss/sub` (AP-09); none where the token lacks one of the two.
    pub fn principal(&self) -> Option<String> {
        Some(format!("{}/{}", self.issuer()?, self.subject()?))
    }

    /// The audiences: `aud`, a text or a list.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.texts(["aud"])
    }

    /// Who presents the token: `azp`.
    pub fn presenter(&self) -> Option<&str> {
        self.text("azp")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str, space_delimited: &[&str]) -> Claims {
        let space_delimited: Vec<Arc<str>> = space_delimited.iter().map(|claim| (*claim).into()).collect();
        Claims::new(serde_json::from_str(json).unwrap(), &space_delimited)
    }

    fn texts<'c>(claims: &'c Claims, path: &[&'c str]) -> Vec<&'c str> {
        claims.texts(path.iter().copied()).collect()
    }

    #[test]
    fn a_principal_needs_issuer_and_subject() {
        assert_eq!(claims(r#"{"iss": "https://a", "sub": "b"}"#, &[]).principal().as_deref(), Some("https://a/b"));
        for payload in [r#"{"iss": "a"}"#, r#"{"sub": "b"}"#, r#"{"iss": "a", "sub": 1}"#, "{}"] {
            assert_eq!(claims(payload, &[]).principal(), None, "{payload}");
        }
        assert_eq!(Claims::default().principal(), None);
    }

    #[test]
    fn audiences_are_a_text_or_a_list() {
        let audiences = |json| claims(json, &[]).audiences().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(audiences(r#"{"aud": "a b"}"#), ["a b"]);
        assert_eq!(audiences(r#"{"aud": ["a", "b", 1]}"#), ["a", "b"]);
        assert!(audiences(r#"{"aud": {"a": "b"}}"#).is_empty());
        assert!(audiences("{}").is_empty());
        assert_eq!(claims(r#"{"azp": "app"}"#, &[]).presenter(), Some("app"));
    }

    #[test]
    fn a_path_leads_through_objects_alone() {
        let claims =
            claims(r#"{"a": {"b": {"c": "x", "l": ["y", 1, null, "z"]}}, "a.b": "dot", "l": [{"b": "no"}]}"#, &[]);
        assert_eq!(texts(&claims, &["a", "b", "c"]), ["x"]);
        assert_eq!(texts(&claims, &["a", "b", "l"]), ["y", "z"]);
        assert_eq!(texts(&claims, &["a.b"]), ["dot"]);
        for path in [&["a", "b"][..], &["l", "b"], &["a", "b", "c", "d"], &["none"], &[]] {
            assert!(texts(&claims, path).is_empty(), "{path:?}");
        }
        assert_eq!(claims.value(["a", "b", "l"]).and_then(Value::as_array).map(Vec::len), Some(4));
    }

    #[test]
    fn numbers_and_booleans_are_no_texts() {
        let claims = claims(r#"{"n": 7, "b": true, "z": null, "s": ""}"#, &[]);
        for name in ["n", "b", "z"] {
            assert!(texts(&claims, &[name]).is_empty(), "{name}");
        }
        assert_eq!(texts(&claims, &["s"]), [""]);
    }

    #[test]
    fn words_of_a_space_delimited_claim_are_a_list() {
        let claims = claims(
            r#"{"scope": " read  write", "permission": "p", "roles": "a b", "other": "a b", "e": " "}"#,
            &["roles", "e"],
        );
        assert_eq!(texts(&claims, &["scope"]), ["read", "write"]);
        assert_eq!(texts(&claims, &["permission"]), ["p"]);
        assert_eq!(texts(&claims, &["roles"]), ["a", "b"]);
        assert_eq!(texts(&claims, &["other"]), ["a b"]);
        assert_eq!(texts(&claims, &["e"]), [" "]);
        let nested = self::claims(r#"{"a": {"scope": "read write"}, "permission": ["x y"]}"#, &[]);
        assert_eq!(texts(&nested, &["a", "scope"]), ["read write"]);
        assert_eq!(texts(&nested, &["permission"]), ["x y"]);
    }

    #[test]
    fn without_a_token_there_is_nothing() {
        let none = Claims::default();
        assert!(none.is_empty() && none.value(["iss"]).is_none() && none.audiences().next().is_none());
        let empty = claims("{}", &[]);
        assert!(!empty.is_empty());
        assert_eq!(format!("{:?}", claims(r#"{"iss": "secret"}"#, &[])), r#"{"iss"}"#);
    }
}
