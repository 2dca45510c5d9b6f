//! An API server as a source: what is kept, what is kept although the server fails, and what absence is proven by.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cluster;
mod failures;
mod files;
mod first;
mod kept;
mod nodes;
mod single;
mod state;
