//! Heads of HTTP/2: laid out flat, so that everything behind sees them as it sees those of HTTP/1, and made anew for the other side.
//!
//! Framing, compression and flow control are the library's that reads and writes frames. Here is what RFC 9113 §8 says of messages:
//! pseudo-header fields, cookies, and headers that belong to one connection.

mod blocks;
mod read;
mod write;

pub use blocks::{BlockScan, PseudoFields};
pub use read::{FlatError, flatten_request, flatten_response, flatten_trailers};
pub use write::{request, response, trailers};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod translations;
