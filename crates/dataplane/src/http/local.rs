//! Answers of the gateway's own, and what follows every answer: the rest of the request, and the end of the connection.

use super::record::Ended;
use super::reply::{self, Local, Reject};
use super::server::{After, Downstream, read};
use crate::conn::{Space, Worker};
use routing::{LocalAnswer, RouteEntry};
use std::future::poll_fn;
use std::task::Poll;
use wire::edit::Edits;
use wire::h1::BodyReader;

/// Answers as the route says.
pub(super) async fn answer(
    worker: &Worker,
    conn: &mut Downstream,
    space: &mut Space,
    route: &RouteEntry,
    answer: &LocalAnswer,
    ended: &mut Ended,
) -> After {
    ended.status = answer.status;
    ended.detail = "direct_response";
    let mut body = BodyReader::new(space.request.body);
    let close = is_last(worker, conn, space, &body);
    let date = worker.date();
    let local = Local {
        status: answer.status,
        location: answer.location.as_deref(),
        body: &answer.body,
        date: &date,
        head_only: is_head(conn, space),
        close,
    };
    let mut edits = Edits::default();
    route.edit_response(0, &mut edits);
    space.down_out.clear();
    ended.sent = reply::write(&mut space.down_out, &local, &mut edits);
    if !write(worker, conn, &space.down_out).await {
        return After::Close;
    }
    after_answer(worker, conn, space, &mut body, close).await
}

/// Answers with what the table of causes has for this one, and the headers that the route and its target put on every answer; `body` is
/// as far as the request was read.
pub(super) async fn refuse(
    worker: &Worker,
    conn: &mut Downstream,
    space: &mut Space,
    (reject, route): (Reject, Option<(&RouteEntry, usize)>),
    body: &mut BodyReader,
    ended: &mut Ended,
) -> After {
    (ended.status, ended.flags, ended.detail) = (reject.status(), reject.flags(), reject.detail());
    let close = reject.ends_connection() || is_last(worker, conn, space, body);
    let date = worker.date();
    let local = reject.answer(&date, is_head(conn, space), close);
    let mut edits = Edits::default();
    if let Some((route, target)) = route {
        route.edit_response(target, &mut edits);
    }
    space.down_out.clear();
    ended.sent = reply::write(&mut space.down_out, &local, &mut edits);
    match write(worker, conn, &space.down_out).await {
        false => After::Close,
        true if reject.ends_connection() => After::Linger,
        true => after_answer(worker, conn, space, body, close).await,
    }
}

/// Refuses a head that could not be read; the connection ends with it.
pub(super) async fn refuse_unread(worker: &Worker, conn: &mut Downstream, space: &mut Space, reject: Reject) -> After {
    let date = worker.date();
    reply::write(&mut space.down_out, &reject.answer(&date, false, true), &mut Edits::default());
    if write(worker, conn, &space.down_out).await { After::Linger } else { After::Close }
}

fn is_head(conn: &Downstream, space: &Space) -> bool {
    space.request.method.of(conn.input.filled()) == b"HEAD"
}

/// Whether an answer of the gateway's own is the connection's last: somebody wants it so, or the rest of the body would not be read.
fn is_last(worker: &Worker, conn: &Downstream, space: &Space, body: &BodyReader) -> bool {
    let unwanted = match body {
        _ if body.is_done() => false,
        // A client that waits for 100 may or may not send its body now.
        _ if space.request.expect_continue => true,
        BodyReader::Length(left) => *left > worker.limits.linger_bytes as u64,
        BodyReader::Done | BodyReader::Chunked(_) | BodyReader::UntilClose => false,
    };
    unwanted || !space.request.keep_alive || is_draining(worker, conn)
}

fn is_draining(worker: &Worker, conn: &Downstream) -> bool {
    worker.drain.has_begun() || conn.listener.drain.has_begun()
}

/// What follows an answer that the client has: the rest of the request is read within a bound, so that the next one can be found.
pub(super) async fn after_answer(
    worker: &Worker,
    conn: &mut Downstream,
    space: &mut Space,
    body: &mut BodyReader,
    close: bool,
) -> After {
    match (body.is_done(), close) {
        (true, false) => After::Next,
        // Nothing is unread, and nothing more will come: closing resets nothing.
        (true, true) if !space.request.keep_alive && space.body_in.is_empty() => After::Close,
        (false, false) => read_rest(worker, conn, space, body).await,
        (_, true) => After::Linger,
    }
}

async fn read_rest(worker: &Worker, conn: &mut Downstream, space: &mut Space, body: &mut BodyReader) -> After {
    conn.timer.set(worker.limits.linger_timeout);
    let mut left = worker.limits.linger_bytes;
    poll_fn(|context| {
        loop {
            let Ok(step) = body.decode(space.body_in.filled()) else { return Poll::Ready(After::Linger) };
            space.body_in.consume(step.consumed);
            match (step.done, step.consumed) {
                (true, _) => return Poll::Ready(After::Next),
                (false, 1..) => continue,
                (false, 0) => {}
            }
            match read(&mut conn.stream, &mut space.body_in, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(After::Close),
                Poll::Ready(Ok(count)) if count >= left => return Poll::Ready(After::Linger),
                Poll::Ready(Ok(count)) => left -= count,
                Poll::Pending if conn.timer.expired(context) => return Poll::Ready(After::Linger),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Writes an answer; false when the client did not take it.
async fn write(worker: &Worker, conn: &mut Downstream, bytes: &[u8]) -> bool {
    conn.timer.set(worker.limits.write_timeout);
    let mut written = 0;
    poll_fn(|context| {
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match conn.stream.poll_write(context, rest) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    written += count;
                    conn.timer.set(worker.limits.write_timeout);
                }
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending if conn.timer.expired(context) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(true)
    })
    .await
}
