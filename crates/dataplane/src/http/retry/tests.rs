use super::AttemptFailure::{Closed, Connect, Final, Protocol, Response, TryTimeout, Unprocessed};
use super::ResponseProgress::{Begun, Nothing, PartialHead};
use super::*;
use ir::RetryOn;

const ALONE: AttemptFailure = Connect { has_others: false };

fn retries(attempts: u32, on: RetryOn) -> Retries {
    Retries { attempts, on, implied: false, backoff: Duration::from_millis(25), ..Retries::default() }
}

/// The outcome of an attempt whose request was written on a new connection, and can be sent again.
fn outcome(failure: AttemptFailure) -> AttemptOutcome<()> {
    AttemptOutcome {
        failure,
        is_started: true,
        is_replayable: true,
        may_be_stale: false,
        response: Nothing,
        permit: None,
    }
}

fn decide(state: &mut RetryState<()>, retries: Option<&Retries>, outcome: AttemptOutcome<()>) -> RetryDecision {
    state.decide(RetryPolicy { retries, is_hashed: false }, outcome, || Some(()), || 0)
}

#[test]
fn vs_40_each_condition_retries_its_causes() {
    let conditions = [
        RetryOn::SERVER_ERROR,
        RetryOn::GATEWAY_ERROR,
        RetryOn::RESET,
        RetryOn::CONNECT_FAILURE,
        RetryOn::RESET_BEFORE_REQUEST,
        RetryOn::REFUSED_STREAM,
        RetryOn::NONE,
    ];
    let table = [
        (ALONE, false, [true, true, true, true, true, false, false]),
        (Closed, true, [true, true, true, false, false, false, false]),
        (Protocol, true, [true, true, true, false, false, false, false]),
        (TryTimeout, true, [true, true, true, false, false, false, false]),
        // The end of the route's timeout, or a failure of the client.
        (Final, true, [false; 7]),
        // The response was compared with the policy before.
        (Response, true, [true; 7]),
    ];
    for (failure, is_started, expected) in table {
        let outcome = || AttemptOutcome { is_started, ..outcome(failure) };
        for (on, expected) in conditions.into_iter().zip(expected) {
            let decision = decide(&mut RetryState::default(), Some(&retries(1, on)), outcome());
            assert_eq!(matches!(decision, RetryDecision::Retry(_)), expected, "{failure:?}, {on:?}");
        }
        let without_policy = decide(&mut RetryState::default(), None, AttemptOutcome { is_started: true, ..outcome() });
        assert_eq!(without_policy, RetryDecision::Stop(NoRetryReason::NotRetriable), "{failure:?}");
    }
    // A malformed response to a request of which nothing was written: only the last condition names it.
    let before = retries(1, RetryOn::RESET_BEFORE_REQUEST);
    let unwritten = AttemptOutcome { is_started: false, ..outcome(Protocol) };
    assert!(matches!(decide(&mut RetryState::default(), Some(&before), unwritten), RetryDecision::Retry(_)));
}

#[test]
fn nothing_is_sent_again_that_is_not_there_or_after_the_response_has_begun() {
    let policy = retries(1, RetryOn::RESET);
    for (is_replayable, response, expected) in
        [(true, Nothing, true), (true, PartialHead, true), (true, Begun, false), (false, Nothing, false)]
    {
        let outcome = AttemptOutcome { is_replayable, response, ..outcome(Protocol) };
        let decision = decide(&mut RetryState::default(), Some(&policy), outcome);
        assert_eq!(matches!(decision, RetryDecision::Retry(_)), expected, "{is_replayable} {response:?}");
    }
}

#[test]
fn a_lost_request_is_replayed_once_without_a_policy() {
    let implied = Retries::default();
    let own = retries(0, RetryOn::NONE);
    // The policy, the failure, whether anything was written, whether the connection may be stale, what was received: whether it is replayed.
    let table = [
        (None, Closed, false, false, Nothing, true),
        (None, Closed, true, true, Nothing, false),
        (Some(&implied), Closed, true, true, Nothing, true),
        (Some(&implied), Closed, true, false, Nothing, false),
        (Some(&own), Closed, true, true, Nothing, false),
        (Some(&own), Closed, false, false, Nothing, true),
        (Some(&own), Unprocessed, true, false, Nothing, true),
        (Some(&implied), Closed, true, true, PartialHead, false),
        (Some(&implied), Closed, true, true, Begun, false),
        (Some(&implied), Protocol, true, true, Nothing, false),
        (Some(&implied), TryTimeout, true, true, Nothing, false),
    ];
    for (policy, failure, is_started, may_be_stale, response, expected) in table {
        let of = || AttemptOutcome { is_started, may_be_stale, response, ..outcome(failure) };
        let mut state = RetryState::default();
        let case = format!("{failure:?} {is_started} {may_be_stale} {response:?}");
        assert_eq!(decide(&mut state, policy, of()) == RetryDecision::Replay, expected, "{case}");
        assert_ne!(decide(&mut state, policy, of()), RetryDecision::Replay, "{case}: once");
        let unavailable = AttemptOutcome { is_replayable: false, ..of() };
        assert_ne!(decide(&mut RetryState::default(), policy, unavailable), RetryDecision::Replay, "{case}");
    }
}

#[test]
fn te_05_the_reason_of_no_retry_is_a_flag() {
    let policy = retries(1, RetryOn::RESET);
    let mut state = RetryState::default();
    assert!(matches!(decide(&mut state, Some(&policy), outcome(Protocol)), RetryDecision::Retry(_)));
    let exhausted = decide(&mut state, Some(&policy), outcome(Protocol));
    assert_eq!((exhausted, exhausted.flags()), (RetryDecision::Stop(NoRetryReason::Exhausted), Flags::URX));
    let rule = RetryPolicy { retries: Some(&policy), is_hashed: false };
    let full = RetryState::<()>::default().decide(rule, outcome(Protocol), || None, || 0);
    assert_eq!((full, full.flags()), (RetryDecision::Stop(NoRetryReason::Overflow), Flags::UO));
    let not = decide(&mut RetryState::default(), Some(&policy), outcome(Final));
    assert_eq!((not, not.flags()), (RetryDecision::Stop(NoRetryReason::NotRetriable), Flags::NONE));
}

#[test]
fn dr_21_the_permit_of_an_attempt_is_reused_and_one_that_came_with_the_response_is_kept() {
    let policy = retries(3, RetryOn::RESET);
    let rule = RetryPolicy { retries: Some(&policy), is_hashed: false };
    let mut acquired = 0;
    let mut state = RetryState::default();
    assert!(!state.has_permit());
    let with = AttemptOutcome { permit: Some(7), failure: Response, ..with_permits(Protocol) };
    assert!(matches!(state.decide(rule, with, || unreachable!("there is one"), || 0), RetryDecision::Retry(_)));
    assert_eq!(state.permit, Some(7));
    for _ in 0..2 {
        let acquire = || {
            acquired += 1;
            Some(9)
        };
        assert!(matches!(state.decide(rule, with_permits(Protocol), acquire, || 0), RetryDecision::Retry(_)));
    }
    assert_eq!((state.permit, acquired), (Some(7), 0));
}

fn with_permits(failure: AttemptFailure) -> AttemptOutcome<u8> {
    let AttemptOutcome { is_started, is_replayable, may_be_stale, response, .. } = outcome(failure);
    AttemptOutcome { failure, is_started, is_replayable, may_be_stale, response, permit: None }
}

#[test]
fn vs_40_another_endpoint_is_tried_at_once_unless_the_policy_stays_with_the_same() {
    let wait = |is_hashed, avoid_tried, has_others| {
        let policy = Retries { avoid_tried, ..retries(1, RetryOn::CONNECT_FAILURE) };
        let rule = RetryPolicy { retries: Some(&policy), is_hashed };
        let mut state = RetryState::<()>::default();
        state.begin(rule, 1, || 0);
        assert!(state.has_tried(1) && !state.has_tried(2));
        let outcome = AttemptOutcome { is_started: false, ..outcome(Connect { has_others }) };
        match state.decide(rule, outcome, || Some(()), || 24_000) {
            RetryDecision::Retry(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait(false, None, true), 0);
    assert_eq!(wait(false, None, false), 24);
    assert_eq!(wait(true, None, true), 24);
    assert_eq!(wait(true, Some(true), true), 0);
    assert_eq!(wait(false, Some(false), true), 24);
}

#[test]
fn vs_41_priorities_are_excluded_after_two_attempts() {
    let policy = Retries { remote_localities: true, ..retries(9, RetryOn::RESET) };
    let rule = RetryPolicy { retries: Some(&policy), is_hashed: false };
    let mut state = RetryState::<()>::default();
    let excluded = [1, 2, 4, 4].map(|bit| {
        state.begin(rule, u64::from(bit), || bit);
        state.excluded()
    });
    assert_eq!(excluded, [0, 3, 3, 7]);
}

#[test]
fn vs_40_waits_are_random_below_a_bound_that_doubles_up_to_ten_times_the_first() {
    let policy = Retries { attempts: 9, on: RetryOn::RESET, ..Retries::default() };
    let longest = |retries| {
        let state = RetryState::<()> { retries, ..RetryState::default() };
        (0..10_000_u64).map(|random| state.backoff(&policy, random * 0x9e37_79b9)).max().unwrap().as_millis()
    };
    assert_eq!([1, 2, 3, 4, 9].map(longest), [24, 74, 174, 249, 249]);
}
