//! gRPC: answers of the gateway's own in its terms, and its deadlines (S-119, VS-39).

use crate::backend::Backend;
use crate::gateway::{Gateway, World, forward, respond};
use crate::streams::{Streams, Whole, ask, connect, post, run};
use h2::Reason;
use http::{HeaderMap, Request};

fn call(timeout: Option<&str>) -> Request<()> {
    let mut request = post("/pkg.Service/Method");
    request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    request
}

fn trailer(answer: &Whole) -> Option<&str> {
    answer.trailers.as_ref()?.get("grpc-status")?.to_str().ok()
}

fn to(backend: &Streams) -> Gateway {
    Gateway::serving(&World::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"))
}

#[test]
fn answers_of_the_gateway_are_told_in_the_head_alone() {
    let nowhere = World::default().host("a.test", forward("c", None)).cluster("c", &[]);
    let gateway = Gateway::serving(&nowhere.host("b.test", respond(403, "not & <you> 100%")));
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let mut told = async |host: &str| {
            let mut request = call(None);
            *request.uri_mut() = format!("http://{host}/pkg.Service/Method").parse().unwrap();
            let answer = ask(&mut client, request, b"\0\0\0\0\0", None).await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, ""));
            assert_eq!(answer.header("content-type"), Some("application/grpc"));
            let header = |name| answer.header(name).map(str::to_owned);
            (header("grpc-status").unwrap(), header("grpc-message"))
        };
        assert_eq!(told("a.test").await, ("14".to_owned(), Some("no healthy upstream".to_owned())));
        assert_eq!(told("b.test").await, ("7".to_owned(), Some("not & <you> 100%25".to_owned())));
        assert_eq!(told("c.test").await, ("12".to_owned(), None));
    });
    let answer = {
        let mut client = gateway.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n");
        client.answer()
    };
    assert_eq!((answer.status, answer.header("grpc-status"), answer.text()), (200, Some("14"), ""));
    assert_eq!(answer.header("content-length"), Some("0"));
}

#[test]
fn a_deadline_is_kept_from_the_head_on_and_the_backend_told() {
    let backend = Streams::start(|_, mut respond, _| async move {
        // Nothing is answered until the gateway breaks the stream off.
        let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
    });
    let gateway = to(&backend);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, call(Some("50m")), b"\0\0\0\0\0", None).await.unwrap();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")));
        assert_eq!(answer.header("grpc-message"), Some("upstream request timeout"));
    });
}

#[test]
fn a_status_in_trailers_or_in_the_head_passes_as_it_is() {
    let backend = Streams::start(|request, mut respond, _| async move {
        let alone = request.uri().path() == "/alone";
        let mut head = http::Response::new(());
        head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        if alone {
            head.headers_mut().insert("grpc-status", "5".parse().unwrap());
        }
        let mut stream = respond.send_response(head, alone).unwrap();
        if !alone {
            stream.send_data("\0\0\0\0\0".into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "9".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
    });
    let gateway = to(&backend);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let answer = ask(&mut client, call(None), b"", None).await.unwrap();
        assert_eq!((answer.text(), trailer(&answer)), ("\0\0\0\0\0", Some("9")));
        let mut alone = call(None);
        *alone.uri_mut() = "http://a.test/alone".parse().unwrap();
        let answer = ask(&mut client, alone, b"", None).await.unwrap();
        assert_eq!((answer.header("grpc-status"), trailer(&answer)), (Some("5"), None));
    });
}

#[test]
fn what_is_no_grpc_is_answered_as_ever() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\ngrpc-timeout: 1n\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}
