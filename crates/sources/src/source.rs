//! What all sources have in common.

use crate::event::Batch;
use resources::set::ResourceSet;
use std::sync::Arc;

/// Where configuration comes from: files, later an API server. [`watch`](crate::watch) drives it.
pub trait Source: Send + 'static {
    /// Waits for the next events; `None`: there will be no further ones. `set` holds the objects of all events so far: a source finds in
    /// it what else is referred to (files, Secrets), and what of it has changed. The first batch comes without waiting for a change.
    ///
    /// The future is polled to its end, or dropped together with the source.
    fn next(&mut self, set: Arc<ResourceSet>) -> impl Future<Output = Option<Batch>> + Send;
}
