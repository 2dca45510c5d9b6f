//! What is known of a stream: an exchange of HTTP, a connection that is passed through, or a failed handshake. The access log and the metrics are
//! sinks of it ([`StreamSink`]): each receives every stream once, when it has ended. Header values use the same facts. No module that fills or reads
//! it is imported: of this crate only `date`, `reasons` and `tls`.
//!
//! Which clock starts and ends where:
//!
//! ```text
//!             head of the     fault    end of the    head of the     end of the
//!             request         delay    request       response        response
//!             |---------------|--------|-------------|---------------|
//!  started    *..............................................................  DURATION, metrics, START_TIME
//!  counted                    *..............................................  deadline of a gRPC client, `maxStreamDuration`,
//!                                                                              `httpRequestTimeout` (to the end of the request)
//!  timeout_start              *--------*.....................................  timeout of the route: counts from `counted` while the request
//!                                                                              is incomplete, and anew from its end (VS-39)
//!  request_end                         *
//!  response_begin                                    *
//!             |<------ REQUEST_DURATION |            |<RESPONSE_TX_DURATION->|
//!             |<------------ RESPONSE_DURATION ----->|
//!                                      |<----------->|                         x-envoy-upstream-service-time
//! ```
//!
//! An attempt has two further clocks, in `http::attempt`: that of `perTryTimeout`, from the moment that the whole request was sent, and that of a head
//! or trailer section, from its first octet.

mod facts;
mod finished;
mod info;
mod policies;

pub(crate) use facts::{OutcomeFacts, StreamFacts};
pub(crate) use finished::{FinishedRequest, FinishedStream, NoRequest, StreamKind, StreamSink};
pub(crate) use info::{LoggedResponse, StreamInfo};
pub(crate) use policies::{CheckResult, DryRunResult, PolicyResult};
