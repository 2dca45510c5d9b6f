//! Retry policies of routes, counted by the requests that the backend receives (VS-40, VS-41).

use crate::backend::{Backend, Side};
use crate::gateway::{Gateway, Setup, retrying, until};
use crate::observe::Lines;
use crate::streams::{connect, get, meanwhile, run};
use dataplane::Limits;
use ir::LogFormat;
use ir::{PoolLimits, Retries, RetryLimit, RetryOn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::ports::refusing;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn policy(attempts: u32, on: RetryOn) -> Retries {
    Retries { attempts, on, backoff: Duration::from_millis(1), implied: false, ..Retries::default() }
}

fn to(backend: &Backend, retries: Option<Retries>) -> Gateway {
    Gateway::serving(&Setup::default().host("*", retrying("c", None, retries)).cluster("c", &[backend.address]))
}

/// A backend that fails its first requests, over all connections, and responds to the others.
fn failing(times: usize, badly: impl Fn(&mut Side) -> bool + Send + Sync + 'static) -> Backend {
    let count = AtomicUsize::new(0);
    Backend::start(move |side| {
        while side.request().is_some() {
            let bad = count.fetch_add(1, Ordering::SeqCst) < times;
            if !(if bad { badly(side) } else { side.send(OK) }) {
                return;
            }
        }
    })
}

/// The attempt counts that the backend received.
fn counts(backend: &Backend) -> Vec<String> {
    let count =
        |head: &String| head.lines().find_map(|line| line.strip_prefix("x-envoy-attempt-count: ").map(str::to_owned));
    backend.seen().iter().map(|head| count(head).unwrap()).collect()
}

#[test]
fn vs_41_requests_are_retried_with_their_bodies_as_often_as_configured() {
    let backend = failing(2, |side| side.send(UNAVAILABLE));
    let gateway = to(&backend, Some(policy(2, RetryOn::SERVER_ERROR)));
    let mut client = gateway.client();
    assert_eq!(client.with_body("POST", "a body").answer().text(), "ok");
    assert_eq!(counts(&backend), ["1", "2", "3"]);
    assert!(backend.seen().iter().all(|head| head.contains("content-length: 6\r\n")));
    assert_eq!(gateway.metric("moongate_requests_retried_total"), Some(2.0));
}

#[test]
fn te_05_the_last_answer_is_passed_on_and_marked() {
    let backend = failing(9, |side| side.send(UNAVAILABLE));
    let gateway = to(&backend, Some(policy(2, RetryOn::GATEWAY_ERROR)));
    assert_eq!(gateway.client().get("/").answer().status, 503);
    assert_eq!(backend.seen().len(), 3);
    gateway.has_counted(r#"response_flags="URX""#);
}

#[test]
fn vs_41_connections_that_break_and_attempts_that_take_too_long_leave_no_answer() {
    let backend = failing(1, |_| false);
    let gateway = to(&backend, Some(policy(1, RetryOn::RESET)));
    assert_eq!(gateway.client().with_body("POST", "a").answer().status, 200);
    assert_eq!(backend.seen().len(), 2);

    let slow = failing(1, |side| {
        // Until the gateway has given up.
        while side.more().is_some() {}
        false
    });
    let limited = Retries { per_try_timeout: Some(Duration::from_secs(1)), ..policy(1, RetryOn::RESET) };
    let gateway = to(&slow, Some(limited.clone()));
    assert_eq!(gateway.client().get("/").answer().status, 200);
    assert_eq!(counts(&slow), ["1", "2"]);

    let slow = failing(9, |side| {
        while side.more().is_some() {}
        false
    });
    let gateway = to(&slow, Some(Retries { on: RetryOn::CONNECT_FAILURE, ..limited }));
    let answer = gateway.client().get("/").answer();
    assert_eq!((answer.status, answer.text()), (504, "upstream request timeout"));
    assert_eq!(slow.seen().len(), 1);
    gateway.has_counted(r#"response_flags="UT""#);
}

#[test]
fn vs_40_the_default_sends_nothing_again_that_may_have_been_processed() {
    for (retries, method) in [(Some(Retries::default()), "POST"), (Some(Retries::default()), "GET"), (None, "GET")] {
        let backend = failing(9, |_| false);
        let gateway = to(&backend, retries);
        assert_eq!(gateway.client().with_body(method, "").answer().status, 503);
        assert_eq!(backend.seen().len(), 1, "{method}");
    }
}

#[test]
fn vs_39_all_attempts_share_the_route_timeout() {
    let backend = failing(usize::MAX, |side| side.send(UNAVAILABLE));
    let endless = Retries { backoff: Duration::from_millis(40), ..policy(1000, RetryOn::SERVER_ERROR) };
    let action = retrying("c", Some(Duration::from_millis(150)), Some(endless));
    let gateway = Gateway::serving(&Setup::default().host("*", action).cluster("c", &[backend.address]));
    assert_eq!(gateway.client().get("/").answer().status, 504);
    gateway.has_counted(r#"response_flags="UT""#);
}

#[test]
fn vs_41_the_log_counts_a_body_once_however_often_it_is_sent() {
    let backend = failing(2, |side| side.send(UNAVAILABLE));
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), LogFormat::istio_text())));
    let action = retrying("c", None, Some(policy(2, RetryOn::SERVER_ERROR)));
    gateway.apply(&Setup::default().host("*", action).cluster("c", &[backend.address]));
    assert_eq!(gateway.client().with_body("POST", "a body").answer().text(), "ok");
    assert!(lines.get(1)[0].contains(" 6 2 "), "{:?}", lines.get(1));
}

#[test]
fn vs_39_the_route_timeout_begins_with_the_complete_request_for_every_attempt() {
    let backend = failing(1, |side| side.send(UNAVAILABLE));
    let limit = Duration::from_secs(1);
    let action = retrying("c", Some(limit), Some(policy(1, RetryOn::SERVER_ERROR)));
    let gateway = Gateway::serving(&Setup::default().host("*", action).cluster("c", &[backend.address]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    // The body takes longer than the timeout of the route.
    let begun = Instant::now();
    while begun.elapsed() <= limit {
        client.send("1\r\na\r\n");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(client.send("0\r\n\r\n").answer().status, 200);
    assert_eq!(counts(&backend), ["1", "2"]);
}

#[test]
fn a_body_larger_than_the_replay_buffer_is_not_retried() {
    let backend = failing(9, |side| side.send(UNAVAILABLE));
    let gateway = to(&backend, Some(policy(3, RetryOn::SERVER_ERROR)));
    assert_eq!(gateway.client().with_body("POST", vec![b'x'; 200_000]).answer().status, 503);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn dr_21_concurrent_retries_are_limited() {
    let count = AtomicUsize::new(0);
    let backend = Backend::start(move |side| {
        side.request();
        if count.fetch_add(1, Ordering::SeqCst) == 1 {
            // The first one's second attempt goes on.
            while side.more().is_some() {}
        } else {
            side.send(UNAVAILABLE);
        }
    });
    let action = retrying("c", None, Some(policy(5, RetryOn::SERVER_ERROR)));
    let limits = PoolLimits { max_retries: Some(RetryLimit::Count(1)), ..PoolLimits::default() };
    let setup = Setup::default().host("*", action).cluster("c", &[backend.address]).limits(limits);
    let gateway = Gateway::serving(&setup);
    let mut first = gateway.client();
    first.get("/first");
    crate::gateway::until("two requests", || backend.seen().len() == 2);
    // No retry is allowed for this request, which gets the response of its attempt.
    assert_eq!(gateway.client().get("/second").answer().status, 503);
    assert_eq!(backend.seen().len(), 3);
    gateway.has_counted(r#"response_flags="UO""#);
}

#[test]
fn vs_40_grpc_unavailable_in_the_head_is_retried_by_default() {
    let unavailable =
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n";
    let backend = failing(2, move |side| side.send(unavailable));
    let gateway = to(&backend, Some(Retries::default()));
    let mut client = gateway.client();
    client.send(
        "POST /p.S/M HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0",
    );
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn vs_41_zero_attempts_means_no_retry_over_a_stale_connection_either() {
    for (retries, status) in [(Some(Retries::default()), 200), (None, 503)] {
        let count = AtomicUsize::new(0);
        let backend = Backend::start(move |side| {
            // The second request finds the connection closed.
            while side.request().is_some() && count.fetch_add(1, Ordering::SeqCst) != 1 && side.send(OK) {}
        });
        let gateway = to(&backend, retries);
        let mut client = gateway.client();
        assert_eq!(client.get("/").answer().status, 200);
        assert_eq!(client.get("/").answer().status, status);
    }
}

#[test]
fn vs_40_a_client_that_closes_before_the_next_attempt_is_detected() {
    const NOTICED: &str = r#"response_code="0",response_flags="DC""#;
    let backend = failing(usize::MAX, |side| side.send(UNAVAILABLE));
    let slow = Retries { backoff: Duration::from_secs(3600), ..policy(1, RetryOn::SERVER_ERROR) };
    let gateway = to(&backend, Some(slow));
    let mut client = gateway.client();
    client.get("/");
    until("the request is to be retried", || gateway.metric("moongate_requests_retried_total") == Some(1.0));
    client.finish();
    client.reset();
    gateway.has_counted(NOTICED);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let (response, mut stream) = client.send_request(get("/"), true).unwrap();
        meanwhile(|| gateway.metric("moongate_requests_retried_total") == Some(2.0)).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        meanwhile(|| gateway.metrics().lines().any(|line| line.contains(NOTICED) && line.ends_with(" 2"))).await;
    });
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn vs_40_the_failure_of_the_last_attempt_mentions_retries() {
    const TOLD: &str = "upstream connect error or disconnect/reset before headers. ";
    let told = |backend: SocketAddr, retries: Retries, setup: fn(Setup) -> Setup| {
        let setup = setup(Setup::default().host("*", retrying("c", None, Some(retries))).cluster("c", &[backend]));
        let answer = Gateway::serving(&setup).client().get("/").answer();
        (answer.status, answer.text().strip_prefix(TOLD).unwrap_or_default().to_owned())
    };
    let as_is = |setup: Setup| setup;
    let none_again = |setup: Setup| {
        let max_retries = Some(RetryLimit::Count(0));
        setup.limits(PoolLimits { max_retries, ..PoolLimits::default() })
    };
    let closing = failing(usize::MAX, |_| false);
    let garbled = failing(usize::MAX, |side| side.send("no answer\r\n\r\n"));
    let nobody = refusing();
    let again = |words: &str| format!("retried and the latest reset reason: {words}");
    let once = |words: &str| format!("reset reason: {words}");
    let reset = || policy(2, RetryOn::RESET);
    assert_eq!(told(closing.address, reset(), as_is), (503, again("connection termination")));
    assert_eq!(told(garbled.address, reset(), as_is), (502, again("protocol error")));
    let connect = policy(2, RetryOn::CONNECT_FAILURE);
    assert_eq!(told(nobody, connect.clone(), as_is), (503, again("remote connection failure")));
    // Without an attempt there is no count.
    assert_eq!(told(closing.address, connect, as_is), (503, once("connection termination")));
    assert_eq!(told(closing.address, reset(), none_again), (503, once("connection termination")));
}
