//! The filters of a route: what happens to its requests between the choice of the route and its action.

use crate::{Cors, Fault};
use serde::Serialize;
use std::sync::Arc;

/// A filter of a route. The variants stand in the order in which filters run, and a route has at most one of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Filter {
    /// Delays and aborts requests (VS-43, VS-44). It runs first: an aborted request reaches no other filter, and its response has no headers of
    /// others.
    Fault(Box<Fault>),
    /// Answers preflight requests, and adds CORS headers to responses (VS-46). It runs before what costs more than a comparison of headers.
    Cors(Arc<Cors>),
}

impl Filter {
    /// The place in the order, from 0.
    pub fn place(&self) -> usize {
        match self {
            Self::Fault(_) => 0,
            Self::Cors(_) => 1,
        }
    }

    /// Filters in the order in which they run.
    pub fn in_order(filters: impl IntoIterator<Item = Self>) -> Box<[Self]> {
        let mut filters: Vec<Self> = filters.into_iter().collect();
        filters.sort_by_key(Self::place);
        filters.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use text::HeaderValue;

    #[test]
    fn vs_44_faults_run_before_cors() {
        let nothing = HeaderValue::parse("").unwrap();
        let cors = Filter::Cors(Arc::new(Cors {
            origins: Vec::new(),
            methods: nothing.clone(),
            headers: nothing.clone(),
            expose: nothing,
            max_age: None,
            credentials: false,
            forwards_unmatched: true,
        }));
        let fault = Filter::Fault(Box::new(Fault { delay: None, abort: None }));
        assert_eq!(*Filter::in_order([cors.clone(), fault.clone()]), [fault, cors]);
    }
}
