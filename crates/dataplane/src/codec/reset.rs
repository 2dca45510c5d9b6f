//! Resets: the codes that the gateway sends, and the check for a client that has reset its connection.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use upstream::Stream;

/// Why the gateway resets a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetCode {
    /// The response stays incomplete.
    Internal,
    /// The request is malformed.
    Protocol,
    /// The client makes the gateway hold too much.
    ExcessiveLoad,
    /// The response is no longer needed.
    Cancel,
}

impl From<ResetCode> for h2::Reason {
    fn from(code: ResetCode) -> Self {
        match code {
            ResetCode::Internal => Self::INTERNAL_ERROR,
            ResetCode::Protocol => Self::PROTOCOL_ERROR,
            ResetCode::ExcessiveLoad => Self::ENHANCE_YOUR_CALM,
            ResetCode::Cancel => Self::CANCEL,
        }
    }
}

/// The client has reset its stream or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientReset;

/// Waits for a future, unless the client resets its connection before.
pub(crate) async fn until_reset<T>(client: &Stream, wait: impl Future<Output = T>) -> Result<T, ClientReset> {
    let (mut wait, mut reset) = (pin!(wait), pin!(wait_client_reset(client)));
    poll_fn(|context| match wait.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => reset.as_mut().poll(context).map(|()| Err(ClientReset)),
    })
    .await
}

/// Waits until a client has reset its connection.
async fn wait_client_reset(client: &Stream) {
    let Some(client) = client.tcp() else { return pending().await };
    // If readiness fails, no reset is reported.
    if client.ready(Interest::ERROR).await.is_err() {
        pending().await
    }
}

/// Whether a client has reset its connection, also where octets that it sent before are not read. The error of a connection is reported once.
pub(super) fn has_reset(client: &Stream) -> bool {
    client.tcp().is_some_and(|client| !matches!(client.take_error(), Ok(None)))
}

/// Checks a client that waits for its response: an error after a reset; ready after a half-close or further input, which hide a later reset
/// from this check.
pub(super) fn poll_client(client: &Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let Some(client) = client.tcp() else { return Poll::Ready(Ok(())) };
    loop {
        ready!(client.poll_read_ready(context))?;
        let peek = || socket2::SockRef::from(client).peek(&mut [MaybeUninit::uninit()]);
        match client.try_io(Interest::READABLE, peek) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            peeked => return Poll::Ready(peeked.map(|_| ())),
        }
    }
}
