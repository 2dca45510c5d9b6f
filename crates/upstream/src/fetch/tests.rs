//! Documents from real sockets.

use super::*;
use crate::store::{Settings, UpstreamStore};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that answers one connection with a text, and its port.
async fn serving(answer: impl Into<Vec<u8>>) -> (u16, tokio::task::JoinHandle<String>) {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), answer.into());
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        // The client may have seen enough.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(request).unwrap()
    });
    (port, served)
}

fn upstream(blocked: Blocked) -> Arc<UpstreamStore> {
    UpstreamStore::new(&Settings { blocked, ..Settings::default() }, Handle::current())
}

async fn fetched(answer: impl Into<Vec<u8>>, octets: usize) -> Result<String, String> {
    let (port, _served) = serving(answer).await;
    let url = format!("http://127.0.0.1:{port}/keys");
    let found = upstream(Blocked::of([])).fetch(FetchRequest::new(&url, PATIENCE, octets)).await;
    found.map(|body| String::from_utf8(body).unwrap()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_document_is_the_body_of_a_response() {
    let (port, served) = serving("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    let url = format!("http://127.0.0.1:{port}/a/b?c=d");
    assert_eq!(upstream(Blocked::of([])).fetch(FetchRequest::new(&url, PATIENCE, 10)).await.unwrap(), b"{}");
    let request = served.await.unwrap();
    assert!(request.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: 127.0.0.1:{port}\r\n")), "{request}");
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n{}",
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        assert_eq!(fetched(answer, 2).await.as_deref(), Ok("{}"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_whole_document_is_none() {
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "the status is 404"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
            "the status is 302, and redirects are not followed",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", "the status is 204"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "the response is not valid"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "the response is not valid"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "the response is not valid"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{1234567890", "the response has more than 10 octets"),
        ("HTTP/1.1 200 OK\r\n\r\n{12345678901234567890", "the response has more than 10 octets"),
        ("SSH-2.0-x\r\n\r\n", "the response is not valid"),
        ("", "the response is not valid"),
    ] {
        assert_eq!(fetched(answer, 10).await, Err(expected.to_owned()), "{answer}");
    }
}

#[tokio::test]
async fn a_fetch_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let short = Duration::from_millis(50);
    let error = upstream(Blocked::of([])).fetch(FetchRequest::new(&url, short, 10)).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn blocked_addresses_are_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = upstream(Blocked::default());
    for host in [
        "127.0.0.1",
        "127.1.2.3",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
    ] {
        let error =
            upstream.fetch(FetchRequest::new(&format!("http://{host}:{port}/"), PATIENCE, 10)).await.unwrap_err();
        assert!(matches!(error, FetchError::Blocked(..)), "{host}: {error}");
    }
    let private = ["10.0.0.1", "192.168.0.1", "172.16.0.1", "fd00::1", "192.0.2.1"];
    assert!(private.iter().all(|address| !Blocked::default().has(address.parse().unwrap())));
}

#[test]
fn urls_are_read_strictly() {
    let parts = |url| Url::parse(url).map(|url| (url.https, url.host.to_owned(), url.port, url.target));
    assert_eq!(parts("https://a.test/b?c"), Some((true, "a.test".into(), 443, "/b?c".into())));
    assert_eq!(parts("http://a.test:8080"), Some((false, "a.test".into(), 8080, "/".into())));
    assert_eq!(parts("http://a.test?b"), Some((false, "a.test".into(), 80, "/?b".into())));
    assert_eq!(parts("http://[::1]:1/"), Some((false, "::1".into(), 1, "/".into())));
    for bad in [
        "",
        "a.test",
        "ftp://a.test",
        "HTTPS://a.test",
        "https://",
        "https:///a",
        "https://u@a.test/",
        "https://u:p@a.test/",
        "https://a.test:0/",
        "https://a.test:x/",
        "https://a.test:99999/",
        "https://a.test/ b",
        "https://a.test/\r\nX: y",
        "https://a.test/#b",
        "http://[::1",
        "https://a\\b/",
        "file:///etc/passwd",
    ] {
        assert_eq!(parts(bad), None, "{bad}");
    }
}
