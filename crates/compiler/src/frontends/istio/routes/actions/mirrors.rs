//! `mirror` and `mirrors` (VS-45).

use crate::context::CompileContext;
use crate::destinations::{self, Asking};
use crate::report::Notes;
use ir::{Mirror, Share};
use resources::spec::destination_rule::Destination;
use resources::spec::scalar::Percent;
use resources::spec::virtual_service::HttpRoute;

/// Who gets copies of the requests of a rule; `field` is its path.
pub(super) fn compile(
    context: CompileContext<'_>,
    asking: Asking<'_>,
    rule: &HttpRoute,
    field: &str,
    notes: &mut Notes,
) -> Box<[Mirror]> {
    let mut mirrors = Vec::new();
    let mut add = |destination: Option<&Destination>, share: Share, at: String| {
        if let Some(destination) = destination.filter(|_| !share.is_none()) {
            mirrors.push(Mirror { cluster: destinations::resolve(context, asking, destination, &at, notes), share });
        }
    };
    let percent = rule.mirror_percentage.as_deref().copied().map(percent_of).or(rule.mirror_percent.map(f64::from));
    add(rule.mirror.as_deref(), share(percent), format!("{field}.mirror"));
    for (at, mirror) in rule.mirrors.iter().enumerate() {
        let at = format!("{field}.mirrors[{at}].destination");
        add(mirror.destination.as_ref(), share(mirror.percentage.map(percent_of)), at);
    }
    mirrors.into()
}

/// All unless it is said, and none where 0 is.
fn share(percent: Option<f64>) -> Share {
    Share::of_percent(percent.unwrap_or(100.0))
}

fn percent_of(written: Percent) -> f64 {
    written.value
}
