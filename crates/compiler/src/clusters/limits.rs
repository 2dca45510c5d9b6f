//! How much may be asked of a cluster at one time (DR-20, DR-21), and what the mesh says under it (DR-08).

use crate::context::CompileContext;
use crate::destination_rules::Effective;
use ir::{PoolLimits, RetryLimit, Share, TcpKeepalive};
use resources::spec::destination_rule::{self as spec, RetryBudget};
use resources::spec::scalar;
use std::time::Duration;

/// Where a budget says nothing of these.
const BUDGET_PERCENT: f64 = 20.0;
const BUDGET_MIN_CONCURRENCY: u32 = 3;

/// All limits; `None` where there are none.
pub(super) fn compile(context: CompileContext<'_>, effective: Effective<'_>) -> Option<PoolLimits> {
    let tcp = effective.connection_pool.and_then(|pool| pool.tcp.as_ref());
    let http = effective.connection_pool.and_then(|pool| pool.http.as_ref());
    // 0 is as good as absent.
    let count = |count: Option<i32>| count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    let limits = PoolLimits {
        max_connections: count(tcp.map(|tcp| tcp.max_connections)),
        max_pending_requests: count(http.map(|http| http.http1_max_pending_requests)),
        max_requests: count(http.map(|http| http.http2_max_requests)),
        max_retries: match effective.retry_budget {
            Some(budget) => Some(compile_budget(budget)),
            None => count(http.map(|http| http.max_retries)).map(RetryLimit::Count),
        },
        max_requests_per_connection: count(http.map(|http| http.max_requests_per_connection)),
        max_connection_duration: length(tcp.and_then(|tcp| tcp.max_connection_duration)),
        tcp_keepalive: keepalive(
            context.settings.mesh.tcp_keepalive.as_ref(),
            tcp.and_then(|tcp| tcp.tcp_keepalive.as_ref()),
        ),
    };
    (limits != PoolLimits::default()).then_some(limits)
}

fn length(duration: Option<scalar::Duration>) -> Option<Duration> {
    duration.and_then(scalar::Duration::get).filter(|duration| !duration.is_zero())
}

fn compile_budget(budget: &RetryBudget) -> RetryLimit {
    RetryLimit::Budget {
        percent: Share::of_percent(budget.percent.unwrap_or(BUDGET_PERCENT)),
        min_concurrency: budget.min_retry_concurrency.filter(|least| *least > 0).unwrap_or(BUDGET_MIN_CONCURRENCY),
    }
}

/// What the rule says, field by field over what the mesh says.
fn keepalive(mesh: Option<&spec::TcpKeepalive>, rule: Option<&spec::TcpKeepalive>) -> Option<TcpKeepalive> {
    let written = || rule.into_iter().chain(mesh);
    written().next()?;
    let whole = |duration: Duration| Duration::from_secs(duration.as_secs());
    let first = |field: fn(&spec::TcpKeepalive) -> Option<scalar::Duration>| {
        written().find_map(|one| length(field(one))).map(whole).filter(|duration| !duration.is_zero())
    };
    Some(TcpKeepalive {
        probes: written().map(|one| one.probes).find(|probes| *probes > 0),
        time: first(|one| one.time),
        interval: first(|one| one.interval),
    })
}
