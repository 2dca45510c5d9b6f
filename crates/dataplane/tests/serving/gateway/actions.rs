//! What routes do.

use super::snapshot::id;
use ir::{Action, DirectResponse, Forward, Mirror, Retries, Share, Target, TargetCluster};
use std::sync::Arc;
use std::time::Duration;

/// Sends everything to one cluster, with a retry policy.
pub(crate) fn retrying(cluster: &str, timeout: Option<Duration>, retries: Option<Retries>) -> Action {
    match forward(cluster, timeout) {
        Action::Forward(forward) => Action::Forward(Forward { retries: retries.map(Arc::new), ..forward }),
        other => other,
    }
}

/// Sends everything to one cluster, and mirrors it to others.
pub(crate) fn mirroring(cluster: &str, mirrors: &[(&str, Share)]) -> Action {
    let mirror = |(name, share): &(&str, Share)| Mirror { cluster: TargetCluster::Known(id(name)), share: *share };
    match forward(cluster, None) {
        Action::Forward(forward) => {
            Action::Forward(Forward { mirrors: mirrors.iter().map(mirror).collect(), ..forward })
        }
        other => other,
    }
}

/// Sends everything to one cluster.
pub(crate) fn forward(cluster: &str, timeout: Option<Duration>) -> Action {
    let target = Target::plain(TargetCluster::Known(id(cluster)), 1);
    Action::Forward(Forward { timeout, retries: Some(Arc::default()), ..Forward::to(vec![target]) })
}

/// Responds to everything with this status and body.
pub(crate) fn respond(status: u16, body: &str) -> Action {
    Action::Respond(DirectResponse { status, body: body.as_bytes().into() })
}
