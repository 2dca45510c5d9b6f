//! Which requests are sent a second time, and which never are.

use crate::backend::Backend;
use crate::gateway::Gateway;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Responds to one request on the first connection, and closes that connection when the second request arrives. Other connections respond to all.
fn closing_when_used_again(reads_body: bool) -> Backend {
    Backend::start(move |side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
        if side.number == 0 {
            let head = side.head();
            if let (true, Some(head)) = (reads_body, head) {
                side.body(&head);
            }
            return;
        }
        while let Some((_, body)) = side.request() {
            side.send_with_length(&body);
        }
    })
}

fn answering_all_but_the_second_of_the_first_connection() -> Backend {
    Backend::start(|side| {
        let mut count = 0;
        while let Some(head) = side.head() {
            count += 1;
            if side.number == 0 && count == 2 {
                return;
            }
            let Some(body) = side.body(&head) else { return };
            side.send_with_length(&body);
        }
    })
}

#[test]
fn a_get_on_a_connection_that_had_been_closed_is_sent_again() {
    let backend = answering_all_but_the_second_of_the_first_connection();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").answer().status, 200);
    }
    assert_eq!((backend.connections(), backend.seen().len()), (2, 4));
    assert_eq!(gateway.metric("moongate_requests_replayed_total"), Some(1.0));
}

#[test]
fn a_post_is_not_sent_again() {
    let backend = closing_when_used_again(true);
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(client.with_body("POST", "abc").answer().status, 503);
    assert_eq!((backend.connections(), backend.seen().len()), (1, 2));
}

#[test]
fn a_put_is_sent_again_with_all_of_its_body() {
    let backend = answering_all_but_the_second_of_the_first_connection();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(client.with_body("PUT", "a body that comes at once").answer().text(), "a body that comes at once");
    assert_eq!((backend.connections(), backend.seen().len()), (2, 3));
}

#[test]
fn a_body_that_is_still_coming_is_whole_when_sent_again() {
    let (got, was_got) = std::sync::mpsc::channel::<()>();
    let backend = Backend::start(move |side| {
        let mut count = 0;
        while let Some(head) = side.head() {
            count += 1;
            if side.number == 0 && count == 2 {
                side.exactly(7);
                got.send(()).unwrap();
                return;
            }
            let Some(body) = side.body(&head) else { return };
            side.send_with_length(&body);
        }
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 21\r\n\r\npart 1 ");
    was_got.recv().unwrap();
    // Once the gateway has made the next connection, it has noticed the close.
    crate::gateway::until("a second connection", || backend.connections() == 2);
    client.send("part 2 ").send("part 3.");
    assert_eq!(client.answer().text(), "part 1 part 2 part 3.");
}

#[test]
fn a_body_that_is_too_large_to_keep_is_not_sent_again() {
    let backend = closing_when_used_again(true);
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(client.with_body("PUT", vec![b'x'; 300_000]).answer().status, 503);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_response_that_has_begun_is_not_retried() {
    let backend = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        side.request();
        side.send("HTTP/1.1 2");
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    assert_eq!(client.get("/").answer().status, 200);
    assert_eq!(client.get("/").answer().status, 503);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_post_finds_no_connection_that_was_closed_while_idle() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let backend = Backend::start(move |side| {
        side.request();
        side.send_with_length(b"");
        // Closes at once: the gateway must notice this, and close as well, before it sends a request.
        side.stream.shutdown(Shutdown::Write).unwrap();
        while side.more().is_some() {}
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for turn in 1..=5 {
        assert_eq!(client.with_body("POST", "abc").answer().status, 200);
        crate::gateway::until("the gateway closes the connection", || closed.load(Ordering::SeqCst) == turn);
    }
    assert_eq!(backend.connections(), 5);
}
