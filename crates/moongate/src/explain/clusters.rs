//! What bounds the requests to a cluster, in words.

use ir::{Cluster, OutlierDetection};

/// All of it; empty where nothing is set.
pub(super) fn bounds(cluster: &Cluster) -> Vec<String> {
    cluster.outlier.as_deref().map(outlier).into_iter().collect()
}

fn outlier(policy: &OutlierDetection) -> String {
    let counts = [
        (policy.consecutive_5xx, "5xx"),
        (policy.consecutive_gateway_failure, "502, 503, 504"),
        (policy.consecutive_local_origin_failure.unwrap_or(0), "failures of connections"),
    ];
    let rows: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{count} {of}")).collect();
    if rows.is_empty() {
        return "no endpoint is ever ejected: every count is 0".to_owned();
    }
    let mut words = format!(
        "an endpoint is ejected for {:?} and more after {} in a row, up to {} % of them",
        policy.base_ejection_time,
        rows.join(" or "),
        policy.max_ejection_percent
    );
    if policy.min_health_percent > 0 {
        words.push_str(&format!("; all are used where fewer than {} % are left", policy.min_health_percent));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dr_30_the_policy_is_told_in_words() {
        let policy = OutlierDetection {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: Some(3),
            error_statuses: [].into(),
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
            min_health_percent: 50,
        };
        let words = "an endpoint is ejected for 30s and more after 5 5xx or 3 failures of connections in a row, up to 10 % of them; \
                     all are used where fewer than 50 % are left";
        assert_eq!(outlier(&policy), words);
    }
}
