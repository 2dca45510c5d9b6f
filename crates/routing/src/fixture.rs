//! Requests, routes and listeners for the tests of this crate.

use crate::prepare::{RawRequest, Refusal, Scratch, prepare};
use ir::{
    Action, Demands, DirectResponse, HeaderChanges, Host, HostPattern, HttpSettings, HttpTable, MatchPath, ObjectKind,
    Origin, Route, RouteMatch, StringMatch,
};
use std::sync::Arc;
use wire::forwarded::Peer;
use wire::h1::{HeadLimits, RequestHead};
use wire::view::RequestView;

/// A request out of its head without the empty line.
pub(crate) fn ask<R>(head: &str, with: impl FnOnce(&RequestView<'_>) -> R) -> R {
    try_ask(head, &listener([]), with).unwrap()
}

/// A request as a listener sees it.
pub(crate) fn try_ask<R>(
    head: &str,
    listener: &HttpTable,
    with: impl FnOnce(&RequestView<'_>) -> R,
) -> Result<R, Refusal> {
    let text = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
    let mut parsed = RequestHead::default();
    parsed.parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    let buffer = text.as_bytes();
    let raw = RawRequest {
        method: parsed.method.of(buffer),
        target: parsed.target.of(buffer),
        host: parsed.host.of(buffer),
        fields: parsed.fields(buffer),
        original_port: None,
    };
    let trusted_proxies = listener.settings.forwarded.trusted_proxies;
    let peer = Peer {
        address: &std::net::IpAddr::from([192, 0, 2, 1]).into(),
        scheme: "http",
        trusted_proxies,
        certificate: Default::default(),
        port: None,
    };
    prepare(raw, listener.settings, &peer, &mut Scratch::default()).map(|prepared| with(&prepared.view))
}

/// A request for a path of `a.test`.
pub(crate) fn get<R>(target: &str, with: impl FnOnce(&RequestView<'_>) -> R) -> R {
    ask(&format!("GET {target} HTTP/1.1\nHost: a.test"), with)
}

pub(crate) fn path(text: StringMatch) -> MatchPath {
    MatchPath::Text { text, ignore_case: false }
}

pub(crate) fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

pub(crate) fn prefix(text: &str) -> StringMatch {
    StringMatch::Prefix(text.into())
}

pub(crate) fn regex(text: &str) -> StringMatch {
    StringMatch::Regex(ir::Pattern::parse(text).unwrap())
}

/// A route that answers with a number, so that it is known again.
pub(crate) fn answering(number: u16, path: MatchPath, others: Demands) -> Arc<Route> {
    let action = Action::Respond(DirectResponse { status: number, body: Arc::default() });
    route(RouteMatch::new(path, others), action)
}

pub(crate) fn route(matches: RouteMatch, action: Action) -> Arc<Route> {
    let origin = Origin {
        kind: ObjectKind::VirtualService,
        namespace: "default".into(),
        name: "v".into(),
        rule: "http[0]".into(),
    };
    Arc::new(Route {
        name: "".into(),
        origin,
        matches,
        stat_prefix: None,
        filters: Box::default(),
        action,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
    })
}

pub(crate) fn host(pattern: &str, routes: Vec<Arc<Route>>) -> Host {
    Host { pattern: HostPattern::parse(pattern).unwrap(), routes: routes.into(), https_redirect: false }
}

pub(crate) fn listener(hosts: impl IntoIterator<Item = Host>) -> HttpTable {
    HttpTable {
        hosts: hosts.into_iter().map(|host| (host.pattern.clone(), Arc::new(host))).collect(),
        settings: HttpSettings::default(),
        forward: None,
    }
}

/// A listener where each host answers with the status beside it.
pub(crate) fn hosts(patterns: &[(&str, u16)]) -> HttpTable {
    let one =
        |(pattern, status): &(&str, u16)| host(pattern, vec![answering(*status, MatchPath::Any, Demands::default())]);
    listener(patterns.iter().map(one))
}
