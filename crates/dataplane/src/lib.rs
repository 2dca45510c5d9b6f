//! From sockets to responses: listeners, workers, HTTP/1.1, the access log and counters.
//!
//! The program starts one [`DataPlane`], hands it every snapshot, and asks it to drain at the end. It knows of no resources, no
//! compiler and no files.
//!
//! From below: `limits`, `reasons`, the one table of causes; `metrics`, `log`; `tls`, what servers present; `conn`, what connections are made of; `http` and `tcp`, what is
//! spoken on them; `accept`, the worker's thread; `listeners` and `control`, the side that is not a worker's.

mod accept;
mod conn;
mod control;
mod entry;
mod http;
pub mod limits;
mod listeners;
mod log;
mod metrics;
mod reasons;
mod tcp;
mod tls;

pub use conn::TrustedProxies;
pub use control::{ApplyOutcome, DataPlane, Options};
pub use limits::{AddressLimits, Limits};
pub use listeners::{BindProblem, Inherited};
pub use log::{LogFormat, LogTarget};
pub use metrics::{Counters, Gauges, Labels};
pub use reasons::ReasonHeader;
