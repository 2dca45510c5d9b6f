//! The templates of the Helm chart: the same objects, with values in some places.

use super::autoscale;
use super::gateway::{Gateway, MARGIN_SECONDS, objects};
use crate::cli::{AutoscaleMetric, DRAIN, DRAIN_DELAY, ManifestsArgs, Role};
use crate::yaml;
use serde_json::{Value, json};
use sources::{Extent, Published};

/// What stands in a template for the values of the chart, and the values.
pub(super) const VALUES: [(&str, &str); 8] = [
    ("'@namespace@'", "{{ .Release.Namespace }}"),
    ("@namespace@", "{{ .Release.Namespace }}"),
    ("'@image@'", "{{ .Values.image }}"),
    ("'@type@'", "{{ .Values.ingress.serviceType }}"),
    ("'@min@'", "{{ .Values.autoscaling.minReplicas }}"),
    ("'@max@'", "{{ .Values.autoscaling.maxReplicas }}"),
    ("@delay@", "{{ .Values.drainDelay }}"),
    ("@drain@", "{{ .Values.drain }}"),
];

/// The time that a Pod has to end, as the other objects have it.
pub(super) fn grace() -> String {
    format!("{{{{ add .Values.drainDelay .Values.drain {MARGIN_SECONDS} }}}}")
}

/// The metrics of the autoscaler with their values in the chart; one without a value is left out.
pub(super) const AUTOSCALE: [(AutoscaleMetric, &str); 3] = [
    (AutoscaleMetric::Cpu, "cpuUtilization"),
    (AutoscaleMetric::Requests, "requestsPerSecond"),
    (AutoscaleMetric::Connections, "openConnections"),
];

/// The template of a gateway in the Helm chart: the same objects, with values in some places.
pub(super) fn chart(role: Role) -> String {
    let (namespace, image) = ("@namespace@".to_owned(), "@image@".to_owned());
    let (publish_address, autoscale) = (vec![Published::parse(PUBLISHED)], Vec::new());
    let (drain_delay, drain, run) = (DRAIN_DELAY, DRAIN, Vec::new());
    let args = ManifestsArgs {
        roles: vec![role],
        namespace,
        image,
        publish_address,
        autoscale,
        drain_delay,
        drain,
        run,
        chart: true,
    };
    let name = match role {
        Role::Ingress => "ingress",
        Role::Egress => "egress",
    };
    // Helm makes the namespace, or somebody before it.
    let mut objects = objects(&args);
    objects.retain(|one| one.get("kind").and_then(Value::as_str) != Some("Namespace"));
    for (path, token) in [
        ("/spec/minReplicas", "@min@"),
        ("/spec/maxReplicas", "@max@"),
        ("/spec/template/spec/terminationGracePeriodSeconds", "@grace@"),
    ] {
        objects.iter_mut().filter_map(|one| one.pointer_mut(path)).for_each(|value| *value = token.into());
    }
    let arguments = "/spec/template/spec/containers/0/args";
    for argument in objects.iter_mut().filter_map(|one| one.pointer_mut(arguments)?.as_array_mut()).flatten() {
        for (flag, token) in [("--drain-delay=", "@delay@"), ("--drain=", "@drain@")] {
            if argument.as_str().is_some_and(|argument| argument.starts_with(flag)) {
                *argument = format!("{flag}{token}").into();
            }
        }
    }
    for kind in objects.iter_mut().filter_map(|one| one.pointer_mut("/spec/type")) {
        if *kind == "LoadBalancer" {
            *kind = "@type@".into();
        }
    }
    let text = objects.iter().map(yaml::to_yaml).collect::<Vec<_>>().join("---\n");
    let text = with_published(&args, text);
    let text = VALUES.iter().fold(text, |text, (token, value)| text.replace(token, value));
    let text = text.replace("'@grace@'", &grace());
    let text = text.replace("  metrics: []\n", &chart_metrics());
    format!("{{{{- if .Values.{name}.enabled }}}}\n{text}{{{{- end }}}}\n")
}

/// Stands in a template for the addresses to publish.
const PUBLISHED: &str = "publish";

/// Lets the values decide about the addresses to publish: the argument, and the right that it needs.
fn with_published(args: &ManifestsArgs, text: String) -> String {
    let argument = format!("        - --publish-address={PUBLISHED}\n");
    let each = "        {{- range .Values.publishAddress }}\n        - --publish-address={{ . }}\n        {{- end }}\n";
    let gateways = args.roles.iter().map(|role| Gateway { role: *role, args });
    gateways.fold(text.replace(&argument, each), |text, gateway| {
        let rules = gateway.rules(Extent::OwnNamespace);
        let Some(rule) = rules.last().filter(|_| gateway.publishes()) else { return text };
        let rule = yaml::to_yaml(&json!([rule]));
        text.replace(&rule, &format!("{{{{- if .Values.publishAddress }}}}\n{rule}{{{{- end }}}}\n"))
    })
}

/// The metrics of the autoscaler as a part of the template.
fn chart_metrics() -> String {
    let one = |(metric, value): &(AutoscaleMetric, &str)| {
        let item = yaml::to_yaml(&json!([autoscale::metric(*metric, &"@".into())])).replace("'@'", "{{ . }}");
        let item: String = item.lines().map(|line| format!("  {line}\n")).collect();
        format!("  {{{{- with .Values.autoscaling.{value} }}}}\n{item}  {{{{- end }}}}\n")
    };
    format!("  metrics:\n{}", AUTOSCALE.iter().map(one).collect::<String>())
}
