//! Uploads that a backend does not read: the time limit, and clients that reset or half-close meanwhile.

use crate::backend::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup, forward};
use crate::streams::{Streams, connect, post, run};
use bytes::Bytes;
use dataplane::Limits;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// More than all sockets and pipes between a client and a backend hold.
const ENDLESS: usize = 64 << 20;
/// A head whose body is spliced, and one whose body is copied.
const HEADS: [&str; 2] = ["Content-Length: 67108864\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4000000\r\n"];

/// A backend that reads nothing of its connections before it is released, and then answers a request on each.
struct StalledBackend {
    backend: Backend,
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl StalledBackend {
    fn start() -> Self {
        let released = Arc::new((Mutex::new(false), Condvar::new()));
        let waited = Arc::clone(&released);
        let backend = Backend::start(move |side| {
            let (flag, changed) = &*waited;
            drop(changed.wait_while(flag.lock().unwrap(), |is_released| !*is_released).unwrap());
            if let Some((_, body)) = side.request() {
                side.send_with_length(body.len().to_string().as_bytes());
            }
        });
        Self { backend, released }
    }

    fn release(&self) {
        let (flag, changed) = &*self.released;
        *flag.lock().unwrap() = true;
        changed.notify_all();
    }
}

impl Drop for StalledBackend {
    fn drop(&mut self) {
        self.release();
    }
}

fn limited(write_timeout: Duration) -> Limits {
    Limits { write_timeout, ..Limits::default() }
}

/// Writes to a connection from a thread, until all is written or the connection ends.
fn write(stream: &TcpStream, octets: usize) -> JoinHandle<bool> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 20];
        (0..octets / piece.len()).all(|_| stream.write_all(&piece).is_ok())
    })
}

/// Uploads until nothing more is taken.
fn stalled(gateway: &Gateway, head: &str) -> Client {
    let mut client = gateway.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{head}"));
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(client.stream.write_all(&vec![b'x'; ENDLESS]).is_err(), "the backend has read");
    client
}

#[test]
fn s_121_an_upload_that_the_backend_does_not_read_is_408_in_the_end() {
    let stalled = StalledBackend::start();
    let gateway = Gateway::with_limits(stalled.backend.address, limited(Duration::from_millis(300)));
    for (number, head) in HEADS.iter().enumerate() {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{head}"));
        let writer = write(&client.stream, ENDLESS);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (408, "stream timeout"), "{head}");
        assert!(client.is_closed());
        assert!(!writer.join().unwrap());
        // It is not sent again.
        assert_eq!(stalled.backend.connections(), number + 1);
    }
    gateway.has_counted(r#"response_code="408",response_flags="SI""#);
}

#[test]
fn s_121_an_upload_on_a_stream_that_the_backend_does_not_read_is_408_in_the_end() {
    let stalled = StalledBackend::start();
    let gateway = Gateway::with_limits(stalled.backend.address, limited(Duration::from_millis(300)));
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let (response, mut stream) = client.send_request(post("/"), false).unwrap();
        stream.send_data(Bytes::from(vec![b'x'; ENDLESS]), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
    });
    gateway.has_counted(r#"response_code="408",response_flags="SI""#);
}

#[test]
fn s_121_a_request_of_which_only_the_backend_misses_the_end_is_504() {
    let backend = Streams::start(|request, mut respond, _| async move {
        let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
        drop(request);
    });
    let gateway = Gateway::start(1, limited(Duration::from_millis(300)), None);
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"));
    let mut client = gateway.client();
    // One octet more than the window of a stream.
    let answer = client.with_body("POST", vec![b'x'; 65_536]).answer();
    assert_eq!((answer.status, answer.text()), (504, "stream timeout"));
    gateway.has_counted(r#"response_code="504",response_flags="SI""#);
}

#[test]
fn a_client_that_resets_a_stalled_upload_ends_its_request() {
    for head in HEADS {
        let backend = StalledBackend::start();
        let gateway = Gateway::to(backend.backend.address);
        stalled(&gateway, head).reset();
        gateway.has_counted(r#"response_flags="DC""#);
    }
}

#[test]
fn a_client_that_resets_the_stream_of_a_stalled_upload_ends_its_request() {
    let backend = StalledBackend::start();
    let gateway = Gateway::to(backend.backend.address);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let (response, mut stream) = client.send_request(post("/"), false).unwrap();
        stream.send_data(Bytes::from(vec![b'x'; ENDLESS]), false).unwrap();
        crate::streams::meanwhile(|| backend.backend.connections() == 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        assert!(response.await.is_err());
        crate::streams::meanwhile(|| gateway.metrics().contains(r#"response_flags="DC""#)).await;
    });
}

#[test]
fn a_half_close_is_no_reset_of_a_stalled_upload() {
    const LENGTH: usize = 5 << 20;
    let backend = StalledBackend::start();
    let gateway = Gateway::to(backend.backend.address);
    let mut client = gateway.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LENGTH}\r\n\r\n"));
    let (stream, writer) = (client.stream.try_clone().unwrap(), write(&client.stream, LENGTH));
    let half_close = std::thread::spawn(move || {
        assert!(writer.join().unwrap());
        stream.shutdown(Shutdown::Write).unwrap();
    });
    // Once the gateway has noticed the reset of a later client, it has checked this one as well.
    stalled(&gateway, HEADS[0]).reset();
    gateway.has_counted(r#"response_flags="DC""#);
    backend.release();
    half_close.join().unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, LENGTH.to_string().as_str()));
}
