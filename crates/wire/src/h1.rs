//! HTTP/1.1 as RFC 9112 has it, without leniency: heads in, bodies through, heads out.
//!
//! A message is framed here once, strictly, and written anew; nothing of its framing is ever copied through. What two readers
//! could take for different messages is refused.

pub mod body;
pub mod error;
pub(crate) mod fields;
mod message;
pub mod request;
pub mod response;
pub mod write;

pub use body::{BodyReader, ChunkWriter, Step};
pub use error::{BodyError, HeadError};
pub use message::{BodyLength, HeadLimits, MAX_FIELDS, Underscores, Version};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use write::{
    OutFraming, RequestParts, ResponseParts, Style, write_request, write_request_in, write_response, write_response_in,
};
