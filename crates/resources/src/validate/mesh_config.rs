//! `MeshConfig`: what Istio would not start with. The default stands in for it.

mod providers;

use super::fields::{Exported, check_export_to, check_time};
use super::head_text;
use super::names::is_label;
use crate::code;
use crate::diagnostic::Findings;
use crate::spec::mesh_config::{ConnectionSettings, MeshConfig};
use crate::spec::scalar::{Duration, Text};
use std::collections::BTreeMap;
use text::HeaderValue;
use text::format::Operator;

/// The longest time that Istio lets a connection take.
const MAX_CONNECT: std::time::Duration = std::time::Duration::from_secs(3600);
/// RFC 9113 §6.9.2.
const LEAST_WINDOW: i32 = 65_535;

/// Records what is wrong with the settings, and takes it out.
pub(crate) fn settle(mesh: &mut MeshConfig, findings: &mut Findings) {
    unless_wrong(&mut mesh.connect_timeout, findings, |connect, findings| {
        check_time(*connect, "connectTimeout", code::MESH_CONFIG, findings);
        if connect.and_then(|connect| connect.get()).is_some_and(|connect| connect > MAX_CONNECT) {
            let message = "a connection may take an hour at most";
            findings.error("connectTimeout", code::MESH_CONFIG, message, "use 1h or less");
        }
    });
    for (to, field) in [
        (&mut mesh.default_virtual_service_export_to, "defaultVirtualServiceExportTo"),
        (&mut mesh.default_service_export_to, "defaultServiceExportTo"),
        (&mut mesh.default_destination_rule_export_to, "defaultDestinationRuleExportTo"),
    ] {
        unless_wrong(to, findings, |to, findings| {
            check_export_to(Exported { to, field, namespace: "." }, findings);
        });
    }
    if let Some(settings) = &mut mesh.default_config.connection_settings {
        settle_connections(settings, findings);
    }
    if let Some(server) = mesh.default_config.proxy_headers.as_mut().and_then(|headers| headers.server.as_mut()) {
        unless_wrong(&mut server.value, findings, |value, findings| {
            let field = "defaultConfig.proxyHeaders.server.value";
            head_text::check(HeaderValue::parse(value), field, code::MESH_CONFIG, findings);
        });
    }
    check_metadata(&mesh.default_config.proxy_metadata, findings);
    providers::settle(&mut mesh.extension_providers, findings);
    check_log_format(mesh, findings);
    unless_wrong(&mut mesh.root_namespace, findings, |namespace, findings| {
        check_label(namespace, "rootNamespace", findings);
    });
    unless_wrong(&mut mesh.trust_domain, findings, |domain, findings| check_domain(domain, "trustDomain", findings));
}

/// TE-05: every operator has to exist; those without a value here are reported.
fn check_log_format(mesh: &mut MeshConfig, findings: &mut Findings) {
    const FIELD: &str = "accessLogFormat";
    match mesh.log_format() {
        Ok(format) => {
            for operator in format.operators() {
                if let Operator::Absent(name) = operator {
                    let message =
                        format!("the gateway has no value for the operator `{name}`: it is written as `-` or null");
                    findings.warning(FIELD, code::MESH_CONFIG, message, "leave the operator out");
                }
            }
        }
        Err(error) => {
            findings.error(FIELD, code::MESH_CONFIG, error.to_string(), "docs/access-log.md lists the operators");
            mesh.access_log_format = Text::default();
        }
    }
}

/// PC-04: no time and no number is below zero.
fn settle_connections(settings: &mut ConnectionSettings, findings: &mut Findings) {
    let of = |field: &str| format!("defaultConfig.connectionSettings.{field}");
    for (time, field) in [
        (&mut settings.http_idle_timeout, "httpIdleTimeout"),
        (&mut settings.http_max_connection_duration, "httpMaxConnectionDuration"),
        (&mut settings.http_max_stream_duration, "httpMaxStreamDuration"),
        (&mut settings.http_stream_idle_timeout, "httpStreamIdleTimeout"),
        (&mut settings.http_request_timeout, "httpRequestTimeout"),
        (&mut settings.http_request_headers_timeout, "httpRequestHeadersTimeout"),
    ] {
        if time.is_some_and(|time| time.get().is_none()) {
            *time = None;
            findings.error(&of(field), code::MESH_CONFIG, "a time cannot be below zero", "use 0s for no limit");
        }
    }
    for (count, field) in [
        (&mut settings.http_max_concurrent_streams, "httpMaxConcurrentStreams"),
        (&mut settings.http2_initial_stream_window_size, "http2InitialStreamWindowSize"),
        (&mut settings.http2_initial_connection_window_size, "http2InitialConnectionWindowSize"),
        (&mut settings.global_downstream_connection_limit, "globalDownstreamConnectionLimit"),
    ] {
        if count.is_some_and(|count| count < 0) {
            *count = None;
            findings.error(&of(field), code::MESH_CONFIG, "it cannot be below zero", "leave it out for the default");
        }
    }
    if settings.http_max_concurrent_streams == Some(0) {
        settings.http_max_concurrent_streams = None;
        let message = "without a stream no client of HTTP/2 could ask for anything";
        findings.error(&of("httpMaxConcurrentStreams"), code::MESH_CONFIG, message, "use 1 or more");
    }
    for (size, field) in [
        (settings.http2_initial_stream_window_size, "http2InitialStreamWindowSize"),
        (settings.http2_initial_connection_window_size, "http2InitialConnectionWindowSize"),
    ] {
        if size.is_some_and(|size| size < LEAST_WINDOW) {
            let message = format!("it is less than the {LEAST_WINDOW} bytes that HTTP/2 begins with, which hold");
            findings.warning(&of(field), code::MESH_CONFIG, message, format!("use {LEAST_WINDOW} or more"));
        }
    }
}

/// What of the metadata of proxies acts here has to be of use (S-120 to S-122).
fn check_metadata(metadata: &BTreeMap<Text, Text>, findings: &mut Findings) {
    let mut check = |name: &str, is_of_use: fn(&str) -> bool, help: &str| {
        if let Some(text) = metadata.get(name).filter(|text| !is_of_use(text)) {
            let field = format!("defaultConfig.proxyMetadata.{name}");
            findings.warning(&field, code::MESH_CONFIG, format!("`{text}` has no effect"), help);
        }
    };
    let is_time = |text: &str| Duration::parse(text).is_some_and(|time| time.get().is_some());
    check("ISTIO_META_HTTP10", |text| matches!(text, "1" | "0" | ""), "use \"1\" to switch it on");
    check("ISTIO_META_IDLE_TIMEOUT", is_time, "use a duration such as `5m`");
    let is_count = |text: &str| text.parse::<u64>().is_ok();
    check("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS", is_count, "use a number");
}

/// Puts the default in place of a value that `check` finds an error in.
fn unless_wrong<T: Default>(value: &mut T, findings: &mut Findings, check: impl FnOnce(&T, &mut Findings)) {
    let mut found = Findings::default();
    check(value, &mut found);
    if found.has_errors() {
        *value = T::default();
    }
    findings.append(found);
}

fn check_label(namespace: &Text, field: &str, findings: &mut Findings) {
    if !namespace.is_empty() && !is_label(namespace) {
        let message = format!("`{namespace}` is not a valid namespace");
        findings.error(field, code::MESH_CONFIG, message, "use letters, digits and hyphens");
    }
}

fn check_domain(domain: &Text, field: &str, findings: &mut Findings) {
    let name = domain.strip_suffix('.').unwrap_or(domain);
    if !domain.is_empty() && !name.split('.').all(is_label) {
        let message = format!("`{domain}` is not a valid trust domain");
        findings.error(field, code::MESH_CONFIG, message, "use a name such as `cluster.local`");
    }
}
