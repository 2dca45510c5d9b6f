//! HTTP/1.1 by RFC 9112, without leniency: parses and writes heads, and decodes and encodes bodies.
//!
//! The framing of a message is parsed strictly, and written anew; it is never copied. A message that two readers could frame differently is
//! rejected.

pub mod body;
pub mod error;
pub(crate) mod fields;
mod message;
pub mod request;
pub mod response;
pub mod size;
pub mod write;

pub use body::{BodyReader, ChunkWriter, Step};
pub use error::{BodyError, HeadError};
pub use message::{BodyLength, HeadLimits, MAX_FIELDS, Underscores, Version};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use write::{
    OutFraming, RequestParts, ResponseParts, Style, write_request, write_request_in, write_response, write_response_in,
};
