//! When endpoints are taken out of use (DR-30), with the defaults that Istio and Envoy have.

use ir::OutlierDetection;
use resources::spec::destination_rule as spec;
use resources::spec::scalar;
use std::time::Duration;

const CONSECUTIVE: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(10);
const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
/// Istio has no field for it; it is longer where the base time is.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);
const MAX_EJECTION_PERCENT: u32 = 10;

/// What a policy says. A field that is 0 is as good as absent, but for the counts that say never.
pub(super) fn compile(written: &spec::OutlierDetection) -> OutlierDetection {
    let length = |duration: Option<scalar::Duration>| duration.and_then(scalar::Duration::get).filter(|d| !d.is_zero());
    let percent = |percent: i32| u32::try_from(percent).unwrap_or(0).min(100);
    let base_ejection_time = length(written.base_ejection_time).unwrap_or(BASE_EJECTION_TIME);
    let local = written.consecutive_local_origin_failures.filter(|count| *count > 0).unwrap_or(CONSECUTIVE);
    let statuses = &written.outlier_detection_http_error_codes;
    let mut error_statuses: Vec<u16> = statuses.iter().filter_map(|status| u16::try_from(*status).ok()).collect();
    error_statuses.sort_unstable();
    OutlierDetection {
        consecutive_5xx: written.consecutive_5xx_errors.unwrap_or(CONSECUTIVE),
        // Envoy's own default is not enforced.
        consecutive_gateway_failure: written.consecutive_gateway_errors.unwrap_or(0),
        consecutive_local_origin_failure: written.split_external_local_origin_errors.then_some(local),
        error_statuses: error_statuses.into(),
        interval: length(written.interval).unwrap_or(INTERVAL),
        base_ejection_time,
        max_ejection_time: MAX_EJECTION_TIME.max(base_ejection_time),
        max_ejection_percent: match percent(written.max_ejection_percent) {
            0 => MAX_EJECTION_PERCENT,
            percent => percent,
        },
    }
}
