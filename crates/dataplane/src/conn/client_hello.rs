//! Reads the ClientHello, from the socket of a connection and from a tunnel alike.

use super::{Buffer, Timer};
use std::task::{Context, Poll};
use wire::hello::{self, Hello};

/// Why the first message is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHello {
    /// The client closed before.
    Closed,
    /// It did not come before the timer's deadline.
    Late,
}

/// Reads until the first message is recognised; it stays in the buffer. `read` reads once, and is `false` at the end of the stream and on errors.
pub(crate) fn poll_client_hello(
    input: &mut Buffer,
    timer: &Timer,
    context: &mut Context<'_>,
    mut read: impl FnMut(&mut Buffer, &mut Context<'_>) -> Poll<bool>,
) -> Poll<Result<Hello, NoHello>> {
    loop {
        match hello::peek(input.filled()) {
            Hello::Partial => {}
            parsed => return Poll::Ready(Ok(parsed)),
        }
        if input.is_full() {
            input.grow();
        }
        match read(input, context) {
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Poll::Ready(Err(NoHello::Closed)),
            Poll::Pending if timer.expired(context) => return Poll::Ready(Err(NoHello::Late)),
            Poll::Pending => return Poll::Pending,
        }
    }
}
