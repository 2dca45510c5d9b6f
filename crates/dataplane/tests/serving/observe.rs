//! The access log and the counters.

use crate::backend::Backend;
use crate::gateway::{Gateway, Setup, forward, until};
use dataplane::Limits;
use ir::LogFormat;
use ir::{HeaderSettings, MeshConnectionSettings};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn get(&self, count: usize) -> Vec<String> {
        let text = || String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        until("the lines are written", || text().lines().count() >= count);
        text().lines().map(str::to_owned).collect()
    }
}

fn logged(format: LogFormat, endpoint: Option<std::net::SocketAddr>) -> (Gateway, Lines) {
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), format)));
    let endpoints: Vec<_> = endpoint.into_iter().collect();
    gateway.apply(&Setup::default().host("a.test", forward("c", None)).cluster("c", &endpoints));
    (gateway, lines)
}

#[test]
fn te_05_each_request_has_a_line() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let (gateway, lines) = logged(LogFormat::istio_text(), Some(backend.address));
    let mut client = gateway.client();
    client.send("POST /p?q HTTP/1.1\r\nHost: a.test\r\nUser-Agent: me\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status, 200);
    client.send("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    let lines = lines.get(3);
    assert!(lines[0].contains(r#"] "POST /p?q HTTP/1.1" 200 - via_upstream - "-" 3 5 "#), "{}", lines[0]);
    assert!(lines[0].contains(r#" "127.0.0.1" "me" ""#), "{}", lines[0]);
    assert!(
        lines[0].contains(&format!(r#" "a.test" "{}" outbound|80||c 127.0.0.1:"#, backend.address)),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with(" - r"), "{}", lines[0]);
    assert!(lines[1].contains(r#""GET / HTTP/1.1" 404 NR route_not_found - "-" 0 0 "#), "{}", lines[1]);
    assert!(lines[2].contains(" 400 DPE http1.invalid_host - "), "{}", lines[2]);
}

#[test]
fn te_05_the_sizes_of_heads_are_those_of_names_and_values() {
    let backend = Backend::answering("HTTP/1.1 204 No Content\r\nServer: x\r\nX-A: 12345\r\n\r\n");
    let format =
        "%REQ(:path)% %REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES% %ENVIRONMENT(PATH)%|%ENVIRONMENT(NO SUCH)%";
    let (gateway, lines) = logged(LogFormat::text(format).unwrap(), Some(backend.address));
    let mut client = gateway.client();
    // The digits of a duration count, too.
    let durations = [("a.test", "/"), ("a.test", "/12345"), ("nobody", "/")].map(|(host, path)| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer().header("x-envoy-upstream-service-time").map_or(0, str::len)
    });
    let environment = format!(" {}|-", std::env::var("PATH").unwrap());
    let numbers = |line: &String| {
        let numbers = line.strip_suffix(&environment).unwrap().split(' ').skip(1);
        numbers.map(|number| number.parse::<usize>().unwrap()).collect::<Vec<_>>()
    };
    let found: Vec<_> = lines.get(3).iter().map(numbers).collect();
    // The same head but for the path.
    assert_eq!(found[1][0] - found[0][0], 5);
    assert_eq!(found[0][1] - durations[0], found[1][1] - durations[1]);
    // The response has the backend's header, and those of the gateway.
    assert!(found[0][1] > ":status204x-a12345".len(), "{found:?}");
    // What is not sent to a backend is measured as it was received.
    assert_eq!(found[2][0], ":methodGET:path/:authoritynobody:schemehttp".len());
}

#[test]
fn te_05_json_is_one_object_a_line() {
    let (gateway, lines) = logged(LogFormat::istio_json(), None);
    let mut client = gateway.client();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\"b\r\n\r\n");
    assert_eq!(client.answer().status, 503);
    let line: serde_json::Value = serde_json::from_str(&lines.get(1)[0]).unwrap();
    assert_eq!((&line["response_code"], &line["response_flags"]), (&503.into(), &"UH".into()));
    assert_eq!((&line["user_agent"], &line["response_code_details"]), (&"a\"b".into(), &"no_healthy_upstream".into()));
    assert_eq!(line["route_name"], "r");
}

#[test]
fn te_05_the_protocol_is_the_clients() {
    let (gateway, lines) = logged(LogFormat::istio_text(), None);
    crate::streams::run(async {
        let mut client = crate::streams::connect(gateway.addresses()[0]).await;
        let answer = crate::streams::ask(&mut client, crate::streams::get("/x"), b"", None).await.unwrap();
        assert_eq!(answer.status, 503);
    });
    assert!(lines.get(1)[0].contains(r#""GET /x HTTP/2" 503 UH "#), "{:?}", lines.get(1));
}

#[test]
fn te_05_no_request_id_is_logged_if_none_is_generated() {
    let lines = Lines::default();
    let gateway = Gateway::start(1, Limits::default(), Some((Box::new(lines.clone()), LogFormat::istio_text())));
    let headers = HeaderSettings { request_id: false, ..HeaderSettings::default() };
    let setup = Setup::default().host("a.test", forward("c", None)).cluster("c", &[]);
    gateway.apply(&setup.mesh_settings(MeshConnectionSettings { headers, ..MeshConnectionSettings::default() }));
    let mut client = gateway.client();
    for (sent, told) in [("", "-"), ("X-Request-Id: mine\r\n", "mine")] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: me\r\n{sent}\r\n"));
        assert_eq!(client.answer().status, 503);
        let lines = lines.get(if sent.is_empty() { 1 } else { 2 });
        let line = lines.last().unwrap();
        assert!(line.contains(&format!(r#" "me" "{told}" "a.test" "#)), "{line}");
    }
}

#[test]
fn te_08_requests_are_counted_by_their_result() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let gateway = Gateway::to(backend.address);
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.with_body("POST", "abc").answer().status, 200);
    }
    until("the last is counted", || gateway.metric("istio_requests_total{") == Some(3.0));
    let text = gateway.metrics();
    let labels = r#"destination_service="c",response_code="200",response_flags="-""#;
    for (name, value) in [("istio_request_bytes_sum", 9.0), ("istio_response_bytes_sum", 15.0)] {
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(labels));
        let found = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<f64>().ok());
        assert_eq!(found, Some(value), "{name} in\n{text}");
    }
    assert!(text.contains("istio_request_duration_milliseconds_bucket"), "{text}");
    assert_eq!(gateway.metric("moongate_upstream_connections_total"), Some(1.0));
    assert_eq!(gateway.metric("moongate_upstream_connections_reused_total"), Some(2.0));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (go, wait) = std::sync::mpsc::channel();
    let limits = Limits { log_lines: 4, ..Limits::default() };
    let gateway = Gateway::start(1, limits, Some((Box::new(Stuck(wait)), LogFormat::istio_text())));
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]));
    let mut client = gateway.client();
    for _ in 0..400 {
        assert_eq!(client.get("/").answer().status, 200);
    }
    assert!(gateway.metric("moongate_access_log_dropped_total").is_some_and(|dropped| dropped > 0.0));
    drop(go);
}

#[test]
fn vs_21_routes_with_a_prefix_are_counted_by_themselves() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gateway =
        Gateway::serving(&Setup::default().host("a.test", forward("c", None)).cluster("c", &[backend.address]));
    let mut client = gateway.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    client.send("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    gateway.has_counted(r#"moongate_route_requests_total{stat_prefix="r",response_code="200"} 3"#);
    assert!(!gateway.metrics().contains(r#"stat_prefix="r",response_code="404""#));
}
