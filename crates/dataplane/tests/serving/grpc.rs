//! gRPC: responses of the gateway itself as gRPC statuses, deadlines, and gRPC-Web (S-119, VS-39).

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, respond};
use crate::observe::Lines;
use crate::streams::{Streams, Whole, ask, connect, post, run};
use dataplane::{Limits, LogTarget};
use h2::Reason;
use http::{HeaderMap, Request};
use ir::LogFormat;

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
    Gateway::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"))
}

#[test]
fn responses_of_the_gateway_to_grpc_have_a_head_only() {
    let nowhere = Setup::default().host("a.test", forward("c", None)).cluster("c", &[]);
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
fn a_deadline_counts_from_the_head_and_is_sent_to_the_backend() {
    let backend = Streams::start(|_, mut respond, _| async move {
        // No response is sent until the gateway resets the stream.
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

/// As Envoy's `GRPC_STATUS`: the trailers, or else the head, or else the HTTP status.
#[test]
fn te_05_the_access_log_states_the_status_of_grpc_alone() {
    let backend = counting();
    let format = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER% %TRAILER(x?grpc-message)% %RESPONSE_TRAILERS_BYTES%";
    let lines = Lines::default();
    let log = (Box::new(lines.clone()) as LogTarget, LogFormat::text(format).unwrap());
    let gateway = Gateway::start(1, Limits::default(), Some(log));
    let setup = Setup::default().host("a.test", forward("c", None)).cluster("c", &[backend.address]);
    gateway.apply(&setup.http2("c").grpc_web());
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        ask(&mut client, call(None), b"\0\0\0\0\0", None).await.unwrap();
        let mut unknown = call(None);
        *unknown.uri_mut() = "http://nobody/pkg.Service/Method".parse().unwrap();
        ask(&mut client, unknown, b"", None).await.unwrap();
        ask(&mut client, post("/pkg.Service/Method"), b"", None).await.unwrap();
    });
    let mut client = gateway.client();
    let head = "POST /p.S/M HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc-web\r\n";
    client.send(format!("{head}Content-Length: 5\r\n\r\n\0\0\0\0\0"));
    assert_eq!(client.answer().status, 200);
    let of_trailers = "FailedPrecondition FAILED_PRECONDITION 9 so 26";
    assert_eq!(lines.get(4), [of_trailers, "Unimplemented UNIMPLEMENTED 12 - 0", "- - - so 26", of_trailers]);
}

#[test]
fn requests_that_are_not_grpc_get_http_responses() {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\ngrpc-timeout: 1n\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

/// A gRPC backend that returns what it received, with its status in trailers.
fn counting() -> Streams {
    Streams::start(|request, mut respond, _| async move {
        let (parts, mut receive) = request.into_parts();
        let (body, _) = crate::streams::read(&mut receive).await.unwrap();
        let header = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let head = http::Response::builder().header("content-type", "application/grpc").header(
            "x-got",
            format!("{} {} {} {body:?}", header("content-type"), header("te"), header("content-length")),
        );
        let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
        stream.send_data("\0\0\0\0\x02hi".into(), false).unwrap();
        stream.send_data("\0\0\0\0\x01!".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "9".parse().unwrap());
        trailers.insert("grpc-message", "so".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    })
}

const TRAILERS: &[u8] = b"\x80\0\0\0\x20grpc-status:9\r\ngrpc-message:so\r\n";

fn translating(backend: &Streams) -> Gateway {
    let setup = Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]);
    Gateway::serving(&setup.http2("c").grpc_web())
}

#[test]
fn s_119_grpc_web_becomes_grpc_and_its_trailers_the_last_frame() {
    let backend = counting();
    let gateway = translating(&backend);
    let mut client = gateway.client();
    let head = "POST /p.S/M HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc-web+proto\r\n";
    let post = format!("{head}Content-Length: 5\r\n\r\n\0\0\0\0\0");
    client.send(&post);
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc-web+proto")));
    assert_eq!(answer.header("x-got"), Some("application/grpc trailers 5 [0, 0, 0, 0, 0]"));
    assert_eq!(answer.body, [b"\0\0\0\0\x02hi\0\0\0\0\x01!", TRAILERS].concat());
    assert_eq!((answer.header("content-length"), answer.header("grpc-status")), (None, None));
    // The connection stays open, and HTTP/2 behaves in the same way.
    client.send(&post);
    assert_eq!(client.answer().status, 200);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        let mut request = crate::streams::post("/p.S/M");
        request.headers_mut().insert("content-type", "application/grpc-web".parse().unwrap());
        let answer = ask(&mut client, request, b"\0\0\0\0\0", None).await.unwrap();
        assert_eq!(answer.body, [b"\0\0\0\0\x02hi\0\0\0\0\x01!", TRAILERS].concat());
        assert_eq!(answer.trailers, None);
    });
}

#[test]
fn s_119_text_is_base64_both_ways_and_each_message_a_text_of_its_own() {
    let backend = counting();
    let gateway = translating(&backend);
    let mut client = gateway.client();
    let text = "application/grpc-web-text";
    let head = format!("POST /p.S/M HTTP/1.1\r\nHost: a.test\r\nContent-Type: {text}\r\nAccept: {text}\r\n");
    let mut told = |body: &str| {
        client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        client.answer()
    };
    let answer = told("AAAAAAFh");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc-web-text+proto")));
    assert_eq!(answer.header("x-got"), Some("application/grpc trailers - [0, 0, 0, 0, 1, 97]"));
    assert_eq!(answer.text(), "AAAAAAJoaQ==AAAAAAEhgAAAACBncnBjLXN0YXR1czo5DQpncnBjLW1lc3NhZ2U6c28NCg==");
    for bad in ["AAAAAAF", "!!!!"] {
        let answer = told(bad);
        assert_eq!((answer.status, answer.header("grpc-status"), answer.text()), (400, Some("13"), ""), "{bad}");
        assert_eq!(answer.header("grpc-message"), Some("a body of application/grpc-web-text has to be base64"));
        assert_eq!(answer.header("content-type"), Some("application/grpc-web-text+proto"));
    }
}

#[test]
fn s_119_a_response_that_is_not_grpc_becomes_a_status() {
    let page = Backend::start(|side| {
        side.request();
        side.send("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n50% <off>");
        side.request();
        side.send("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n");
        // The body does not end: only as much is read as `grpc-message` can have.
        while side.send(format!("400\r\n{}\r\n", "x".repeat(1024))) {}
    });
    let setup = Setup::default().host("a.test", forward("c", None)).cluster("c", &[page.address]);
    let gateway = Gateway::serving(&setup.host("b.test", respond(403, "no")).grpc_web());
    let mut client = gateway.client();
    let mut told = |host: &str| {
        client.send(format!(
            "POST /p.S/M HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.header("content-type"), Some("application/grpc-web+proto"));
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        (answer.status, header("grpc-status"), header("grpc-message"), answer.body)
    };
    assert_eq!(told("a.test"), (503, "14".to_owned(), "50%25 <off>".to_owned(), vec![]));
    assert_eq!(told("a.test"), (500, "2".to_owned(), "x".repeat(1024), vec![]));
    assert_eq!(told("b.test"), (403, "7".to_owned(), "no".to_owned(), vec![]));
    assert_eq!(told("c.test"), (404, "12".to_owned(), String::new(), vec![]));
}

#[test]
fn s_119_grpc_web_passes_as_it_is_where_it_is_not_translated() {
    let backend = counting();
    let gateway = to(&backend);
    let mut client = gateway.client();
    let head = "POST /p.S/M HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc-web\r\n";
    client.send(format!("{head}Content-Length: 5\r\n\r\n\0\0\0\0\0"));
    let answer = client.answer();
    assert_eq!(answer.header("x-got"), Some("application/grpc-web - 5 [0, 0, 0, 0, 0]"));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
}

#[test]
fn s_119_an_answer_of_grpc_that_breaks_off_ends_with_a_status() {
    let backend = Streams::start(|_, mut respond, _| async move {
        let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut stream = respond.send_response(head, false).unwrap();
        stream.send_data("\0\0\0\0\x01a".into(), false).unwrap();
        // The stream neither continues nor ends.
        let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
    });
    let gateway = to(&backend);
    run(async {
        let mut client = connect(gateway.addresses()[0]).await;
        // On a busy machine the deadline may end before the response begins. Then the head has the status, and the next deadline is longer.
        for deadline in ["50m", "200m", "1S", "5S", "20S"] {
            let answer = ask(&mut client, call(Some(deadline)), b"\0\0\0\0\0", None).await.unwrap();
            if answer.header("grpc-status") != Some("4") {
                assert_eq!((answer.text(), trailer(&answer)), ("\0\0\0\0\x01a", Some("4")));
                return;
            }
        }
        panic!("no response began within its deadline");
    });
}
