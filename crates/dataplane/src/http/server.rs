//! A connection of a client: one request after the other, until either side has had enough.

use super::exchange;
use super::local;
use super::record;
use super::reply::Reject;
use crate::conn::{Buffer, ListenerState, Space, Timer, Worker};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use upstream::Stream;
use wire::h1::HeadError;

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Downstream {
    pub(crate) stream: Stream,
    /// What came and is not done with: heads, and requests that were sent before their turn.
    pub(crate) input: Buffer,
    pub(crate) timer: Timer,
    /// The client's address as text, without its port.
    pub(crate) peer: Box<str>,
    pub(crate) remote: SocketAddr,
    pub(crate) listener: Arc<ListenerState>,
}

/// What becomes of the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request may come.
    Next,
    /// It is closed.
    Close,
    /// It is closed once the answer has arrived.
    Linger,
}

impl Downstream {
    fn is_to_close(&self, worker: &Worker) -> bool {
        worker.drain.closes_idle() || self.listener.drain.closes_idle()
    }
}

/// Serves a connection to its end.
pub(crate) fn serve(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerState>,
    stream: TcpStream,
    remote: SocketAddr,
) -> impl Future<Output = ()> + use<> {
    let worker = Rc::clone(worker);
    let conn = Downstream {
        stream: Stream::Tcp(stream),
        input: worker.buffer(),
        timer: worker.timer(),
        peer: wire::forwarded::plain_address(remote).to_string().into(),
        remote,
        listener: Arc::clone(listener),
    };
    serve_requests(worker, conn)
}

async fn serve_requests(worker: Rc<Worker>, mut conn: Downstream) {
    while wait_for_request(&worker, &mut conn).await {
        let mut space = worker.take_space();
        // Boxed, so that an idle connection is small.
        let after = Box::pin(one_request(&worker, &mut conn, &mut space)).await;
        worker.give_space(space);
        match after {
            After::Next => {}
            After::Close => return,
            After::Linger => {
                linger(&worker, &mut conn).await;
                return;
            }
        }
    }
}

/// Waits for the first bytes of a request; false when none will come. No buffer is held meanwhile.
async fn wait_for_request(worker: &Worker, conn: &mut Downstream) -> bool {
    if !conn.input.is_empty() {
        return true;
    }
    conn.timer.set(worker.limits.idle_timeout);
    poll_fn(|context| {
        loop {
            match conn.stream.poll_read_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {
                    conn.input.release();
                    let over = conn.timer.expired(context) || conn.is_to_close(worker);
                    return if over { Poll::Ready(false) } else { Poll::Pending };
                }
            }
            match read(&mut conn.stream, &mut conn.input, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(_)) => return Poll::Ready(true),
                Poll::Pending => {}
            }
        }
    })
    .await
}

/// Reads into the room of a buffer. A full buffer reads nothing and is no end: the caller has made room before.
pub(super) fn read(
    stream: &mut Stream,
    buffer: &mut Buffer,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let polled = stream.poll_read(context, buffer.room());
    if let Poll::Ready(Ok(count)) = &polled {
        buffer.fill(*count);
    }
    polled
}

/// Reads a head and answers it.
async fn one_request(worker: &Rc<Worker>, conn: &mut Downstream, space: &mut Space) -> After {
    match read_head(worker, conn, space).await {
        Ok(Some(length)) => exchange::exchange(worker, conn, space, length).await,
        Ok(None) => After::Close,
        Err(reject) => {
            // The client has to learn why, and nothing more of this connection can be trusted.
            record::refused(worker, conn, reject);
            local::refuse_unread(worker, conn, space, reject).await
        }
    }
}

/// The length of a complete head; `None` when the client is gone.
async fn read_head(worker: &Worker, conn: &mut Downstream, space: &mut Space) -> Result<Option<usize>, Reject> {
    conn.timer.set(worker.limits.head_timeout);
    poll_fn(|context| {
        loop {
            match space.request.parse(conn.input.filled(), &worker.limits.head) {
                Ok(Some(length)) => return Poll::Ready(Ok(Some(length))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Reject::Head(error))),
            }
            if conn.input.is_full() {
                conn.input.grow();
                if conn.input.is_full() {
                    return Poll::Ready(Err(Reject::Head(HeadError::TooLarge)));
                }
            }
            match read(&mut conn.stream, &mut conn.input, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if conn.timer.expired(context) => return Poll::Ready(Err(Reject::HeadTimeout)),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Closes such that the last answer arrives: writing is shut down, and what still comes is read for a while. Closing at
/// once, with bytes unread, would reset the connection and take the answer with it.
async fn linger(worker: &Worker, conn: &mut Downstream) {
    if conn.stream.shutdown_write().is_err() {
        return;
    }
    conn.timer.set(worker.limits.linger_timeout);
    let mut left = worker.limits.linger_bytes;
    poll_fn(|context| {
        loop {
            conn.input.release();
            match read(&mut conn.stream, &mut conn.input, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(count)) if count >= left => return Poll::Ready(()),
                Poll::Ready(Ok(count)) => left -= count,
                Poll::Pending if conn.timer.expired(context) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests;
