//! One host and its rules: finds the first rule that matches.

use crate::candidates::{Candidates, FEW};
use crate::claims::Claims;
use crate::judge::judge;
use crate::route::{RouteEntry, Slots};
use ir::{Host, HostPattern};
use std::sync::Arc;
use wire::view::RequestView;

/// One host and its rules.
#[derive(Debug)]
pub struct HostTable {
    /// The host.
    pub pattern: HostPattern,
    /// Its rules in their order.
    pub rules: Box<[Arc<RouteEntry>]>,
    /// Whether requests over plain HTTP are redirected to HTTPS (S-70).
    pub https_redirect: bool,
    candidates: Option<Box<Candidates>>,
}

impl HostTable {
    /// The table of a host.
    pub(crate) fn build(host: &Host, slots: Slots<'_>) -> Self {
        let rules: Box<[_]> = host.routes.iter().map(|route| Arc::new(RouteEntry::build(route, slots))).collect();
        let candidates = (rules.len() > FEW).then(|| Box::new(Candidates::build(&rules)));
        Self { pattern: host.pattern.clone(), rules, https_redirect: host.https_redirect, candidates }
    }

    /// The index of the first rule that matches.
    pub fn first_match(&self, view: &RequestView<'_>, claims: &Claims) -> Option<usize> {
        match &self.candidates {
            None => (0..self.rules.len()).find(|number| self.takes(*number, view, claims)),
            Some(candidates) => candidates
                .first(view.path, |number| self.takes(number as usize, view, claims))
                .map(|number| number as usize),
        }
    }

    fn takes(&self, number: usize, view: &RequestView<'_>, claims: &Claims) -> bool {
        self.rules.get(number).is_some_and(|rule| judge(&rule.config.matches, view, claims).is_ok())
    }
}
