//! Istio and Kubernetes kinds as plain structs, YAML with positions, each kind's own validation, and diagnostics.
//!
//! `sources` fills a [`set::ResourceSet`] with what this crate read; `compiler` turns it into what the gateway must do.
//! Nothing here knows of listeners, sockets or a Kubernetes client.

pub mod annotation;
pub mod api;
pub mod code;
pub mod diagnostic;
pub mod few;
pub mod file_contents;
pub mod key;
mod map;
pub mod read;
pub mod render;
pub mod set;
pub mod shown;
pub mod spec;
mod suggest;
mod validate;
mod yaml;

pub use map::Map;
