//! One route at run time: its targets with their slots, its edits, its local responses.

use crate::prepare::Refusal;
use crate::rewrite;
use crate::substitute::{self, Facts};
use ir::{
    Action, ClusterId, FieldName, Forward, ForwardProtocol, HeaderAppend, HeaderChanges, Origin, Route, TargetCluster,
};
use std::sync::Arc;
use text::{Authority, FieldValue, Target};
use wire::edit::Edits;
use wire::view::RequestView;

/// The detail of answers that a route has of its own.
const DIRECT: &str = "direct_response";

/// Gives a cluster's slot: a number that stays for the life of its id.
pub type Slots<'a> = &'a mut dyn FnMut(&ClusterId) -> u32;

/// A route with its derived values.
#[derive(Debug)]
pub struct RouteEntry {
    /// The route.
    pub config: Arc<Route>,
    /// One for each of the route's targets, in their order; none when it does not forward.
    pub targets: Box<[TargetEntry]>,
    /// The slots of the clusters of its mirrors, in their order; `None` for one that does not exist.
    pub mirrors: Box<[Option<u32>]>,
    /// Request headers that the edits of its response use (VS-47).
    pub captured_headers: Box<[FieldName]>,
    /// What is spoken on the destination's port, if the route is that of a forward proxy.
    pub proxied: Option<ForwardProtocol>,
}

/// One target of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEntry {
    /// The slot of its cluster; `None` when cluster not found: 503 `NC` (VS-32).
    pub slot: Option<u32>,
    /// The sum of the weights up to and with it.
    cumulative: u64,
}

/// A response of the route itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalAnswer {
    /// The status.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<FieldValue<'static>>,
    /// The body.
    pub body: Arc<[u8]>,
    /// Further headers.
    pub fields: Vec<(&'static str, FieldValue<'static>)>,
    /// The detail for logs.
    pub detail: &'static str,
    /// Whether it denies what was asked for, as the decision log has it; other answers serve, or tell of a failure.
    pub is_denial: bool,
    /// The object that decided, where it is not a route; for the decision log.
    pub rule: Option<Box<Origin>>,
}

impl LocalAnswer {
    /// The redirect to the normalised path (PC-04).
    pub fn to_normalised(view: &RequestView<'_>) -> Self {
        let query = view.query.map(|query| [b"?", query].concat()).unwrap_or_default();
        // Two slashes would begin the name of another host (RFC 3986 §4.2).
        let here = if view.path.starts_with(b"//") { &b"/."[..] } else { b"" };
        let location = Some(FieldValue::location([here, view.path, &query].concat()));
        Self { status: 307, location, detail: "path_normalization_failed", ..Self::default() }
    }

    /// The redirect to HTTPS (S-70, S-72).
    pub fn to_https(view: &RequestView<'_>) -> Self {
        Self { status: 301, location: Some(rewrite::https_location(view)), detail: DIRECT, ..Self::default() }
    }
}

impl RouteEntry {
    /// Builds a route.
    pub fn build(route: &Arc<Route>, slots: Slots<'_>) -> Self {
        let (targets, mirrors) = match &route.action {
            Action::Forward(forward) => {
                let targets = forward.targets.iter().map(|target| (&target.cluster, target.weight));
                let targets = TargetEntry::list(targets, slots);
                (targets, forward.mirrors.iter().map(|mirror| slot(&mirror.cluster, slots)).collect())
            }
            Action::Redirect(_) | Action::Respond(_) => Default::default(),
        };
        let of_targets = match &route.action {
            Action::Forward(forward) => &forward.targets[..],
            Action::Redirect(_) | Action::Respond(_) => &[],
        };
        let responses = of_targets.iter().map(|target| &target.response_headers).chain([&route.response_headers]);
        let captured_headers = substitute::captured_headers(responses);
        Self { config: Arc::clone(route), targets, mirrors, captured_headers, proxied: None }
    }

    /// The forward action, if the route forwards.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.config.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// The name of a target's cluster, whether there is one or not; empty where nothing is forwarded.
    pub fn cluster(&self, target: usize) -> &str {
        match self.forward().and_then(|forward| forward.targets.get(target)).map(|target| &target.cluster) {
            Some(TargetCluster::Known(id) | TargetCluster::Unknown { id, .. }) => id.as_str(),
            None => "",
        }
    }

    /// The number of a target, each with a chance in proportion to its weight (VS-33). `random` is asked when there are several.
    pub fn choose(&self, random: impl FnOnce() -> u64) -> usize {
        choose(&self.targets, random)
    }

    /// The request target that is sent where a rewrite changes it (VS-37).
    pub fn rewritten(&self, view: &RequestView<'_>) -> Result<Option<Target<'static>>, Refusal> {
        let Some(rewrite) = self.forward().and_then(|forward| forward.rewrite.as_ref()) else { return Ok(None) };
        rewrite::target(rewrite, &self.config.matches.path, view).map_err(|_| Refusal::Rewrite)
    }

    /// Adds the request edits of the route and one of its targets (VS-34, VS-38, VS-47), and the result of [`Self::rewritten`]. The target's
    /// edits come first, as in Envoy.
    pub fn edit_request<'a>(
        &'a self,
        number: usize,
        rewritten: Option<Target<'static>>,
        view: &RequestView<'_>,
        facts: &dyn Facts,
        edits: &mut Edits<'a>,
    ) {
        let Some(forward) = self.forward() else { return change(&self.config.request_headers, facts, edits) };
        if let Some(target) = forward.targets.get(number) {
            change(&target.request_headers, facts, edits);
        }
        change(&self.config.request_headers, facts, edits);
        if let Some(rewritten) = rewritten {
            edits.target = Some(rewritten);
            // Envoy sends the original path to the backend, and users of Istio rely on it.
            edits.set_checked("x-envoy-original-path", view.target().into_owned());
        }
        edits.authority = self.sent_authority(number).or(edits.authority);
    }

    /// The `Host` that is sent in place of the client's: the route's wins over that of the target (VS-38).
    pub(crate) fn sent_authority(&self, target: usize) -> Option<&Authority> {
        let forward = self.forward()?;
        forward.authority.as_ref().or_else(|| forward.targets.get(target)?.authority.as_ref())
    }

    /// Adds the response edits of the route and one of its targets.
    pub fn edit_response<'a>(&'a self, target: usize, facts: &dyn Facts, edits: &mut Edits<'a>) {
        if let Some(target) = self.forward().and_then(|forward| forward.targets.get(target)) {
            change(&target.response_headers, facts, edits);
        }
        change(&self.config.response_headers, facts, edits);
    }

    /// The response of a route that does not forward; `None` if it forwards.
    pub fn local_answer(&self, view: &RequestView<'_>) -> Option<LocalAnswer> {
        match &self.config.action {
            Action::Forward(_) => None,
            Action::Respond(response) => {
                let body = Arc::clone(&response.body);
                Some(LocalAnswer { status: response.status, body, detail: DIRECT, ..LocalAnswer::default() })
            }
            Action::Redirect(redirect) => {
                let location = rewrite::location(redirect, &self.config.matches.path, view);
                let location = Some(location);
                Some(LocalAnswer { status: redirect.status, location, detail: DIRECT, ..LocalAnswer::default() })
            }
        }
    }
}

impl TargetEntry {
    /// The entries of some targets with their weights, in their order.
    pub(crate) fn list<'a>(
        targets: impl Iterator<Item = (&'a TargetCluster, u32)>,
        slots: Slots<'_>,
    ) -> Box<[TargetEntry]> {
        let mut cumulative = 0;
        targets
            .map(|(cluster, weight)| {
                cumulative += u64::from(weight);
                TargetEntry { slot: slot(cluster, slots), cumulative }
            })
            .collect()
    }
}

fn slot(cluster: &TargetCluster, slots: Slots<'_>) -> Option<u32> {
    match cluster {
        TargetCluster::Known(id) => Some(slots(id)),
        TargetCluster::Unknown { .. } => None,
    }
}

/// The number of a target, each with a chance in proportion to its weight (VS-33). `random` is asked when there are several.
pub(crate) fn choose(targets: &[TargetEntry], random: impl FnOnce() -> u64) -> usize {
    let total = targets.last().map_or(0, |target| target.cumulative);
    if targets.len() < 2 || total == 0 {
        return 0;
    }
    let at = random() % total;
    targets.partition_point(|target| target.cumulative <= at)
}

/// Removals come first, then what is written, in its order.
fn change<'a>(changes: &'a HeaderChanges, facts: &dyn Facts, edits: &mut Edits<'a>) {
    for name in &changes.remove {
        edits.remove(name);
    }
    let before = edits.fields.len();
    for (name, text, append) in &changes.write {
        // Variables do not see headers that the same list writes; they do see its removals.
        let seen = edits.fields.get(..before).unwrap_or_default();
        let Some(value) = substitute::value(text, facts, seen) else { continue };
        match append {
            HeaderAppend::Append => edits.append(name, value),
            HeaderAppend::Overwrite => edits.set(name, value),
        }
    }
}

#[cfg(test)]
mod tests;
