//! The start of an attempt on a connection or stream.

use super::client_watch::ClientWatch;
use super::deadlines::Deadlines;
use super::request::{OutgoingRequest, RequestSide};
use super::response::{ResponseBuffers, ResponseSide};
use super::retries::ResponseRetries;
use super::{Attempt, AttemptFacts};
use crate::codec::Upstream;
use crate::conn::ExchangeBuffers;
use crate::http::client::ClientConnection;
use crate::http::plan::Plan;
use crate::http::received_request::ReceivedRequest;
use crate::http::retry::RetryState;
use crate::stream_info::StreamInfo;
use upstream::Counted;
use wire::h1::{BodyLength, Style, Version};

impl<'a> Attempt<'a> {
    /// An attempt on `up`. The head of the request is in `up_out` of the buffers, or was sent.
    pub(in crate::http) fn new(
        received: &'a mut ReceivedRequest<'_>,
        plan: &'a Plan,
        up: &'a mut Upstream,
        request: &'a mut OutgoingRequest,
        retry: &RetryState<Counted>,
        info: &StreamInfo,
    ) -> Self {
        let ReceivedRequest { worker, conn, buffers, .. } = received;
        let ClientConnection { downstream: down, timer, client, table, .. } = &mut **conn;
        let ExchangeBuffers {
            request: head,
            response: response_head,
            captured_headers,
            body_in,
            up_in,
            up_out,
            down_out,
            ..
        } = &mut **buffers;
        let headers = &client.mesh_settings.headers;
        let style = Style { keep_case: headers.keep_case, http10: head.version == Version::Http10 };
        let retries = ResponseRetries::new(plan, retry);
        let deadlines = Deadlines::new(timer, plan, client, info, request.body.is_done());
        // Another attempt may follow by the policy, on a stream that the backend refuses, and on a connection that had been closed.
        let may_follow = retries.may_retry(plan) || up.is_multiplexed() || may_be_stale(up, plan);
        request.replay.begin(up_out, may_follow);
        let is_chunked = match head.body {
            BodyLength::None => false,
            BodyLength::Length(_) | BodyLength::UntilClose => request.body.is_decoded(),
            BodyLength::Chunked => true,
        };
        let send = up.send_buffer(up_out, is_chunked.then_some(style), plan.request_kind.is_switch());
        let response = ResponseBuffers { head: response_head, input: up_in, out: down_out };
        let keeps_trailers = worker.log().is_some_and(|log| log.demands().trailers);
        Self {
            worker,
            plan,
            down,
            request: RequestSide::new(head, request, body_in, send),
            response: ResponseSide::new(response, headers, style, keeps_trailers),
            up,
            retries,
            deadlines,
            watch: ClientWatch::default(),
            facts: AttemptFacts {
                client,
                table,
                captured_headers,
                endpoint: info.endpoint.as_ref().and_then(|endpoint| endpoint.address.ip()),
                started: info.started,
            },
        }
    }

    /// Whether the connection may have been closed before the request arrived, which may be repeated.
    pub(super) fn may_be_stale(&self) -> bool {
        may_be_stale(self.up, self.plan)
    }
}

fn may_be_stale(up: &Upstream, plan: &Plan) -> bool {
    plan.idempotent && up.is_reused()
}
