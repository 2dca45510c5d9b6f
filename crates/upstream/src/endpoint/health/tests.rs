use super::*;

const BASE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(10);

fn policy() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 3,
        consecutive_gateway_failure: 2,
        consecutive_local_origin_failure: None,
        error_statuses: [429].into(),
        interval: INTERVAL,
        base_ejection_time: BASE,
        max_ejection_time: Duration::from_secs(300),
        max_ejection_percent: 100,
    }
}

/// Which of the outcomes were the last of a row that is long enough.
fn detected(policy: &OutlierDetection, outcomes: &[Outcome]) -> Vec<bool> {
    let health = Health::default();
    outcomes
        .iter()
        .map(|outcome| {
            let told = health.count(policy, *outcome);
            assert_eq!(told, health.take_detected() > 0);
            told
        })
        .collect()
}

use Outcome::{Answered, Connected, Disconnected, Served, TimedOut};

#[test]
fn dr_30_consecutive_failures_are_detected_and_a_success_resets_them() {
    let policy = OutlierDetection { consecutive_gateway_failure: 0, ..policy() };
    let of = |outcomes: &[Outcome]| detected(&policy, outcomes);
    assert_eq!(of(&[Answered(500), Answered(501), Answered(599)]), [false, false, true]);
    assert_eq!(of(&[Answered(500), Answered(500), Answered(404), Answered(500)]), [false; 4]);
    assert_eq!(of(&[Disconnected, TimedOut, Answered(500)]), [false, false, true]);
    assert_eq!(of(&[Answered(429), Answered(429), Answered(429)]), [false, false, true]);
    // A row that was found begins anew, so that an endpoint that could not be ejected is looked at again.
    assert_eq!(of(&[Answered(500); 6]), [false, false, true, false, false, true]);
    // A connection says nothing of the answers that are to come, unless no more will be told.
    assert_eq!(
        of(&[Disconnected, Connected, Disconnected, Connected, Disconnected]),
        [false, false, false, false, true]
    );
    assert_eq!(of(&[Disconnected, Disconnected, Served, Disconnected]), [false; 4]);
}

#[test]
fn dr_30_gateway_errors_are_a_row_of_their_own_that_other_errors_end() {
    let policy = policy();
    assert_eq!(detected(&policy, &[Answered(502), Answered(504)]), [false, true]);
    assert_eq!(detected(&policy, &[Answered(503), Answered(500), Answered(503)]), [false, false, true]);
    let off = OutlierDetection { consecutive_5xx: 0, consecutive_gateway_failure: 0, ..policy };
    assert_eq!(detected(&off, &[Answered(503); 9]), [false; 9]);
}

#[test]
fn dr_30_local_failures_are_counted_separately_if_configured() {
    let policy = OutlierDetection { consecutive_local_origin_failure: Some(2), ..policy() };
    assert_eq!(detected(&policy, &[Disconnected, TimedOut]), [false, true]);
    assert_eq!(detected(&policy, &[Disconnected, Connected, Disconnected]), [false; 3]);
    assert_eq!(detected(&policy, &[Disconnected, Answered(500), Disconnected]), [false; 3]);
    // They are no 5xx then.
    assert_eq!(detected(&policy, &[Answered(500), Disconnected, Answered(500)]), [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn dr_30_each_ejection_takes_longer_and_healthy_intervals_make_it_shorter_again() {
    let (health, policy, begun) = (Health::default(), policy(), Instant::now());
    let mut now = begun;
    let mut out = |health: &Health| {
        let from = now;
        health.eject(&policy, now);
        while !health.sweep(&policy, now) {
            now += INTERVAL;
        }
        (now - from).as_secs()
    };
    assert_eq!([(); 12].map(|()| out(&health)), [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    assert!(!health.is_settled());
    let mut calm = 0;
    while !health.is_settled() {
        now += INTERVAL;
        health.sweep(&policy, now);
        calm += 1;
    }
    assert_eq!(calm, 11);
    let mut now = begun + Duration::from_secs(100_000);
    health.eject(&policy, now);
    now += BASE;
    assert!(health.sweep(&policy, now) && !health.is_ejected());
}

#[tokio::test(start_paused = true)]
async fn dr_30_failures_during_an_ejection_are_ignored() {
    let (health, policy) = (Health::default(), policy());
    let fail = || health.count(&policy, Answered(500));
    assert!([fail(), fail(), fail()][2]);
    assert_eq!(health.take_detected(), 1);
    health.eject(&policy, Instant::now());
    assert!([fail(), fail(), fail()][2]);
    assert_eq!(health.take_detected(), 0);
    health.restore(Instant::now());
    assert_eq!([fail(), fail(), fail()], [false, false, true]);
}
