//! One request, from its head to its record: decide, forward or reply, record. This is the only orchestrator; each step is a module of its own.

use super::attempt;
use super::client::{ClientConnection, Disposition};
use super::decide::{Decision, decide};
use super::fault;
use super::local;
use super::record::record;
use crate::conn::{ExchangeBuffers, Worker};
use crate::stream_info::StreamInfo;
use std::rc::Rc;
use wire::h1::{BodyLength, BodyReader};

/// Answers the request whose head is the first `head` bytes of the connection's input.
pub(super) async fn exchange(
    worker: &Rc<Worker>,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
) -> Disposition {
    split_head_from_body(conn, buffers, head);
    let mut info = StreamInfo { detail: "via_upstream", ..StreamInfo::new() };
    let decision = decide(worker, conn, buffers, head);
    let fault = decision.route().and_then(|route| route.config.fault.as_deref());
    let injected = match fault {
        Some(fault) => fault::inject(worker, &mut conn.downstream, fault, &mut info).await,
        None => Ok(None),
    };
    let reset = injected.is_err();
    let rejected = injected.ok().flatten().map(|reject| Decision::Reject(reject, decision.routed()));
    let disposition = match rejected.as_ref().unwrap_or(&decision) {
        _ if reset => attempt::abandon(&mut conn.downstream, &mut info),
        Decision::Forward(plan) => attempt::forward(worker, conn, buffers, head, plan, &mut info).await,
        Decision::Local(route, answer) => local::answer(worker, conn, buffers, Some(route), answer, &mut info).await,
        Decision::Redirect(answer) | Decision::Preflight(_, answer) => {
            local::answer(worker, conn, buffers, None, answer, &mut info).await
        }
        Decision::Reject(reject, route) => {
            let mut body = BodyReader::new(buffers.request.body);
            let route = route.as_ref().map(|(route, target)| (route.as_ref(), *target));
            local::refuse(worker, conn, buffers, (*reject, route), &mut body, &mut info).await
        }
    };
    record(worker, conn, buffers, head, &decision, &info);
    conn.input.consume(head);
    if !buffers.body_in.is_empty() {
        conn.input.put(buffers.body_in.filled());
    }
    disposition
}

/// The head stays in the connection's input during the exchange; the body is read into another buffer.
fn split_head_from_body(conn: &mut ClientConnection, buffers: &mut ExchangeBuffers, head: usize) {
    if buffers.request.body != BodyLength::None {
        buffers.body_in.put(conn.input.filled().get(head..).unwrap_or_default());
        conn.input.truncate(head);
    }
}
