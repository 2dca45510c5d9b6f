//! What the tests of every crate share: the real program as a child, echo backends, a client that sends the bytes it is
//! told to, cases, Istio's recorded answers, and the forms of malformed requests. Only test code uses it.

pub mod backend;
pub mod client;
pub mod gateway;
pub mod numbers;
pub mod oracle;
pub mod outcome;
pub mod ports;
