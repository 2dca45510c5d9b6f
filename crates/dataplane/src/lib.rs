//! From sockets to responses: listeners, workers, HTTP/1.1, the access log and counters.
//!
//! The program starts one [`DataPlane`], hands it every snapshot, and asks it to drain at the end. It knows of no resources, no
//! compiler and no files.

mod accept;
mod conn;
mod control;
mod http;
pub mod limits;
mod listeners;
mod log;
mod metrics;

pub use control::{ApplyOutcome, BindProblem, DataPlane, Options};
pub use limits::Limits;
pub use log::{LogFormat, LogTarget};
