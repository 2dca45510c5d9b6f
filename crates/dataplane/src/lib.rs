//! From sockets to responses: listeners, workers, HTTP/1.1, the access log and counters.
//!
//! The program starts one [`DataPlane`], applies every snapshot to it, and drains it at the end. It depends on no resources, no compiler and no
//! files.
//!
//! From below: `limits`, `reasons`, the one table of causes; `tls`, TLS of clients; `stream_info`, what is known of a stream, and its sinks, `metrics`
//! `log` and `decision_log`; `keys` of issuers and `credentials` for destinations; `conn`, the parts of connections; `codec`, both sides
//! of an exchange; `ext_authz`, the calls to services for authorization; `http` and `tcp`, the protocols on them; `entry`, from a socket to its protocol; `accept`, the thread of a worker; `listeners` and `control`, the
//! control side.

mod accept;
mod codec;
mod conn;
mod control;
mod credentials;
mod date;
mod decision_log;
mod entry;
mod ext_authz;
mod http;
mod keys;
pub mod limits;
mod listeners;
mod log;
mod metrics;
mod reasons;
mod stream_info;
mod tcp;
mod tls;

pub use conn::TrustedProxies;
pub use control::{ApplyOutcome, DataPlane, Options};
pub use keys::KeysUnavailable;
pub use limits::{AddressLimits, Limits};
pub use listeners::{BindProblem, Inherited, listen};
pub use log::{LineTarget, LogTarget};
pub use metrics::{Counters, Gauges, Labels};
pub use reasons::ReasonHeader;
