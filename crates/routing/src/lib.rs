//! Route tables built from `ir`: which rule matches a request, how its head is edited, and why.
//!
//! Everything is a pure function of a table and a view of the request, so that live requests, `explain` and tests use the same code. The data
//! plane and `explain` call the steps of [`decision`] and [`filter`] in the same order. The data plane asks
//! [`response_head::response_head`] what becomes of the head of a backend's response.

pub mod authentication;
pub mod authorization;
mod candidates;
pub mod claims;
pub mod cors;
pub mod decision;
pub mod explain;
pub mod ext_authz;
pub mod filter;
#[cfg(test)]
mod fixture;
pub mod forward;
mod host;
mod host_map;
pub mod judge;
pub mod log_line;
mod names;
pub mod prepare;
mod query;
pub mod response_head;
pub mod rewrite;
pub mod route;
pub mod servers;
pub mod substitute;
pub mod table;
pub mod tcp;

pub use claims::Claims;
pub use decision::{RequestContext, RouteAction, RouteError, RouteTarget};
pub use filter::FilterState;
pub use forward::{AllowList, RequestedDestination};
pub use host::HostTable;
pub use judge::{RouteMismatch, judge};
pub use log_line::{is_hidden, write_json_string};
pub use prepare::{NormalisedRequest, RawRequest, Refusal, Scratch, head_limits, prepare};
pub use response_head::{BackendHead, ClientFraming, ClientHead, ResponseContext, WebResponse};
pub use route::{LocalAnswer, RouteEntry, Slots, TargetEntry};
pub use servers::{ConnectionFacts, HostOwner, Servers};
pub use substitute::Facts;
pub use table::{Pick, Table};
pub use tcp::TcpEntry;
