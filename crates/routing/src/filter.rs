//! The decisions of the filters of a route (`ir::Filter`), and their edits of the response. The data plane waits and sends; `explain` and it call
//! these functions in the order of the filters.

use crate::cors::{self, CorsRequest};
use crate::route::{LocalAnswer, RouteEntry};
use crate::substitute::Facts;
use ir::{Cors, Filter};
use text::FieldValue;
use wire::edit::Edits;
use wire::view::Fields;

/// What the filters of a route keep of a request for its response. A filter that did not run, since one before it answered, keeps nothing, and
/// does not edit the response (VS-44).
#[derive(Debug, Clone, Default)]
pub struct FilterState {
    cors: Option<CorsState>,
}

/// What CORS keeps of a request.
#[derive(Debug, Clone)]
struct CorsState {
    /// The origin that may use the response (VS-46).
    allowed: Option<FieldValue<'static>>,
}

impl FilterState {
    /// Runs CORS on a request. Returns the response to a preflight request, unless the request is forwarded.
    pub fn run_cors(&mut self, cors: &Cors, method: &[u8], fields: Fields<'_>) -> Option<LocalAnswer> {
        let request = CorsRequest::of(cors, fields);
        let answer = request.as_ref().and_then(|request| request.preflight(cors, method, fields));
        let allowed = request.and_then(CorsRequest::allowed_origin).map(FieldValue::into_owned);
        self.cors = Some(CorsState { allowed });
        answer
    }
}

/// Adds all edits of a response by its route, the target and the filters; the response is that of a backend or of the gateway.
pub fn response_head<'a>(
    route: &'a RouteEntry,
    target: usize,
    state: &'a FilterState,
    facts: &dyn Facts,
    edits: &mut Edits<'a>,
) {
    route.edit_response(target, facts, edits);
    for filter in &*route.config.filters {
        match filter {
            Filter::Fault(_) => {}
            Filter::Cors(policy) => {
                if let Some(kept) = &state.cors {
                    cors::edit_response(policy, kept.allowed.as_ref(), edits);
                }
            }
        }
    }
}
