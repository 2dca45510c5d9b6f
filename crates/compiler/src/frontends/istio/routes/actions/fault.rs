//! `fault`: delays and aborts (VS-43, VS-44).

use ir::{Abort, Fault, Share};
use resources::spec::scalar::Duration as Written;
use resources::spec::virtual_service::{FaultAbort, FaultDelay, GRPC_STATUSES, HttpFault};
use std::time::Duration;

/// The fault of a rule, as far as any request meets it.
pub(crate) fn compile(written: Option<&HttpFault>) -> Option<Box<Fault>> {
    let written = written?;
    let fault = Fault {
        delay: written.delay.as_ref().and_then(delay).filter(|(share, _)| !share.is_none()),
        abort: written.abort.as_ref().and_then(abort).filter(|(share, _)| !share.is_none()),
    };
    (fault.delay.is_some() || fault.abort.is_some()).then(|| Box::new(fault))
}

/// VS-43: what has no percentage is for nobody.
fn delay(written: &FaultDelay) -> Option<(Share, Duration)> {
    let time = written.fixed_delay.and_then(Written::get).filter(|time| !time.is_zero())?;
    let percent = written.percentage.map_or(f64::from(written.percent), |percentage| percentage.value);
    Some((Share::of_percent(percent), time))
}

fn abort(written: &FaultAbort) -> Option<(Share, Abort)> {
    let share = Share::of_percent(written.percentage.map_or(0.0, |percentage| percentage.value));
    let http = written.http_status.and_then(|status| u16::try_from(status).ok());
    let http = http.filter(|status| (200..600).contains(status)).map(Abort::Http);
    let named = |name: &str| GRPC_STATUSES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok());
    let grpc = || written.grpc_status.as_deref().and_then(named).map(Abort::Grpc);
    Some((share, http.or_else(grpc)?))
}
