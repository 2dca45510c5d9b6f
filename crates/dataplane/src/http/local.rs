//! Local responses, and what follows every response: the rest of the request, and the end of the connection.

use super::client::{ClientConnection, Disposition};
use super::facts::{self, ResponseFacts, protocol};
use super::plan::ReplyRoute;
use super::received_request::ReceivedRequest;
use super::reply::{self, LocalReply};
use crate::codec::{BodyFraming, Downstream, ImpliedTunnel, SendBuffer, read};
use crate::conn::{Client, ExchangeBuffers, Timer, Worker};
use crate::reasons::{ReasonHeader, Reject};
use crate::stream_info::{LoggedResponse, StreamInfo};
use routing::ext_authz::Denial;
use routing::{LocalAnswer, RouteEntry};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use text::HttpDate;
use wire::edit::Edits;
use wire::grpc::Dialect;
use wire::h1::{BodyReader, Version};
use wire::view::Fields;

/// `access_denied` as a fatal alert (RFC 8446 §6.2), in a record of TLS 1.2.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Sends the local response of a route or host. `body` is the state of the request body.
pub(super) async fn answer(
    request: &mut ReceivedRequest<'_>,
    route: Option<ReplyRoute<'_>>,
    answer: &LocalAnswer,
    body: &mut BodyReader,
    info: &mut StreamInfo,
) -> Disposition {
    (info.detail, info.is_denied) = (answer.detail, answer.is_denial);
    info.rule = answer.rule.as_ref().map(|rule| rule.to_string().into());
    let terms = ReplyTerms::new(request, is_last(request, body), info);
    let reply = terms.reply(answer.status, &answer.body);
    let local = LocalReply { location: answer.location.as_ref(), shared: Some(&answer.body), ..reply };
    info.status = local.sent_status();
    let mut edits = Edits::default();
    for (name, value) in &answer.fields {
        edits.set(*name, value.by_ref());
    }
    if let Some(route) = route {
        let facts = response_facts(request, route.route, "", info);
        routing::filter::edit_response(route.route, route.target, route.filters, &facts, &mut edits);
    }
    match send(request, &local, edits, &mut info.response).await {
        Some(sent) => info.sent = sent,
        None => return Disposition::Close,
    }
    after_response(request, body, terms.close).await
}

/// Sends the response of a service for authorization (AP-13). `body` is the state of the request body.
pub(super) async fn deny(
    request: &mut ReceivedRequest<'_>,
    denial: &Denial,
    body: &mut BodyReader,
    info: &mut StreamInfo,
) -> Disposition {
    let terms = ReplyTerms::new(request, is_last(request, body), info);
    let local = terms.reply(denial.status.unwrap_or(403), &denial.body);
    info.status = local.sent_status();
    let mut edits = Edits::default();
    // The first of a name replaces what the gateway writes by itself.
    for (at, (name, value)) in denial.headers.iter().enumerate() {
        if denial.headers.iter().take(at).any(|(earlier, _)| earlier == name) {
            edits.append(name, value.by_ref());
        } else {
            edits.set(name, value.by_ref());
        }
    }
    match send(request, &local, edits, &mut info.response).await {
        Some(sent) => info.sent = sent,
        None => return Disposition::Close,
    }
    after_response(request, body, terms.close).await
}

/// Rejects a request with the response in the table of causes, edited by the route and its target. `body` is the state of the request body.
pub(super) async fn refuse(
    request: &mut ReceivedRequest<'_>,
    reject: Reject,
    route: Option<ReplyRoute<'_>>,
    body: &mut BodyReader,
    info: &mut StreamInfo,
) -> Disposition {
    let reason = reject.reason();
    info.flags |= reason.flags;
    (info.detail, info.is_denied) = (reason.detail, reject.is_denial());
    if let (BodyReader::Length(left), true, 0) = (&*body, info.endpoint.is_some(), info.received) {
        // As in Envoy, what was received while the gateway connected counts.
        info.received = (request.buffers.body_in.filled().len() as u64).min(*left);
    }
    let terms = ReplyTerms::new(request, reject.ends_connection() || is_last(request, body), info);
    let words = if info.retried { reason.retried } else { reason.body };
    let grpc = terms.dialect.map(|dialect| (dialect, reject.grpc_status()));
    let local = LocalReply { grpc, ..terms.reply(reason.status, words.as_bytes()) };
    info.status = local.sent_status();
    let mut edits = Edits::default();
    if reject == Reject::Overflow {
        // As Envoy's router does.
        edits.set("x-envoy-overloaded", "true");
    }
    if let Some(ReplyRoute { route, target, filters }) = route {
        let facts = response_facts(request, route, route.cluster(target), info);
        routing::filter::edit_response(route, target, filters, &facts, &mut edits);
    }
    match send(request, &local, edits, &mut info.response).await {
        None => return Disposition::Close,
        Some(sent) => info.sent = sent,
    }
    if reject.ends_connection() { Disposition::Linger } else { after_response(request, body, terms.close).await }
}

/// Sends a response with the edits of its route; the length of its body, or `None` if the client did not receive it. `logged` receives what the
/// access log states of it.
async fn send<'a>(
    request: &mut ReceivedRequest<'_>,
    local: &LocalReply<'a>,
    edits: Edits<'a>,
    logged: &mut LoggedResponse,
) -> Option<u64> {
    let edits = reply::headers(local, edits);
    let ReceivedRequest { worker, conn, buffers, .. } = request;
    if let Some(log) = worker.log() {
        *logged = log.demands().capture_response(&local.parts(), &edits);
    }
    if let Some(implied) = conn.downstream.implied() {
        refuse_implied(worker, conn, buffers, implied).await;
        return None;
    }
    if let Some(sent) = conn.downstream.send_message(|| reply::message(local, &edits)) {
        return sent.ok();
    }
    buffers.down_out.clear();
    let sent = reply::write(&mut buffers.down_out, local, &edits);
    write(worker, &mut conn.downstream, &conn.timer, &mut buffers.down_out).await.then_some(sent)
}

/// Tells a client that did not send the request that it is refused, if it speaks TLS. All others see the end of the connection.
async fn refuse_implied(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    implied: ImpliedTunnel,
) {
    if implied.is_tls {
        buffers.down_out.clear();
        buffers.down_out.extend_from_slice(&ACCESS_DENIED);
        write(worker, &mut conn.downstream, &conn.timer, &mut buffers.down_out).await;
    }
}

/// Rejects a head that could not be read, and closes the connection.
pub(super) async fn refuse_unread(
    worker: &Worker,
    conn: &mut ClientConnection,
    buffers: &mut ExchangeBuffers,
    reject: Reject,
) -> Disposition {
    if let Some(implied) = conn.downstream.implied() {
        refuse_implied(worker, conn, buffers, implied).await;
        return Disposition::Close;
    }
    let date = worker.date();
    let local = LocalReply::refusal(reject, &date, &conn.client.mesh_settings, false, true);
    reply::write(&mut buffers.down_out, &local, &reply::headers(&local, Edits::default()));
    if write(worker, &mut conn.downstream, &conn.timer, &mut buffers.down_out).await {
        Disposition::Linger
    } else {
        Disposition::Close
    }
}

/// What each response to a request has, whatever it says.
struct ReplyTerms {
    date: HttpDate,
    client: Rc<Client>,
    /// Whether the connection ends with it.
    close: bool,
    head_only: bool,
    http10: bool,
    dialect: Option<Dialect>,
    /// The value of `x-moongate-reason`, if it is sent.
    reason: Option<String>,
}

impl ReplyTerms {
    fn new(request: &ReceivedRequest<'_>, close: bool, info: &StreamInfo) -> Self {
        let fields = request.fields();
        Self {
            date: request.worker.date(),
            client: Rc::clone(&request.conn.client),
            close,
            head_only: request.method() == b"HEAD",
            http10: request.buffers.request.version == Version::Http10,
            dialect: Dialect::of(|name| fields.get(name), request.conn.table.version().http.settings.grpc_web),
            reason: reason_header(request, info),
        }
    }

    /// A response with a status and a body.
    fn reply<'a>(&'a self, status: u16, body: &'a [u8]) -> LocalReply<'a> {
        LocalReply {
            status,
            location: None,
            body,
            shared: None,
            date: &self.date,
            mesh_settings: &self.client.mesh_settings,
            head_only: self.head_only,
            close: self.close,
            http10: self.http10,
            grpc: self.dialect.map(|dialect| (dialect, wire::grpc::status_of(status))),
            reason: self.reason.as_deref(),
        }
    }
}

/// The facts for edits of a local response.
fn response_facts<'a>(
    request: &'a ReceivedRequest<'_>,
    route: &'a RouteEntry,
    cluster: &'a str,
    info: &'a StreamInfo,
) -> ResponseFacts<'a> {
    let protocol = protocol(&request.conn.downstream, request.buffers.request.version);
    ResponseFacts {
        stream: facts::stream_facts(&request.conn.client, protocol, Some(route), cluster),
        outcome: info.outcome(&|| None),
        captured_headers: &request.buffers.captured_headers,
        status: info.status,
        fields: Fields::new(&[], &[]),
    }
}

/// The value of `x-moongate-reason`, if it is sent.
fn reason_header(request: &ReceivedRequest<'_>, info: &StreamInfo) -> Option<String> {
    let wanted = match request.worker.reasons {
        ReasonHeader::Off => false,
        ReasonHeader::OnRequest => request.fields().get(reply::REASON).is_some(),
        ReasonHeader::Always => true,
    };
    wanted.then(|| format!("{} {}", info.flags, info.detail))
}

/// Whether a local response closes the connection: the client or a drain asks for it, or the rest of the body is too long to read.
fn is_last(request: &ReceivedRequest<'_>, body: &BodyReader) -> bool {
    let ReceivedRequest { worker, conn, buffers, .. } = request;
    let unwanted = match body {
        _ if body.is_done() => false,
        // A client that waits for 100 may or may not send its body.
        _ if buffers.request.expect_continue => true,
        BodyReader::Length(left) => *left > worker.limits.linger_bytes as u64,
        BodyReader::Done | BodyReader::Chunked(_) | BodyReader::UntilClose => false,
    };
    unwanted || !buffers.request.keep_alive || conn.is_draining(worker)
}

/// After a response: reads the rest of the request within a bound, to find the next request.
pub(super) async fn after_response(
    request: &mut ReceivedRequest<'_>,
    body: &mut BodyReader,
    close: bool,
) -> Disposition {
    let (conn, buffers) = (&*request.conn, &*request.buffers);
    if conn.downstream.is_multiplexed() {
        return Disposition::KeepAlive;
    }
    match (body.is_done(), close) {
        (true, false) => Disposition::KeepAlive,
        // Nothing is unread and nothing follows, so a close causes no reset.
        (true, true) if !buffers.request.keep_alive && buffers.body_in.is_empty() => Disposition::Close,
        (false, false) => read_rest(request, body).await,
        (_, true) => Disposition::Linger,
    }
}

async fn read_rest(request: &mut ReceivedRequest<'_>, body: &mut BodyReader) -> Disposition {
    let ReceivedRequest { worker, conn, buffers, .. } = request;
    conn.timer.set(worker.limits.linger_timeout);
    let Some(stream) = conn.downstream.as_connection() else { return Disposition::KeepAlive };
    let mut left = worker.limits.linger_bytes;
    poll_fn(|context| {
        loop {
            let Ok(step) = body.decode(buffers.body_in.filled()) else { return Poll::Ready(Disposition::Linger) };
            buffers.body_in.consume(step.consumed);
            match (step.done, step.consumed) {
                (true, _) => return Poll::Ready(Disposition::KeepAlive),
                (false, 1..) => continue,
                (false, 0) => {}
            }
            match read(stream, &mut buffers.body_in, context) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Disposition::Close),
                Poll::Ready(Ok(count)) if count >= left => return Poll::Ready(Disposition::Linger),
                Poll::Ready(Ok(count)) => left -= count,
                Poll::Pending if conn.timer.expired(context) => return Poll::Ready(Disposition::Linger),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Writes a response; `false` if the client did not receive it.
pub(super) async fn write(worker: &Worker, client: &mut Downstream, timer: &Timer, response: &mut Vec<u8>) -> bool {
    timer.set(worker.limits.write_timeout);
    let mut send = SendBuffer::new(response, BodyFraming::Octets);
    let mut no_input = worker.buffer();
    let mut written = 0;
    poll_fn(|context| {
        if let Poll::Ready(sent) = client.poll_send(&mut send, &mut no_input, context) {
            return Poll::Ready(sent.is_ok());
        }
        if send.written() > written {
            written = send.written();
            timer.set(worker.limits.write_timeout);
        }
        if timer.expired(context) { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}
