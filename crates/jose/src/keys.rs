//! A set of keys (RFC 7517), and the verification of a signature by it.

use crate::failure::Failure;
use crate::json;
use crate::key::Key;
use crate::token::Token;
use serde_json::Value;
use thiserror::Error;

/// Octets of a set of keys.
const MAX_OCTETS: usize = 1 << 20;
/// Keys of a set. A token that names no key is tried with each, so that they are work for whoever sends one.
const MAX_KEYS: usize = 64;

/// A set of public keys.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    unusable: Vec<String>,
}

/// Why a text is not a set of keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    /// Larger than 1 MiB.
    #[error("it is larger than 1 MiB")]
    Size,
    /// Not a JSON object, or a name stands twice in one.
    #[error("it is not a JSON object, or a name stands in it twice")]
    Json,
    /// `keys` is missing or not a list.
    #[error("it has no list `keys`")]
    NoList,
    /// More than 64 keys.
    #[error("it has {0} keys, more than the {MAX_KEYS} allowed")]
    Count(usize),
    /// No key can be used.
    #[error("it has no key that can be used{}", reasons(.0))]
    NoneUsable(Vec<String>),
}

fn reasons(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) }
}

impl Keys {
    /// Reads a set. Keys that cannot be used (for encryption, of an unknown type) are passed over, as long as one can.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        if text.len() > MAX_OCTETS {
            return Err(KeysError::Size);
        }
        let set = json::object(text.as_bytes()).ok_or(KeysError::Json)?;
        let Some(Value::Array(list)) = set.get("keys") else { return Err(KeysError::NoList) };
        if list.len() > MAX_KEYS {
            return Err(KeysError::Count(list.len()));
        }
        let mut keys = Self::default();
        for (number, jwk) in list.iter().enumerate() {
            match jwk.as_object().ok_or_else(|| "it is not an object".to_owned()).and_then(Key::parse) {
                Ok(key) => keys.keys.push(key),
                Err(reason) => keys.unusable.push(format!("keys[{number}]: {reason}")),
            }
        }
        if keys.keys.is_empty() { Err(KeysError::NoneUsable(keys.unusable)) } else { Ok(keys) }
    }

    /// Why keys were passed over, one text for each.
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// Whether a key has this name.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Verifies the signature of a token: by the keys with its `kid`, or by all where it or a key has none, each by the algorithms of its type.
    pub fn verify(&self, token: &Token<'_>) -> Result<(), Failure> {
        let mut matched = false;
        for key in &self.keys {
            let other_name = matches!((&token.kid, &key.kid), (Some(wanted), Some(kid)) if **wanted != **kid);
            if other_name || key.alg.as_deref().is_some_and(|alg| *alg != *token.alg) {
                continue;
            }
            matched = true;
            if key.verifies(&token.alg, token.message.as_bytes(), &token.signature) {
                return Ok(());
            }
        }
        Err(match () {
            () if self.keys.is_empty() => Failure::NoKeys,
            () if matched => Failure::Signature,
            () => Failure::NoMatchingKey,
        })
    }
}
