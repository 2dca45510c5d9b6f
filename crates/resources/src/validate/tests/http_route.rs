//! VS-10 to VS-49.

use super::{below, found, holds};

const ROUTE: &str = "route: [{destination: {host: b}}]";

/// One rule, as flow YAML without its braces.
#[track_caller]
fn rule(text: &str, wanted: &[&str]) {
    let spec = format!("hosts: [a.test]\ngateways: [g]\nhttp:\n- {{{text}}}");
    assert_eq!(found("VirtualService", &spec), below("spec.http[0]", wanted), "{text}");
}

#[track_caller]
fn with_route(text: &str, wanted: &[&str]) {
    rule(&format!("{ROUTE}, {text}"), wanted);
}

#[track_caller]
fn matching(text: &str, wanted: &[&str]) {
    with_route(&format!("match: [{{{text}}}]"), wanted);
}

/// Several rules.
#[track_caller]
fn rules(texts: &[&str], wanted: &[&str]) {
    let list: String =
        texts.iter().map(|text| format!("\n- {{{text}{}{ROUTE}}}", if text.is_empty() { "" } else { ", " })).collect();
    holds("VirtualService", &format!("hosts: [a.test]\ngateways: [g]\nhttp:{list}"), wanted);
}

#[test]
fn vs_12_patterns_and_prefixes_of_paths() {
    matching("uri: {prefix: ''}", &[]);
    matching("uri: {regex: '/a.*'}", &[]);
    matching("uri: {regex: '/(a'}", &["E MG2012 match[0].uri.regex"]);
    matching("uri: {regex: ''}", &["E MG2012 match[0].uri.regex"]);
    matching("uri: {exact: /a, prefix: /b}", &["E MG0005 match[0].uri"]);
}

#[test]
fn vs_14_other_texts_are_not_empty_prefixes() {
    for field in ["scheme", "method", "authority"] {
        matching(&format!("{field}: {{prefix: ''}}"), &[&format!("E MG2011 match[0].{field}.prefix")]);
        matching(&format!("{field}: {{regex: '('}}"), &[&format!("E MG2012 match[0].{field}.regex")]);
    }
}

#[test]
fn vs_15_headers_have_names() {
    matching("headers: {x-a: {exact: b}, x_b: {}, x-c: {regex: '*'}, x-d: }", &[]);
    matching("headers: {'x a': {exact: b}}", &["E MG2011 match[0].headers.x a"]);
    matching("headers: {':path': {exact: b}}", &["E MG2011 match[0].headers.:path"]);
    matching("headers: {'': {exact: b}}", &["E MG2011 match[0].headers"]);
    matching("withoutHeaders: {'x a': {exact: b}}", &["E MG2011 match[0].withoutHeaders.x a"]);
    matching("headers: {x: {prefix: ''}}", &["E MG2011 match[0].headers.x.prefix"]);
}

#[test]
fn vs_17_query_parameters_are_checked_by_value() {
    matching("queryParams: {a: {exact: ''}, b: {}, 'c d': {regex: '*'}}", &[]);
    matching("queryParams: {a: {regex: '('}}", &["E MG2012 match[0].queryParams.a.regex"]);
}

#[test]
fn vs_18_ports_are_numbers_of_ports() {
    matching("port: 0", &[]);
    matching("port: 65536", &["E MG2011 match[0].port"]);
}

#[test]
fn vs_20_sources_are_named() {
    matching("sourceNamespace: a b", &["E MG2011 match[0].sourceNamespace"]);
    matching("sourceLabels: {a: '*'}", &["E MG2011 match[0].sourceLabels"]);
}

#[test]
fn vs_22_claims_are_for_gateways() {
    let claim = "match: [{headers: {'@request.auth.claims.a': {exact: b}}}]";
    with_route(claim, &[]);
    let mesh = format!("hosts: [a.test]\nhttp:\n- {{{ROUTE}, {claim}}}");
    holds("VirtualService", &mesh, &["E MG2011 spec.http[0].match[0].headers.@request.auth.claims.a"]);
}

#[test]
fn vs_30_a_rule_does_one_thing() {
    rule("name: x", &["E MG2006"]);
    rule(&format!("{ROUTE}, redirect: {{uri: /x}}"), &["E MG2006"]);
    rule(&format!("{ROUTE}, directResponse: {{status: 200}}"), &["E MG2006"]);
    rule("redirect: {uri: /x}, directResponse: {status: 200}", &["E MG2006"]);
    rule("redirect: {uri: /x}, rewrite: {uri: /y}", &["E MG2006 rewrite"]);
    rule("directResponse: {status: 200}, fault: {abort: {httpStatus: 500}}", &["E MG2006 fault"]);
}

#[test]
fn vs_31_destinations_are_hosts_of_services() {
    for good in ["b", "b.test", "'*.b.test'", "b.ns.svc.cluster.local"] {
        rule(&format!("route: [{{destination: {{host: {good}}}}}]"), &[]);
    }
    for bad in ["'*'", "'a b'", "a_b", "10.0.0.1"] {
        rule(&format!("route: [{{destination: {{host: {bad}}}}}]"), &["E MG2022 route[0].destination.host"]);
    }
    rule("route: [{destination: {}}]", &["E MG2022 route[0].destination.host"]);
    rule("route: [{weight: 1}]", &["E MG2022 route[0].destination"]);
    rule("route: [{destination: {host: b, port: {number: 0}}}]", &["E MG2022 route[0].destination.port.number"]);
    rule("route: [{destination: {host: b, subset: 'v 1'}}]", &["E MG2022 route[0].destination.subset"]);
}

#[test]
fn vs_33_weights_are_not_negative_and_not_all_zero() {
    let two = |one: i32, other: i32| {
        format!("route: [{{destination: {{host: b}}, weight: {one}}}, {{destination: {{host: c}}, weight: {other}}}]")
    };
    rule(&two(1, 0), &[]);
    rule(&two(0, 0), &["E MG2007 route"]);
    rule(&two(5, -1), &["E MG2007 route[1].weight"]);
    rule("route: [{destination: {host: b}, weight: 0}]", &[]);
}

#[test]
fn vs_35_redirects_change_something() {
    for good in [
        "uri: /x",
        "authority: b",
        "scheme: https",
        "port: 8080",
        "derivePort: FROM_REQUEST_PORT",
        "uri: /x, redirectCode: 308",
        "prefixRewrite: /x",
        "scheme: http, port: 0",
    ] {
        rule(&format!("redirect: {{{good}}}"), &[]);
    }
    rule("redirect: {}", &["E MG2008 redirect"]);
    rule("redirect: {redirectCode: 302}", &["E MG2008 redirect"]);
    rule("redirect: {uri: /x, redirectCode: 200}", &["E MG2008 redirect.redirectCode"]);
    rule("redirect: {uri: /x, redirectCode: 304}", &["W MG2008 redirect.redirectCode"]);
    rule("redirect: {scheme: ftp}", &["E MG2008 redirect.scheme"]);
    rule("redirect: {port: 65536}", &["E MG2008 redirect.port"]);
    rule("redirect: {uri: /x, prefixRewrite: /y}", &["E MG2008 redirect.prefixRewrite"]);
    rule("redirect: {prefixRewrite: /y}, match: [{uri: {exact: /x}}]", &["E MG2008 redirect.prefixRewrite"]);
    rule("redirect: {port: 1, derivePort: FROM_REQUEST_PORT}", &["E MG2008 redirect.derivePort"]);
}

#[test]
fn vs_36_direct_responses_are_short_and_final() {
    rule("directResponse: {status: 200, body: {string: x}}", &[]);
    rule("directResponse: {status: 599, body: {bytes: eA==}}", &[]);
    for bad in ["0", "199", "600"] {
        rule(&format!("directResponse: {{status: {bad}}}"), &["E MG2009 directResponse.status"]);
    }
    rule("directResponse: {status: 200, body: {bytes: '?'}}", &["E MG2009 directResponse.body.bytes"]);
    rule("directResponse: {status: 200, body: {string: x, bytes: eA==}}", &["E MG2009 directResponse.body"]);
    let body = |length: usize| format!("directResponse: {{status: 200, body: {{string: {}}}}}", "x".repeat(length));
    rule(&body(100 << 10), &[]);
    rule(&body((100 << 10) + 1), &["W MG2009 directResponse.body"]);
    rule(&body((1 << 20) + 1), &["E MG2009 directResponse.body"]);
}

#[test]
fn vs_37_rewrites_are_of_one_kind() {
    with_route("rewrite: {uri: /x}", &[]);
    with_route("rewrite: {uriRegexRewrite: {match: '/(a)', rewrite: '/\\1'}}", &[]);
    with_route("rewrite: {}", &["E MG2014 rewrite"]);
    with_route("rewrite: {uri: /x, uriRegexRewrite: {match: a, rewrite: b}}", &["E MG2014 rewrite.uri"]);
    with_route("rewrite: {uriRegexRewrite: {match: a}}", &["E MG2014 rewrite.uriRegexRewrite"]);
    with_route("rewrite: {uriRegexRewrite: {match: '(', rewrite: b}}", &["E MG2012 rewrite.uriRegexRewrite.match"]);
}

#[test]
fn vs_35_vs_37_paths_begin_with_one_slash() {
    for (redirect, field) in [
        ("uri: login", "uri"),
        ("uri: '//evil.test'", "uri"),
        ("uri: 'https://other.test/x'", "uri"),
        ("uri: '?q=1'", "uri"),
        ("prefixRewrite: new", "prefixRewrite"),
    ] {
        let text = format!("redirect: {{{redirect}}}, match: [{{uri: {{prefix: /x}}}}]");
        rule(&text, &[&format!("W MG2050 redirect.{field}")]);
    }
    for rewrite in ["uri: new", "uri: 'http://other.test/'", "uri: //x"] {
        with_route(&format!("rewrite: {{{rewrite}}}"), &["W MG2050 rewrite.uri"]);
    }
    for (pattern, text) in [("^/api/(.*)$", r"\1"), ("/", "-"), ("^/a", "http://x"), ("^/a(.*)", r"//\1"), (".*", "x")]
    {
        let rewrite = format!("rewrite: {{uriRegexRewrite: {{match: '{pattern}', rewrite: '{text}'}}}}");
        with_route(&rewrite, &["W MG2050 rewrite.uriRegexRewrite.rewrite"]);
    }
    for (pattern, text) in
        [("^/api(/.*)$", r"\1"), ("v[0-9]+", "v2"), ("^/(a|b)/(.*)$", r"/\2"), ("^/a", r"\0"), (r"^/\(a(/.*)", r"\1")]
    {
        with_route(&format!("rewrite: {{uriRegexRewrite: {{match: '{pattern}', rewrite: '{text}'}}}}"), &[]);
    }
}

#[test]
fn vs_37_paths_that_no_request_is_sent_with_are_found() {
    for uri in ["/100%", "/%2", "/a/../b", "/a/."] {
        with_route(&format!("rewrite: {{uri: '{uri}'}}"), &["W MG2051 rewrite.uri"]);
    }
    with_route(
        r"rewrite: {uriRegexRewrite: {match: '^/(.*)', rewrite: '/%\1'}}",
        &["W MG2051 rewrite.uriRegexRewrite.rewrite"],
    );
    with_route("rewrite: {uri: '/a%20b/..c?x=/../%'}", &[]);
}

#[test]
fn vs_38_host_is_rewritten_in_one_place() {
    with_route("headers: {request: {set: {Host: x}}}", &[]);
    with_route("rewrite: {authority: x}, headers: {request: {set: {':authority': z}}}", &["E MG2013 headers.request"]);
    with_route("headers: {request: {set: {host: x}, add: {Host: z}}}", &["E MG2013 headers.request"]);
}

#[test]
fn vs_39_a_timeout_is_at_least_a_millisecond() {
    with_route("timeout: 1ms", &[]);
    for bad in ["0s", "500us", "-1s", "1.0005s"] {
        with_route(&format!("timeout: {bad}"), &["E MG2010 timeout"]);
    }
    with_route("timeout: 5", &["E MG0005 timeout"]);
}

#[test]
fn vs_41_retries_know_their_words() {
    with_route(
        "retries: {attempts: 3, retryOn: 'connect-failure,503,unavailable', perTryTimeout: 2s, backoff: 1s}",
        &[],
    );
    with_route("retries: {attempts: 0}", &[]);
    with_route("retries: {attempts: -1}", &["E MG2015 retries.attempts"]);
    with_route("retries: {attempts: 0, retryOn: 5xx}", &["E MG2015 retries.attempts"]);
    with_route("retries: {attempts: 1, retryOn: 'sometimes'}", &["E MG2015 retries.retryOn"]);
    with_route("retries: {attempts: 1, retryOn: '5xx, reset'}", &["E MG2015 retries.retryOn"]);
    with_route("retries: {attempts: 1, retryOn: '5xx,'}", &["E MG2015 retries.retryOn"]);
    with_route("retries: {attempts: 1, retryOn: '599'}", &["E MG2015 retries.retryOn"]);
    with_route("retries: {attempts: 1, perTryTimeout: 0s}", &["E MG2015 retries.perTryTimeout"]);
    with_route("retries: {attempts: 1, backoff: 1us}", &["E MG2015 retries.backoff"]);
}

#[test]
fn vs_43_delays_have_a_length_and_a_share() {
    with_route("fault: {delay: {fixedDelay: 1s, percentage: {value: 0.1}}}", &[]);
    with_route("fault: {}", &["E MG2016 fault"]);
    with_route("fault: {delay: {percentage: {value: 1}}}", &["W MG2016 fault.delay"]);
    with_route("fault: {delay: {fixedDelay: 0s}}", &["E MG2016 fault.delay.fixedDelay"]);
    with_route("fault: {delay: {exponentialDelay: 1s}}", &["E MG2016 fault.delay.exponentialDelay"]);
    for bad in ["-1", "100.5", "0.00001"] {
        let delay = format!("fault: {{delay: {{fixedDelay: 1s, percentage: {{value: {bad}}}}}}}");
        with_route(&delay, &["E MG2016 fault.delay.percentage.value"]);
    }
    with_route("fault: {delay: {fixedDelay: 1s, percent: 101}}", &["W MG2016 fault.delay.percent"]);
}

#[test]
fn vs_44_aborts_have_a_status() {
    with_route("fault: {abort: {httpStatus: 503}}", &[]);
    with_route("fault: {abort: {grpcStatus: UNAVAILABLE}}", &[]);
    with_route("fault: {abort: {percentage: {value: 1}}}", &["W MG2016 fault.abort"]);
    with_route("fault: {abort: {httpStatus: 503, percent: 5}}", &["E MG0004 fault.abort.percent"]);
    with_route("fault: {abort: {httpStatus: 100}}", &["E MG2016 fault.abort.httpStatus"]);
    with_route("fault: {abort: {grpcStatus: GONE}}", &["E MG2016 fault.abort.grpcStatus"]);
    with_route("fault: {abort: {http2Error: x}}", &["E MG2016 fault.abort.http2Error"]);
    with_route("fault: {abort: {httpStatus: 503, grpcStatus: UNAVAILABLE}}", &["E MG2016 fault.abort"]);
}

#[test]
fn vs_45_mirrors_have_a_share() {
    with_route("mirror: {host: m}, mirrorPercentage: {value: 0}", &[]);
    with_route("mirror: {host: m}, mirrors: [{destination: {host: c}}]", &["E MG2017 mirrors"]);
    with_route("mirror: {host: '*'}", &["E MG2022 mirror.host"]);
    with_route("mirrors: [{percentage: {value: 1}}]", &["E MG2022 mirrors[0].destination"]);
    with_route("mirrors: [{destination: {host: c}, percentage: {value: 101}}]", &["E MG2017 mirrors[0].percentage"]);
    with_route("mirror: {host: m}, mirrorPercentage: {value: -1}", &["E MG2017 mirrorPercentage"]);
    with_route("mirror: {host: m}, mirrorPercent: 50", &["W MG2017 mirrorPercent"]);
    with_route("mirror: {host: m}, mirrorPercent: 101", &["E MG2017 mirrorPercent", "W MG2017 mirrorPercent"]);
}

#[test]
fn vs_46_cors_names_origins_methods_and_headers() {
    with_route(
        "corsPolicy: {allowOrigins: [{exact: 'http://a'}, {regex: '.*'}], allowMethods: [GET], allowHeaders: ['*', x-a], maxAge: 24h}",
        &[],
    );
    with_route("corsPolicy: {allowOrigins: [{exact: ''}]}", &["E MG2018 corsPolicy.allowOrigins[0]"]);
    with_route("corsPolicy: {allowOrigins: [{}]}", &["E MG2018 corsPolicy.allowOrigins[0]"]);
    with_route("corsPolicy: {allowOrigins: [{regex: '('}]}", &["E MG2012 corsPolicy.allowOrigins[0].regex"]);
    with_route("corsPolicy: {allowMethods: [get]}", &["E MG2018 corsPolicy.allowMethods[0]"]);
    with_route("corsPolicy: {exposeHeaders: ['a b']}", &["E MG2018 corsPolicy.exposeHeaders[0]"]);
    with_route("corsPolicy: {maxAge: 1.5s}", &["E MG2018 corsPolicy.maxAge"]);
    with_route("corsPolicy: {maxAge: 0s}", &["E MG2018 corsPolicy.maxAge"]);
}

#[test]
fn vs_47_headers_can_be_changed_but_for_host() {
    with_route(
        "headers: {request: {set: {x-a: '%HOSTNAME%'}, add: {x-b: 100%%}, remove: [x-c]}, response: {set: {x-d: e}}}",
        &[],
    );
    with_route("headers: {request: {set: {':path': x}}}", &["E MG2013 headers.request.set.:path"]);
    with_route("headers: {request: {remove: [Host]}}", &["E MG2013 headers.request.remove[0]"]);
    with_route("headers: {response: {set: {host: x}}}", &["E MG2013 headers.response.set.host"]);
    with_route("headers: {request: {add: {'': x}}}", &["E MG2013 headers.request.add"]);
    with_route("headers: {request: {set: {x-a: 100%}}}", &["E MG2013 headers.request.set.x-a"]);
    with_route("headers: {request: {set: {x-a: \"a\\nb\"}}}", &["E MG2013 headers.request.set.x-a"]);
    rule(
        "route: [{destination: {host: b}, headers: {response: {add: {'a b': x}}}}]",
        &["E MG2013 route[0].headers.response.add.a b"],
    );
}

#[test]
fn vs_49_rules_behind_a_catch_all_are_never_reached() {
    rules(&["match: [{uri: {prefix: /a}}]", ""], &[]);
    rules(&["", "match: [{uri: {prefix: /a}}]"], &["W MG2021 spec.http[1]"]);
    rules(&["match: [{uri: {prefix: /}}]", ""], &["W MG2021 spec.http[1]"]);
    rules(&["match: [{uri: {regex: .*}}]", "match: [{method: {exact: GET}}]"], &["W MG2021 spec.http[1]"]);
    rules(&["match: [{uri: {prefix: /}, headers: {a: {}}}]", ""], &[]);
    rules(&["", "match: [{gateways: [other]}]"], &[]);
}

#[test]
fn ist0131_matches_that_others_cover_have_no_effect() {
    rules(&["match: [{uri: {prefix: /a}}]", "match: [{uri: {prefix: /a/b}}]"], &["W MG2021 spec.http[1]"]);
    rules(
        &["match: [{uri: {prefix: /a}}]", "match: [{uri: {exact: /ab}}, {uri: {exact: /c}}]"],
        &["W MG2025 spec.http[1].match[0]"],
    );
    rules(&["match: [{uri: {exact: /a}}]", "match: [{uri: {exact: /a}}]"], &["W MG2021 spec.http[1]"]);
    rules(&["match: [{uri: {exact: /a}}, {uri: {exact: /a}}]"], &["W MG2025 spec.http[0].match[1]"]);
    rules(&["match: [{uri: {prefix: /a}, headers: {x: {exact: v}}}]", "match: [{uri: {prefix: /a/b}}]"], &[]);
    rules(
        &["match: [{uri: {prefix: /a}, headers: {x: {}}}]", "match: [{uri: {prefix: /a/b}, headers: {x: {}, z: {}}}]"],
        &["W MG2021 spec.http[1]"],
    );
    rules(&["match: [{uri: {prefix: /a}}]", "match: [{uri: {prefix: /a/b}, ignoreUriCase: true}]"], &[]);
    rules(&["match: [{uri: {prefix: /a}, port: 80}]", "match: [{uri: {prefix: /a}, port: 443}]"], &[]);
    rules(&["match: [{uri: {prefix: /a/b}}]", "match: [{uri: {prefix: /a}}]"], &[]);
}

#[test]
fn original_proto_names_and_numbers_of_enums_are_read() {
    with_route(
        "rewrite: {uri_regex_rewrite: {match: a, rewrite: b}}, cors_policy: {allow_origins: [{exact: x}], max_age: 1s}",
        &[],
    );
    rule("direct_response: {status: 200}", &[]);
    rule("redirect: {derive_port: 1, redirect_code: 302}", &[]);
}

#[test]
fn vs_35_to_vs_38_text_of_heads_is_what_a_head_allows() {
    with_route("rewrite: {authority: \"e\\r\\nx\"}", &["E MG2026 rewrite.authority"]);
    with_route("rewrite: {authority: 'user@a.test'}", &["E MG2026 rewrite.authority"]);
    with_route("rewrite: {uri: '/a b'}", &["E MG2026 rewrite.uri"]);
    let regex = "rewrite: {uriRegexRewrite: {match: a, rewrite: \"/b\\0\"}}";
    with_route(regex, &["E MG2026 rewrite.uriRegexRewrite.rewrite"]);
    with_route("headers: {request: {set: {':authority': 'a b'}}}", &["E MG2026 headers.request.set.:authority"]);
    with_route("headers: {request: {set: {x-a: \"a\\x7F\"}}}", &["E MG2013 headers.request.set.x-a"]);
    for good in ["rewrite: {authority: 'a.test:8080', uri: /café}", "headers: {request: {set: {host: '[::1]:80'}}}"] {
        with_route(good, &[]);
    }
}
