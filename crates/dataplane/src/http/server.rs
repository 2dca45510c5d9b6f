//! A connection of a client: serves one request after another until either side closes.

use super::client::{ClientConnection, Disposition};
use super::exchange;
use super::local;
use super::multiplexed;
use super::record;
use crate::codec::read;
use crate::conn::{ExchangeBuffers, Stage, Worker, boxed};
use crate::reasons::Reject;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use upstream::Stream;
use wire::h1::HeadError;

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, mut conn: ClientConnection) {
    if wait_for_request(&worker, &mut conn).await && detect_http2(&worker, &mut conn).await {
        return boxed(|| multiplexed::serve(worker, conn)).await;
    }
    while wait_for_request(&worker, &mut conn).await {
        let mut buffers = worker.acquire_buffers();
        // An idle connection is small.
        let disposition = boxed(|| serve_request(&worker, &mut conn, &mut buffers)).await;
        worker.release_buffers(buffers);
        match disposition {
            Disposition::KeepAlive => {}
            Disposition::Close => break,
            Disposition::Abort => return,
            Disposition::Linger => {
                linger(&worker, &mut conn).await;
                return;
            }
        }
    }
    send_close_notify(&mut conn);
}

/// Sends close_notify, which protects the end of a TLS connection from truncation (RFC 8446 §6.1).
fn send_close_notify(conn: &mut ClientConnection) {
    if let Some(stream @ Stream::Tls(_)) = conn.downstream.as_connection() {
        // The peer may have closed; then the alert is not needed.
        let _ = stream.shutdown_write();
    }
}

/// Whether the connection begins with the HTTP/2 preface, after ALPN or with prior knowledge (RFC 9113 §3.3).
async fn detect_http2(worker: &Worker, conn: &mut ClientConnection) -> bool {
    let Some(stream) = conn.downstream.as_connection() else { return false };
    conn.client.set_head(worker, &conn.timer);
    poll_fn(|context| {
        loop {
            if let Some(told) = multiplexed::is_preface(conn.input.filled()) {
                return Poll::Ready(told);
            }
            match read(stream, &mut conn.input, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if conn.timer.expired(context) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Waits for the first octets of a request; `false` if the connection ends. Holds no buffer meanwhile.
async fn wait_for_request(worker: &Worker, conn: &mut ClientConnection) -> bool {
    if !conn.input.is_empty() {
        return true;
    }
    conn.client.set_idle(worker, &conn.timer);
    let Some(stream) = conn.downstream.as_connection() else { return false };
    poll_fn(|context| {
        loop {
            match stream.poll_read_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {
                    conn.input.release();
                    conn.client.tracked.wait(Stage::Idle);
                    let over = conn.timer.expired(context) || conn.client.is_to_close(worker);
                    return if over { Poll::Ready(false) } else { Poll::Pending };
                }
            }
            match read(stream, &mut conn.input, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(_)) => return Poll::Ready(true),
                Poll::Pending => {}
            }
        }
    })
    .await
}

/// Reads a head and answers it.
async fn serve_request(worker: &Rc<Worker>, conn: &mut ClientConnection, buffers: &mut ExchangeBuffers) -> Disposition {
    match read_head(worker, conn, buffers).await {
        // The server would reject this client now: the client may retry on a new connection.
        Ok(Some(_)) if conn.client.is_outdated() => Disposition::Close,
        Ok(Some(length)) => exchange::exchange(worker, conn, buffers, length).await,
        Ok(None) => Disposition::Close,
        Err(reject) => {
            // The client gets the reason; the rest of the connection's input is not trusted.
            record::record_rejected_head(worker, conn, reject);
            local::refuse_unread(worker, conn, buffers, reject).await
        }
    }
}

/// The length of a complete head; `None` if the client has closed.
async fn read_head(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
) -> Result<Option<usize>, Reject> {
    conn.client.set_head(worker, &conn.timer);
    let limits = conn.head_limits(worker);
    let Some(stream) = conn.downstream.as_connection() else { return Ok(None) };
    poll_fn(|context| {
        loop {
            match buffers.request.parse(conn.input.filled(), &limits) {
                // If the connection was evicted meanwhile, the request was not processed: the client may retry it (RFC 9112 §9.3.1).
                Ok(Some(length)) => return Poll::Ready(Ok(Some(length).filter(|_| conn.client.tracked.begin()))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Reject::Head(error))),
            }
            if conn.input.is_full() {
                conn.input.grow();
                if conn.input.is_full() {
                    return Poll::Ready(Err(Reject::Head(HeadError::TooLarge)));
                }
            }
            match read(stream, &mut conn.input, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    conn.client.tracked.wait(Stage::Head);
                    return match conn.timer.expired(context) {
                        true if conn.client.tracked.is_evicted() => Poll::Ready(Ok(None)),
                        true => Poll::Ready(Err(Reject::HeadTimeout)),
                        false => Poll::Pending,
                    };
                }
            }
        }
    })
    .await
}

/// Lingering close, so that the last response arrives: shuts down writing and reads the remaining input for a while. A close with unread input
/// would reset the connection and destroy the response.
async fn linger(worker: &Worker, conn: &mut ClientConnection) {
    let Some(stream) = conn.downstream.as_connection() else { return };
    if stream.shutdown_write().is_err() {
        return;
    }
    conn.timer.set(worker.limits.linger_timeout);
    conn.client.tracked.wait(Stage::Idle);
    let mut left = worker.limits.linger_bytes;
    poll_fn(|context| {
        loop {
            conn.input.release();
            match read(stream, &mut conn.input, context) {
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
