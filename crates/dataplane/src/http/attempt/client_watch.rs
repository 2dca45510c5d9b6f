//! Notices that the client resets its connection or stream while an attempt receives nothing from it. A half-close is not a reset.

use crate::codec::{ClientReset, Downstream};
use crate::conn::{Timer, Worker};
use crate::limits::RESET_CHECK;
use std::task::{Context, Poll};

/// Notices that the client resets.
#[derive(Debug, Default)]
pub(super) struct ClientWatch {
    /// Whether a half-close or further input hides a reset.
    is_hidden: bool,
    /// When a connection is checked whose octets are not read.
    timer: Option<Timer>,
}

impl ClientWatch {
    /// Checks a client that has sent all of its request.
    pub(super) fn check_waiting(
        &mut self,
        down: &mut Downstream,
        context: &mut Context<'_>,
    ) -> Result<(), ClientReset> {
        if !self.is_hidden && down.poll_reset(context)?.is_ready() {
            self.is_hidden = true;
        }
        Ok(())
    }

    /// Checks a client whose body is not read, because the backend does not read it. What the client has sent hides the reset of a connection
    /// from the task, so that it is checked from time to time.
    pub(super) fn check_sending(
        &mut self,
        worker: &Worker,
        down: &mut Downstream,
        context: &mut Context<'_>,
    ) -> Result<(), ClientReset> {
        if down.is_multiplexed() {
            return match down.poll_reset(context) {
                Poll::Ready(reset) => reset,
                Poll::Pending => Ok(()),
            };
        }
        let timer = self.timer.get_or_insert_with(|| {
            let timer = worker.timer();
            timer.set(RESET_CHECK);
            timer
        });
        while timer.expired(context) {
            down.check_reset()?;
            timer.set(RESET_CHECK);
        }
        Ok(())
    }
}
