//! After a switch of protocols: bytes both ways, until both sides are done or nothing moves for too long (S-118, S-125).

use super::server::{Downstream, read};
use crate::conn::{Buffer, Space, Worker};
use std::future::poll_fn;
use std::task::{Context, Poll};
use upstream::{Connection, Stream};

/// One direction.
struct Way<'a> {
    buffer: &'a mut Buffer,
    /// Bytes that were passed on.
    passed: u64,
    ended: bool,
    shut: bool,
}

/// Copies both ways, beginning with what either side sent behind its head. Returns how much went to the backend, and to the client.
pub(super) async fn run(
    worker: &Worker,
    conn: &mut Downstream,
    space: &mut Space,
    head: usize,
    mut up: Connection,
) -> (u64, u64) {
    space.body_in.put(conn.input.filled().get(head..).unwrap_or_default());
    conn.input.truncate(head);
    let Downstream { stream: down, timer, .. } = conn;
    let mut to_up = Way { buffer: &mut space.body_in, passed: 0, ended: false, shut: false };
    let mut to_down = Way { buffer: &mut space.up_in, passed: 0, ended: false, shut: false };
    timer.set(worker.limits.tunnel_timeout);
    poll_fn(|context| {
        let moved_up = to_up.pump(down, &mut up.stream, context);
        let moved_down = to_down.pump(&mut up.stream, down, context);
        let (Ok(moved_up), Ok(moved_down)) = (moved_up, moved_down) else { return Poll::Ready(()) };
        if to_up.shut && to_down.shut {
            return Poll::Ready(());
        }
        if moved_up || moved_down {
            timer.set(worker.limits.tunnel_timeout);
        }
        // Asked for its waker's sake as well: it has to be known before the deadline.
        if timer.expired(context) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (to_up.passed, to_down.passed)
}

impl Way<'_> {
    /// Moves what can be moved; says whether anything was.
    fn pump(&mut self, from: &mut Stream, to: &mut Stream, context: &mut Context<'_>) -> std::io::Result<bool> {
        let mut moved = false;
        loop {
            while !self.buffer.is_empty() {
                match to.poll_write(context, self.buffer.filled()) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.buffer.consume(count);
                        self.passed += count as u64;
                    }
                    Poll::Ready(Ok(_)) => return Err(std::io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => return Ok(moved),
                }
                moved = true;
            }
            if self.ended {
                if !self.shut {
                    self.shut = true;
                    to.shutdown_write()?;
                }
                return Ok(moved);
            }
            match read(from, self.buffer, context) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    // Nothing to hold until something comes.
                    self.buffer.release();
                    return Ok(moved);
                }
            }
        }
    }
}
