//! Which request comes to which decision, as a table.

use super::*;
use crate::claims::Claims;
use crate::filter::FilterState;
use crate::fixture::{answering, exact, host, hosts, listener, path, prefix, route};
use crate::table::Table;
use ir::{Action, Cors, Demands, EscapedSlashes, Filter, Forward, HttpTable, MatchPath, PathRewrite, RouteMatch};
use text::{HeaderValue, PathText};
use wire::h1::HeadLimits;

/// The decision in a word: its status, and where it leads.
fn decided(head: &str, http: &HttpTable, is_misdirected: bool) -> String {
    let text = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
    let (mut request, mut scratch) = (RequestHead::default(), Scratch::default());
    request.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let table = Table::build(http, &mut |_| 0);
    let (trusted_proxies, certificate, port) = Default::default();
    let peer = Peer {
        address: &std::net::IpAddr::from([192, 0, 2, 1]).into(),
        scheme: "http",
        trusted_proxies,
        certificate,
        port,
    };
    let mesh_settings = MeshConnectionSettings::default();
    let context = RequestContext {
        request: &request,
        buffer: text.as_bytes(),
        settings: http.settings,
        mesh_settings: &mesh_settings,
        peer: &peer,
        original_port: None,
    };
    let local = |answer: LocalAnswer| {
        let location = answer.location.map(|location| String::from_utf8_lossy(&location).into_owned());
        format!("{} {}", answer.status, location.unwrap_or_default()).trim_end().to_owned()
    };
    let answered = |error: RouteError| match error {
        RouteError::Refused(refusal) => format!("refused {refusal:?}"),
        RouteError::Redirect(answer) => format!("redirect {}", local(answer)),
        RouteError::Misdirected => "misdirected".to_owned(),
        RouteError::NoRoute => "no route".to_owned(),
        RouteError::ProxyReply(answer) => format!("not proxied {}", answer.status),
    };
    let view = match prepare(&context, &mut scratch) {
        Ok(view) => view,
        Err(error) => return answered(error),
    };
    let entry = match super::route(&view, table.pick(&view, &Claims::default()), |_| is_misdirected) {
        Ok(entry) => entry,
        Err(error) => return answered(error),
    };
    let mut state = FilterState::default();
    for filter in &*entry.config.filters {
        let Filter::Cors(cors) = filter else { continue };
        if let Some(answer) = state.run_cors(cors, view.method, view.fields) {
            return format!("preflight {}", local(answer));
        }
    }
    match act(entry, &view) {
        RouteAction::Respond(answer) => format!("local {}", local(answer)),
        RouteAction::Refuse(refusal) => format!("route refused {refusal:?}"),
        RouteAction::Forward(rewritten) => {
            let target = rewritten.map(|target| String::from_utf8_lossy(&target).into_owned());
            format!("forward {}", target.unwrap_or_default())
        }
    }
}

fn forward(forward: Forward) -> Vec<Arc<ir::Route>> {
    vec![route(RouteMatch::new(MatchPath::Any, Demands::default()), Action::Forward(forward))]
}

#[test]
fn each_step_decides_before_the_next() {
    let mut secure = host("https.test", vec![answering(204, MatchPath::Any, Demands::default())]);
    secure.https_redirect = true;
    let rewrite = |text: &str| Forward {
        rewrite: Some(Box::new(PathRewrite::Full(PathText::parse(text).unwrap()))),
        ..Forward::to(Vec::new())
    };
    let nothing = HeaderValue::parse("").unwrap();
    let good = Cors {
        origins: vec![exact("https://good.test")],
        methods: nothing.clone(),
        headers: nothing.clone(),
        expose: nothing,
        max_age: None,
        credentials: false,
        forwards_unmatched: false,
    };
    let plain = &forward(Forward::to(Vec::new()))[0];
    let with_cors = ir::Route { filters: [Filter::Cors(Arc::new(good))].into(), ..(**plain).clone() };
    let mut http = listener([
        host("a.test", vec![answering(204, path(prefix("/a")), Demands::default())]),
        secure,
        host("forward.test", forward(Forward::to(Vec::new()))),
        host("rewrite.test", forward(rewrite("/new"))),
        host("broken.test", forward(rewrite("/n%"))),
        host("cors.test", vec![Arc::new(with_cors)]),
    ]);
    http.settings.escaped_slashes = EscapedSlashes::Redirect;
    http.settings.path_normalization = ir::PathNormalization::DecodeAndMergeSlashes;
    for (head, expected) in [
        ("CONNECT a.test:80 HTTP/1.1\nHost: a.test", "refused Connect"),
        ("GET /a HTTP/1.1\nHost: a b", "refused Host"),
        ("GET /%00 HTTP/1.1\nHost: a.test", "refused Path"),
        ("GET /x%2Fy HTTP/1.1\nHost: a.test", "redirect 307 /x/y"),
        // A gRPC client does not follow redirects.
        ("POST /x%2Fy HTTP/1.1\nHost: a.test\nContent-Type: application/grpc", "refused Path"),
        ("GET /a HTTP/1.1\nHost: none.test", "no route"),
        ("GET /b HTTP/1.1\nHost: a.test", "no route"),
        ("GET /b HTTP/1.1\nHost: https.test", "redirect 301 https://https.test/b"),
        ("GET /a/x HTTP/1.1\nHost: a.test", "local 204"),
        ("GET / HTTP/1.1\nHost: forward.test", "forward"),
        ("GET /old HTTP/1.1\nHost: rewrite.test", "forward /new"),
        ("GET /old HTTP/1.1\nHost: broken.test", "route refused Rewrite"),
        ("GET / HTTP/1.1\nHost: cors.test\nOrigin: https://good.test", "forward"),
        (
            "OPTIONS / HTTP/1.1\nHost: cors.test\nOrigin: https://good.test\nAccess-Control-Request-Method: PUT",
            "preflight 200",
        ),
    ] {
        assert_eq!(decided(head, &http, false).trim_end(), expected, "{head}");
    }
}

#[test]
fn s_38_a_misdirected_request_is_so_whether_a_route_matches_or_not() {
    let http = hosts(&[("a.test", 204)]);
    for host in ["a.test", "none.test"] {
        assert_eq!(decided(&format!("GET / HTTP/1.1\nHost: {host}"), &http, true), "misdirected");
    }
    // What cannot be routed is decided before.
    assert_eq!(decided("GET /%00 HTTP/1.1\nHost: a.test", &http, true), "refused Path");
}
