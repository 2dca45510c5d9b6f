//! One request, from its head to its record: decide, filter, forward or reply, record. This is the only orchestrator; each step is a module of
//! its own.

use super::client::{ClientConnection, Disposition};
use super::connect;
use super::decide::proceed;
use super::destination;
use super::filters::{GateOutcome, ask_and_decide, decide_at_gate, run_route_filters};
use super::forward;
use super::local;
use super::plan::{Decision, Reply, Routed};
use super::received_request::ReceivedRequest;
use super::record::record;
use crate::conn::{ExchangeBuffers, ReceivedBody, Worker, boxed};
use crate::reasons::{Reject, VIA_UPSTREAM};
use crate::stream_info::StreamInfo;
use std::rc::Rc;
use text::Uuid;
use wire::h1::BodyLength;

/// Answers the request whose head is the first `head` bytes of the connection's input.
pub(super) async fn exchange(
    worker: &Rc<Worker>,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    head: usize,
) -> Disposition {
    split_head_from_body(conn, buffers, head);
    buffers.request_id = Uuid::from_random(worker.random_bits());
    // Replaced by whatever answers instead of a backend.
    let mut info = StreamInfo { detail: VIA_UPSTREAM, ..StreamInfo::new() };
    let mut request = ReceivedRequest { worker, conn, buffers, head };
    let mut decision = match decide_at_gate(&mut request, &mut info) {
        GateOutcome::Decided(decision) => decision,
        // Boxed, like the other rare steps, so that the future of a request without them stays small.
        GateOutcome::AskService(version) => boxed(|| ask_and_decide(&mut request, version, &mut info)).await,
    };
    if let Decision::Prepare(routed) = decision {
        let ready = boxed(|| make_ready(&mut request, routed, &mut info)).await;
        decision = ready.map_or_else(|decision| decision, |routed| proceed(&mut request, routed, None));
    }
    let disposition = match &decision {
        Decision::Forward(plan) => forward::forward(&mut request, plan, &mut info).await,
        Decision::Connect(routed, host) => boxed(|| connect::run(&mut request, routed, host, &mut info)).await,
        Decision::Respond(reply, routed) => boxed(|| respond(&mut request, reply, routed.as_ref(), &mut info)).await,
        Decision::Abandoned(_) => forward::abandon(&mut request.conn.downstream, &mut info),
        // Not reached: `proceed` never returns it.
        Decision::Prepare(_) => forward::abandon(&mut request.conn.downstream, &mut info),
    };
    record(&request, &decision, &info);
    let disposition = if is_followed_connect(&request) { end_after(disposition) } else { disposition };
    let ReceivedRequest { conn, buffers, head, .. } = request;
    conn.input.consume(head);
    // What was read behind the body is the start of the next request.
    if !buffers.body_in.is_empty() {
        conn.input.put(buffers.body_in.filled());
    }
    disposition
}

/// Does what a route waits for: its filters, then the name of the destination if the client names it, and the credential for the destination.
async fn make_ready(
    request: &mut ReceivedRequest<'_>,
    routed: Routed,
    info: &mut StreamInfo,
) -> Result<Routed, Decision> {
    let mut routed = run_route_filters(request, routed, info).await?;
    if routed.has_dynamic_cluster() {
        routed = destination::find(request, routed, info).await?;
    }
    destination::wait_for_credential(request, routed, info).await
}

/// Whether octets follow the head of a CONNECT. Where the tunnel was refused, they are what the client wanted to send through it, and no request.
fn is_followed_connect(request: &ReceivedRequest<'_>) -> bool {
    let ReceivedRequest { conn, head, .. } = request;
    !conn.downstream.is_multiplexed() && conn.input.filled().len() > *head && request.method() == b"CONNECT"
}

/// Changes a disposition so that no further request is read.
fn end_after(disposition: Disposition) -> Disposition {
    match disposition {
        Disposition::KeepAlive => Disposition::Linger,
        Disposition::Close | Disposition::Abort | Disposition::Linger => disposition,
    }
}

/// Sends a response of the gateway.
async fn respond(
    request: &mut ReceivedRequest<'_>,
    reply: &Reply,
    routed: Option<&Routed>,
    info: &mut StreamInfo,
) -> Disposition {
    let route = routed.map(Routed::reply_route);
    let ReceivedBody { held, reader: mut body } = request.buffers.take_body();
    if let Some(held) = held {
        info.received = held.octets().len() as u64;
    }
    let body = &mut body;
    match reply {
        Reply::Route(answer) => local::answer(request, route, answer, body, info).await,
        Reply::Forbidden(detail) => {
            info.denied = Some(detail.clone());
            local::refuse(request, Reject::Denied, None, body, info).await
        }
        Reply::Denied(denial) => local::deny(request, denial, body, info).await,
        Reply::Plain(answer) => local::answer(request, None, answer, body, info).await,
        Reply::Reject(reject) => local::refuse(request, *reject, route, body, info).await,
    }
}

/// The head stays in the connection's input during the exchange; the body is read into another buffer.
fn split_head_from_body(conn: &mut ClientConnection, buffers: &mut ExchangeBuffers, head: usize) {
    if buffers.request.body != BodyLength::None {
        buffers.body_in.put(conn.input.filled().get(head..).unwrap_or_default());
        conn.input.truncate(head);
    }
}
