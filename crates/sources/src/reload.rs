//! Requests to read everything again.

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Asks for everything to be read again.
#[derive(Debug, Clone)]
pub struct Reload(Sender<()>);

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Requests(Receiver<()>);

impl Reload {
    pub(crate) fn new() -> (Self, Requests) {
        let (sender, requests) = channel(1);
        (Self(sender), Requests(requests))
    }

    /// Reads everything again; the result has [`Loaded::requested`](crate::Loaded::requested). Requests before that count as one.
    pub fn request(&self) {
        // Full: a request waits already.
        let _ = self.0.try_send(());
    }
}

impl Requests {
    /// Waits for a request. The source itself has a [`Reload`], so that there may always be one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
