//! One request: decided, sent on or answered here, counted. The one orchestrator; each step is a module beside.

use super::attempt;
use super::decide::{Decision, decide};
use super::fault;
use super::local;
use super::record::{Ended, ended};
use super::server::{ClientConnection, Disposition};
use crate::conn::{Space, Worker};
use std::rc::Rc;
use wire::h1::{BodyLength, BodyReader};

/// Answers the request whose head takes the first `head` bytes of the connection's input.
pub(super) async fn exchange(
    worker: &Rc<Worker>,
    conn: &mut ClientConnection,
    space: &mut Space,
    head: usize,
) -> Disposition {
    part_head_from_body(conn, space, head);
    let mut outcome = Ended::new();
    let decision = decide(worker, conn, space, head);
    let fault = decision.route().and_then(|route| route.route.fault.as_deref());
    let injected = match fault {
        Some(fault) => fault::inject(worker, &mut conn.downstream, fault, &mut outcome).await,
        None => Ok(None),
    };
    let reset = injected.is_err();
    let rejected = injected.ok().flatten().map(|reject| Decision::Reject(reject, decision.routed()));
    let disposition = match rejected.as_ref().unwrap_or(&decision) {
        _ if reset => attempt::abandon(&mut conn.downstream, &mut outcome),
        Decision::Forward(plan) => attempt::forward(worker, conn, space, head, plan, &mut outcome).await,
        Decision::Local(route, answer) => local::answer(worker, conn, space, Some(route), answer, &mut outcome).await,
        Decision::Elsewhere(answer) | Decision::Preflight(_, answer) => {
            local::answer(worker, conn, space, None, answer, &mut outcome).await
        }
        Decision::Reject(reject, route) => {
            let mut body = BodyReader::new(space.request.body);
            let route = route.as_ref().map(|(route, target)| (route.as_ref(), *target));
            local::refuse(worker, conn, space, (*reject, route), &mut body, &mut outcome).await
        }
    };
    ended(worker, conn, space, head, &decision, &outcome);
    conn.input.consume(head);
    if !space.body_in.is_empty() {
        conn.input.put(space.body_in.filled());
    }
    disposition
}

/// The head stays where it is for as long as the exchange; the body is read elsewhere.
fn part_head_from_body(conn: &mut ClientConnection, space: &mut Space, head: usize) {
    if space.request.body != BodyLength::None {
        space.body_in.put(conn.input.filled().get(head..).unwrap_or_default());
        conn.input.truncate(head);
    }
}
