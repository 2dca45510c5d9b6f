//! `extensionProviders[]`: providers of external authorization (AP-13). A provider with an error is taken out: policies that refer to it deny
//! all requests.

use super::super::fields::check_time;
use super::super::head_text;
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::mesh_config::{ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider};
use crate::spec::scalar::{Duration, Text};
use text::{HeaderName, HeaderValue, PathText};

/// The largest body that a check may hold in memory, in octets.
const MAX_BODY: u32 = 8 << 20;

/// Records what is wrong with providers, and takes those out.
pub(super) fn settle(providers: &mut Vec<ExtensionProvider>, findings: &mut Findings) {
    let names: Vec<Text> = providers.iter().map(|provider| provider.name.clone()).collect();
    let mut index = 0;
    providers.retain(|provider| {
        let mut found = Findings::default();
        found.at(format!("extensionProviders[{index}]"), |findings| {
            check(provider, names.iter().filter(|name| **name == provider.name).count() > 1, findings);
        });
        index += 1;
        let kept = !found.has_errors();
        findings.append(found);
        kept
    });
}

fn check(provider: &ExtensionProvider, is_duplicate: bool, findings: &mut Findings) {
    if provider.name.is_empty() {
        findings.error("name", code::MESH_CONFIG, "a provider must have a name", "add a name");
    } else if is_duplicate {
        let message = format!("several providers have the name `{}`", provider.name);
        findings.error("name", code::MESH_CONFIG, message, "give each provider its own name");
    }
    let kinds: Vec<&str> = provider.kinds().collect();
    if kinds.is_empty() {
        let help = "add `envoyExtAuthzGrpc` or `envoyExtAuthzHttp`";
        findings.error("", code::MESH_CONFIG, "a provider must have a kind", help);
    }
    if kinds.len() > 1 {
        let message = format!("a provider has one kind, not {}", kinds.join(" and "));
        findings.error("", code::MESH_CONFIG, message, "keep one of them");
    }
    if let Some(http) = &provider.envoy_ext_authz_http {
        findings.at("envoyExtAuthzHttp", |findings| check_http(http, findings));
    }
    if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        findings.at("envoyExtAuthzGrpc", |findings| check_grpc(grpc, findings));
    }
}

fn check_grpc(grpc: &ExtAuthzGrpc, findings: &mut Findings) {
    check_service(&grpc.service, grpc.port, findings);
    check_failure(grpc.timeout, &grpc.status_on_error, findings);
    check_body(grpc.include_request_body_in_check, findings);
}

fn check_http(http: &ExtAuthzHttp, findings: &mut Findings) {
    check_service(&http.service, http.port, findings);
    check_failure(http.timeout, &http.status_on_error, findings);
    check_body(http.include_request_body_in_check, findings);
    if !http.path_prefix.is_empty() {
        let is_rooted = http.path_prefix.starts_with('/') && !http.path_prefix.contains(['?', '#']);
        if !is_rooted {
            let message = format!("the path prefix `{}` is not an absolute path", http.path_prefix);
            findings.error("pathPrefix", code::MESH_CONFIG, message, "begin it with `/`, without `?` and `#`");
        } else {
            head_text::check(PathText::parse(&http.path_prefix), "pathPrefix", code::MESH_CONFIG, findings);
        }
    }
    for (names, field) in [
        (&http.include_headers_in_check, "includeHeadersInCheck"),
        (&http.include_request_headers_in_check, "includeRequestHeadersInCheck"),
        (&http.headers_to_upstream_on_allow, "headersToUpstreamOnAllow"),
        (&http.headers_to_downstream_on_deny, "headersToDownstreamOnDeny"),
        (&http.headers_to_downstream_on_allow, "headersToDownstreamOnAllow"),
    ] {
        for (at, name) in names.iter().enumerate() {
            check_pattern(name, &format!("{field}[{at}]"), findings);
        }
    }
    if !http.include_headers_in_check.is_empty() && !http.include_request_headers_in_check.is_empty() {
        let message = "`includeHeadersInCheck` has no effect beside `includeRequestHeadersInCheck`";
        findings.warning("includeHeadersInCheck", code::MESH_CONFIG, message, "keep `includeRequestHeadersInCheck`");
    }
    for (name, value) in &http.include_additional_headers_in_check {
        let field = format!("includeAdditionalHeadersInCheck.{name}");
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            let message = format!("`{name}` is not a header that can be added");
            findings.error(&field, code::MESH_CONFIG, message, "remove it");
        } else {
            head_text::check(HeaderName::parse(name), &field, code::MESH_CONFIG, findings);
        }
        head_text::check(HeaderValue::parse(value), &field, code::MESH_CONFIG, findings);
    }
}

/// `name`, `prefix*` or `*suffix`.
fn check_pattern(pattern: &str, field: &str, findings: &mut Findings) {
    let name = pattern.strip_prefix('*').or_else(|| pattern.strip_suffix('*')).unwrap_or(pattern);
    if pattern == "*" {
        return;
    }
    if name.is_empty() || name.contains('*') {
        let message = format!("`{pattern}` is not a pattern of a header name");
        findings.error(field, code::MESH_CONFIG, message, "write a name, `prefix*` or `*suffix`");
        return;
    }
    head_text::check(HeaderName::parse(name), field, code::MESH_CONFIG, findings);
}

fn check_service(service: &str, port: u32, findings: &mut Findings) {
    let host = service.split_once('/').map_or(service, |(_, host)| host);
    if host.is_empty() || host.contains('/') || host.contains('*') || service.starts_with('/') {
        let message = if service.is_empty() {
            "a provider must have a service".to_owned()
        } else {
            format!("`{service}` is not the name of a service")
        };
        findings.error("service", code::MESH_CONFIG, message, "write `[<namespace>/]<host name>`");
    }
    if !(1..=65_535).contains(&port) {
        let message = format!("{port} is not a port");
        findings.error("port", code::MESH_CONFIG, message, "use a number from 1 to 65535");
    }
}

fn check_failure(timeout: Option<Duration>, status: &str, findings: &mut Findings) {
    check_time(timeout, "timeout", code::MESH_CONFIG, findings);
    if !status.is_empty() && !status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)) {
        let message = format!("`{status}` is not the status of a response");
        findings.error("statusOnError", code::MESH_CONFIG, message, "use a status such as \"403\" or \"503\"");
    }
}

fn check_body(body: Option<ExtAuthzBody>, findings: &mut Findings) {
    let Some(body) = body else { return };
    let field = "includeRequestBodyInCheck.maxRequestBytes";
    if body.max_request_bytes == 0 {
        let message = "a check with the body needs a size";
        findings.error(field, code::MESH_CONFIG, message, "use the size of the largest body in bytes");
    } else if body.max_request_bytes > MAX_BODY {
        let message = format!("{} bytes are more than the {MAX_BODY} that a check may hold", body.max_request_bytes);
        findings.error(field, code::MESH_CONFIG, message, "use a smaller size");
    }
}
