//! HTTP/2 heads: converted into flat ones, so that everything else sees them like HTTP/1 heads, and built for the other side.
//!
//! Framing, compression and flow control are done by the `h2` library. This module has the rules of RFC 9113 §8 about messages: pseudo-header
//! fields, cookies, and headers that belong to one connection.

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
