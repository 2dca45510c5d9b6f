//! JSON Web Keys and JSON Web Tokens: which token is valid by which key, at which time. Pure: keys, texts and times come from the caller.
//!
//! Signatures are verified by `jsonwebtoken` with its engine on aws-lc; what is around a signature (the forms that are accepted, times,
//! audiences, the texts of failures) is Envoy's `jwt_authn` filter, stricter where a comment says so.

mod failure;
mod json;
mod key;
mod keys;
mod token;

pub use failure::Failure;
pub use keys::{Keys, KeysError};
pub use token::{MAX_TOKEN, Payload, Token, check_time};
