//! Text that becomes part of a message head, as types: a value of one of them can be written without a further check.
//!
//! What each part of a head allows is decided here and nowhere else. `resources` parses configuration with these types, `ir` holds
//! them, and `wire` takes nothing else as an edit of a head, so that text made at run time (variables, substitutions, echoed
//! origins) passes the same functions. Nothing here knows a kind, a connection or a version of HTTP.
//!
//! Texts with Envoy's operators, which stand in headers and in formats of the access log, are parsed here too ([`mod@format`]).

mod authority;
mod cookie;
mod error;
mod field;
pub mod format;
mod header;
mod made;
mod octets;
mod path;

pub use authority::{Authority, AuthorityParts, authority_parts};
pub use cookie::{CookieName, CookieText};
pub use error::{Part, TextError};
pub use field::{FieldName, FieldValue};
pub use header::{HeaderName, HeaderValue};
pub use made::{AddressText, Decimal, HttpDate, MadeText, Uuid};
pub use octets::{is_token, is_value};
pub use path::{PathText, Target, escape_location};
