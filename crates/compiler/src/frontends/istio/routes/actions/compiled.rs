//! A rule, and what its action is compiled to.

use ir::{Action, HeaderChanges, MatchPath};
use resources::spec::virtual_service::HttpRoute;

/// A rule for one of its matches.
#[derive(Clone, Copy)]
pub(crate) struct MatchedRule<'a> {
    pub(crate) rule: &'a HttpRoute,
    /// The path of the match.
    pub(crate) path: &'a MatchPath,
    /// The path of the field that has the rule.
    pub(crate) field: &'a str,
}

/// A rule's action with the header changes of the route itself.
pub(crate) struct Compiled {
    pub(crate) action: Action,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
}
