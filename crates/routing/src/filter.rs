//! The decisions of the filters of a route (`ir::Filter`), and their edits of the response. The data plane waits and sends; `explain` and it call
//! these functions in the order of the filters, which `dataplane::http::filters::pipeline` lists with its reasons.

use crate::cors::{self, CorsRequest};
use crate::ext_authz::Changes;
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
    /// What the service for authorization changes of the response (AP-13).
    checked: Option<Box<Changes>>,
    cors: Option<CorsState>,
}

/// What CORS keeps of a request.
#[derive(Debug, Clone)]
struct CorsState {
    /// The origin that may use the response (VS-46).
    allowed: Option<FieldValue<'static>>,
}

impl FilterState {
    /// The state of a request that a service for authorization has allowed with changes to its response.
    pub fn checked(changes: Option<Box<Changes>>) -> Self {
        Self { checked: changes, cors: None }
    }

    /// Runs CORS on a request. Returns the response to a preflight request, unless the request is forwarded.
    pub fn run_cors(&mut self, cors: &Cors, method: &[u8], fields: Fields<'_>) -> Option<LocalAnswer> {
        let request = CorsRequest::of(cors, fields);
        let answer = request.as_ref().and_then(|request| request.preflight(cors, method, fields));
        let allowed = request.and_then(CorsRequest::allowed_origin).map(FieldValue::into_owned);
        self.cors = Some(CorsState { allowed });
        answer
    }
}

/// Adds all edits of a response by its route, the target and the filters; the response is that of a backend or of the gateway. The order is that of
/// requests the other way round, so that a later edit, which wins, is that of an earlier filter.
pub fn edit_response<'a>(
    route: &'a RouteEntry,
    target: usize,
    state: &'a FilterState,
    facts: &dyn Facts,
    edits: &mut Edits<'a>,
) {
    // The route is the last step of a request.
    route.edit_response(target, facts, edits);
    for filter in route.config.filters.iter().rev() {
        match filter {
            // A request that it aborts gets a response of the gateway, which passes here as well.
            Filter::Fault(_) => {}
            Filter::Cors(policy) => {
                if let Some(kept) = &state.cors {
                    cors::edit_response(policy, kept.allowed.as_ref(), edits);
                }
            }
        }
    }
    // The service for authorization is the first filter of a request.
    if let Some(changes) = &state.checked {
        let fields = facts.response().map_or_else(|| Fields::new(&[], &[]), |(_, fields)| fields);
        changes.edit_response(fields, edits);
    }
}
