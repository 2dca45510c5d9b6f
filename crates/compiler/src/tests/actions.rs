//! What routes do (VS-30 to VS-39, VS-47).

use super::world::{compiled, entry, findings, gateway, host, virtual_service};
use crate::Compiled;
use ir::{
    Action, Authority, Forward, HeaderAppend, HeaderChanges, MatchPath, PathRewrite, PathText, Redirect, RedirectPort,
    Route, Scheme, StringMatch,
};
use std::sync::Arc;
use std::time::Duration;

fn with(rule: &str) -> Compiled {
    let spec = format!("  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - {rule}");
    compiled(
        &[gateway("gw", "'*'"), entry("b.test", &[9001]), entry("c.test", &[9002]), virtual_service("one", &spec)]
            .concat(),
    )
}

fn route(rule: &str) -> Arc<Route> {
    Arc::clone(&host(&with(rule), "a.test").routes[0])
}

fn forward(rule: &str) -> Forward {
    match &route(rule).action {
        Action::Forward(forward) => forward.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> PathText {
    PathText::parse(text).unwrap()
}

fn redirect(fields: &str) -> Redirect {
    match &route(&format!("{{match: [{{uri: {{prefix: /p}}}}], redirect: {{{fields}}}}}")).action {
        Action::Redirect(redirect) => (**redirect).clone(),
        other => panic!("{other:?}"),
    }
}

fn written(changes: &HeaderChanges) -> String {
    let removed = changes.remove.iter().map(|name| format!("-{name}"));
    let written = changes.write.iter().map(|(name, value, append)| {
        format!("{}{name}={value}", if *append == HeaderAppend::Append { "+" } else { "" })
    });
    removed.chain(written).collect::<Vec<_>>().join(" ")
}

const B: &str = "destination: {host: b.test}";
const C: &str = "destination: {host: c.test}";

#[test]
fn vs_33_one_destination_has_no_use_for_a_weight_and_zero_drops_one_of_several() {
    assert_eq!(forward(&format!("{{route: [{{{B}, weight: 0}}]}}")).targets.len(), 1);
    let several = forward(&format!("{{route: [{{{B}, weight: 3}}, {{{C}, weight: 0}}, {{{C}, weight: 5}}]}}"));
    assert_eq!(several.targets.iter().map(|target| target.weight).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn vs_34_headers_of_the_only_destination_come_last() {
    let one = "headers: {request: {set: {x: rule}, remove: [w]}}";
    let other = "headers: {request: {set: {x: own}, remove: [z]}, response: {add: {r: one}}}";
    let route = route(&format!("{{{one}, route: [{{{B}, {other}}}]}}"));
    assert_eq!(written(&route.request_headers), "-w -z x=rule x=own");
    assert_eq!(written(&route.response_headers), "+r=one");
}

#[test]
fn vs_34_what_is_set_of_either_comes_before_what_is_added_of_either() {
    let one = "headers: {request: {add: {x: rule}}}";
    let other = "headers: {request: {set: {x: own}}}";
    let route = route(&format!("{{{one}, route: [{{{B}, {other}}}]}}"));
    assert_eq!(written(&route.request_headers), "x=own +x=rule");
}

#[test]
fn vs_34_of_several_destinations_each_keeps_its_headers() {
    let one = "headers: {request: {set: {x: rule}, remove: [own]}}";
    let other = "headers: {request: {set: {own: a, x: b}}}";
    let route = route(&format!("{{{one}, route: [{{{B}, weight: 1, {other}}}, {{{C}, weight: 1}}]}}"));
    let Action::Forward(forward) = &route.action else { panic!("{route:?}") };
    assert_eq!(written(&route.request_headers), "-own x=rule");
    assert_eq!(written(&forward.targets[0].request_headers), "own=a x=b");
    assert!(forward.targets[1].request_headers.is_empty());
}

#[test]
fn vs_35_redirects() {
    let plain = redirect("uri: /x");
    assert_eq!((plain.status, plain.port), (301, RedirectPort::Keep));
    assert_eq!(plain.path, Some(PathRewrite::Full(text("/x"))));
    let full = redirect("authority: n.test, scheme: https, redirectCode: 308, port: 8443, prefixRewrite: /q");
    assert_eq!((full.status, full.port), (308, RedirectPort::Number(8443)));
    assert_eq!((full.authority, full.scheme), (Authority::parse("n.test").ok(), Some(Scheme::Https)));
    assert_eq!(full.path, Some(PathRewrite::Prefix(text("/q"))));
    assert_eq!(redirect("scheme: https, derivePort: FROM_REQUEST_PORT").port, RedirectPort::RequestPort(80));
    assert_eq!(redirect("scheme: https, derivePort: FROM_PROTOCOL_DEFAULT").port, RedirectPort::ProtocolDefault);
}

#[test]
fn vs_36_direct_responses_have_text_or_bytes() {
    let Action::Respond(response) = route("{directResponse: {status: 503, body: {bytes: aGVsbG8=}}}").action.clone()
    else {
        panic!("no response");
    };
    assert_eq!((response.status, &*response.body), (503, &b"hello"[..]));
}

#[test]
fn vs_37_a_rewrite_replaces_what_was_matched() {
    let by = |entry: &str| *forward(&format!("{{{entry}rewrite: {{uri: /n}}, route: [{{{B}}}]}}")).rewrite.unwrap();
    assert_eq!(by("match: [{uri: {prefix: /p}}], "), PathRewrite::Prefix(text("/n")));
    assert_eq!(by("match: [{uri: {exact: /p}}], "), PathRewrite::Full(text("/n")));
    assert_eq!(by("match: [{uri: {regex: '/p.*'}}], "), PathRewrite::Full(text("/n")));
    assert_eq!(by(""), PathRewrite::Prefix(text("/n")));
    let without = route(&format!("{{rewrite: {{uri: /n}}, route: [{{{B}}}]}}"));
    let slash = MatchPath::Text { text: StringMatch::Prefix("/".into()), ignore_case: false };
    assert_eq!(without.matches.path, slash, "the prefix `/` is what is replaced");
    let regex = forward(&format!(
        "{{rewrite: {{uriRegexRewrite: {{match: '^/(.*)$', rewrite: '/x/\\1'}}}}, route: [{{{B}}}]}}"
    ));
    assert!(matches!(regex.rewrite.as_deref(), Some(PathRewrite::Regex { .. })));
}

#[test]
fn vs_38_who_says_the_host() {
    let host = |rule: &str| forward(&format!("{{{rule}}}")).authority.map(|host| host.to_string());
    // A rule has one of the first three: validation refuses more.
    let destination = format!("route: [{{{B}, headers: {{request: {{set: {{host: four}}}}}}}}]");
    for (rule, said) in [
        ("rewrite: {authority: one}, ", "one"),
        ("headers: {request: {set: {Host: two}}}, ", "two"),
        ("headers: {request: {add: {':authority': three}}}, ", "three"),
        ("", "four"),
    ] {
        assert_eq!(host(&format!("{rule}{destination}")).as_deref(), Some(said));
    }
}

#[test]
fn vs_39_there_is_no_timeout_unless_one_is_set() {
    assert_eq!(forward(&format!("{{route: [{{{B}}}]}}")).timeout, None);
    assert_eq!(forward(&format!("{{timeout: 1.5s, route: [{{{B}}}]}}")).timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn vs_47_headers_with_unknown_operators_are_left_out_and_reported() {
    let compiled = with(&format!("{{headers: {{request: {{set: {{a: '%NOBODY%', b: '100%%'}}}}}}, route: [{{{B}}}]}}"));
    assert_eq!(written(&host(&compiled, "a.test").routes[0].request_headers), "b=100%");
    assert_eq!(findings(&compiled), ["MG7011 VirtualService default/one"]);
}

#[test]
fn vs_38_vs_46_what_stands_where_it_does_not_act_is_told() {
    let told = |rule: &str| {
        with(rule).report.iter().map(|found| format!("{} {}", found.code, found.field)).collect::<Vec<_>>()
    };
    let host = "{headers: {request: {set: {Host: '%REQ(x)%'}}}, route: [{destination: {host: b.test}}]}";
    assert_eq!(told(host), ["MG7010 spec.http[0].headers.request.set.Host"]);
    assert_eq!(told(&host.replace("%REQ(x)%", "c.test")), [""; 0]);
    let own = "{corsPolicy: {}, mirror: {host: b.test}, timeout: 3s, redirect: {uri: /x}}";
    assert_eq!(told(own), ["corsPolicy", "mirror", "timeout"].map(|name| format!("MG7010 spec.http[0].{name}")));
    assert_eq!(told("{timeout: 3s, directResponse: {status: 200}}"), ["MG7010 spec.http[0].timeout"]);
}

#[test]
fn vs_45_mirrors_and_their_shares() {
    let mirrors = |more: &str| -> Vec<f64> {
        let forward = forward(&format!("{{route: [{{{B}}}], {more}}}"));
        forward.mirrors.iter().map(|mirror| mirror.share.percent()).collect()
    };
    assert_eq!(mirrors("mirror: {host: c.test}"), [100.0]);
    assert_eq!(mirrors("mirror: {host: c.test}, mirrorPercentage: {value: 0.5}"), [0.5]);
    assert_eq!(mirrors("mirror: {host: c.test}, mirrorPercent: 7"), [7.0]);
    assert_eq!(mirrors("mirror: {host: c.test}, mirrorPercentage: {value: 0}, mirrorPercent: 7"), [0.0; 0]);
    assert_eq!(
        mirrors("mirrors: [{destination: {host: c.test}}, {destination: {host: d.test}, percentage: {value: 3}}]"),
        [100.0, 3.0]
    );
}
