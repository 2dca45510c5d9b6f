//! Sans-io rules about bytes: HTTP/1 framing, heads and their edits, host and path normalisation, forwarded headers.
//!
//! There is no socket, clock or runtime here: the data plane passes bytes in, and gets decisions and bytes back. Every function that reads input
//! of a peer is total: any input gives a value or an error, never a panic.

pub mod address;
pub mod destination;
pub mod edit;
pub mod ext_authz;
pub mod forwarded;
pub mod grpc;
pub mod grpc_web;
pub mod h1;
pub mod h2;
pub mod hello;
pub mod host;
pub mod path;
pub mod proxy_protocol;
pub mod view;
