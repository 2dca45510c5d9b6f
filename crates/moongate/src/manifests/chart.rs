//! The templates of the Helm chart: the same objects, with values in some places. A place is marked by a text in the objects, and once they are
//! YAML, the template of its value replaces it.

use super::autoscale;
use super::gateway::{Gateway, MARGIN_SECONDS, objects};
use crate::cli::{AutoscaleMetric, DRAIN, DRAIN_DELAY, ManifestsArgs, Role};
use crate::yaml;
use serde_json::{Value, json};
use sources::{Extent, Published};

/// Marks within lines, with their values.
const VALUES: [(&str, &str); 9] = [
    ("'@namespace@'", "{{ .Release.Namespace }}"),
    ("@namespace@", "{{ .Release.Namespace }}"),
    ("'@image@'", "{{ .Values.image | quote }}"),
    ("'@type@'", "{{ .Values.ingress.serviceType }}"),
    ("'@min@'", "{{ int .Values.autoscaling.minReplicas }}"),
    ("'@max@'", "{{ int .Values.autoscaling.maxReplicas }}"),
    ("'@replicas@'", "{{ int .Values.replicas }}"),
    ("@delay@", "{{ int .Values.drainDelay }}"),
    ("@drain@", "{{ int .Values.drain }}"),
];

/// Marks of whole lines: the kind of the object, where they stand in it, and the mark. The first word of a mark says what [`expanded`] makes of it.
const MARKS: [(&str, &str, &str); 17] = [
    ("HorizontalPodAutoscaler", "/spec/minReplicas", "@min@"),
    ("HorizontalPodAutoscaler", "/spec/maxReplicas", "@max@"),
    ("Deployment", "/spec/replicas", "@unless autoscaling.enabled@"),
    ("Deployment", "/spec/template/metadata/annotations", "@block podAnnotations@"),
    ("Deployment", "/spec/template/spec/affinity", "@block affinity@"),
    ("Deployment", "/spec/template/spec/imagePullSecrets", "@block imagePullSecrets@"),
    ("Deployment", "/spec/template/spec/nodeSelector", "@block nodeSelector@"),
    ("Deployment", "/spec/template/spec/terminationGracePeriodSeconds", "@grace@"),
    ("Deployment", "/spec/template/spec/tolerations", "@block tolerations@"),
    ("Deployment", "/spec/template/spec/containers/0/args/-", "@each extraArgs@"),
    ("Deployment", "/spec/template/spec/containers/0/env/-", "@items env@"),
    ("Deployment", "/spec/template/spec/containers/0/resources", "@block resources@"),
    ("NetworkPolicy", "/spec/ingress/1/from", "@from@"),
    // Of the ingress gateway alone: the Service of the other one is reached within the cluster.
    ("LoadBalancer", "/metadata/annotations", "@block ingress.annotations@"),
    ("LoadBalancer", "/spec/externalTrafficPolicy", "@text ingress.externalTrafficPolicy@"),
    ("LoadBalancer", "/spec/loadBalancerClass", "@text ingress.loadBalancerClass@"),
    ("LoadBalancer", "/spec/loadBalancerIP", "@text ingress.loadBalancerIP@"),
];

/// Kinds whose objects a value leaves out.
const OPTIONAL: [(&str, &str); 2] =
    [("HorizontalPodAutoscaler", "autoscaling.enabled"), ("NetworkPolicy", "networkPolicy.enabled")];

/// The metrics of the autoscaler with their values in the chart; one without a value is left out.
const AUTOSCALE: [(AutoscaleMetric, &str); 3] = [
    (AutoscaleMetric::Cpu, "cpuUtilization"),
    (AutoscaleMetric::Requests, "requestsPerSecond"),
    (AutoscaleMetric::Connections, "openConnections"),
];

/// Stands in a template for the addresses to publish.
const PUBLISHED: &str = "publish";

/// The template of a gateway in the Helm chart: the same objects, with values in some places.
pub(super) fn chart(role: Role) -> String {
    let args = ManifestsArgs {
        roles: vec![role],
        namespace: "@namespace@".to_owned(),
        image: "@image@".to_owned(),
        // Helm makes the namespace, or the one who installs the chart.
        without_namespace: true,
        publish_address: vec![Published::parse(PUBLISHED)],
        autoscale: Vec::new(),
        drain_delay: DRAIN_DELAY,
        drain: DRAIN,
        run: Vec::new(),
        chart: true,
    };
    let name = match role {
        Role::Ingress => "ingress",
        Role::Egress => "egress",
    };
    let documents = objects(&args).into_iter().enumerate().map(|(at, object)| document(at, object));
    let text = with_published(&args, documents.collect());
    let text = VALUES.iter().fold(text, |text, (mark, value)| text.replace(mark, value));
    format!("{{{{- if .Values.{name}.enabled }}}}\n{text}{{{{- end }}}}\n")
}

/// The template of an object, with the line before it where it is not the first.
fn document(at: usize, mut object: Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, service) = (text("/kind"), text("/spec/type"));
    for (_, path, mark) in MARKS.iter().filter(|(of, ..)| *of == kind || *of == service) {
        put(&mut object, path, (*mark).into());
    }
    if service == "LoadBalancer" {
        put(&mut object, "/spec/type", "@type@".into());
    }
    for argument in
        object.pointer_mut("/spec/template/spec/containers/0/args").and_then(Value::as_array_mut).into_iter().flatten()
    {
        for (flag, mark) in [("--drain-delay=", "@delay@"), ("--drain=", "@drain@")] {
            if argument.as_str().is_some_and(|argument| argument.starts_with(flag)) {
                *argument = format!("{flag}{mark}").into();
            }
        }
    }
    let text = yaml::to_yaml(&object);
    let text: String = text.lines().map(|line| expanded(line).unwrap_or_else(|| format!("{line}\n"))).collect();
    let grace = format!("{{{{ add .Values.drainDelay .Values.drain {MARGIN_SECONDS} }}}}");
    let text = text.replace("'@grace@'", &grace).replace("  metrics: []\n", &metrics());
    let text = if kind == "NetworkPolicy" { with_scrapers(&text) } else { text };
    let text = if at > 0 { format!("---\n{text}") } else { text };
    match OPTIONAL.iter().find(|(of, _)| *of == kind) {
        Some((_, value)) => format!("{{{{- if .Values.{value} }}}}\n{text}{{{{- end }}}}\n"),
        None => text,
    }
}

/// Puts a value into an object, where `-` is the end of a list.
fn put(object: &mut Value, path: &str, value: Value) {
    let Some((parent, key)) = path.rsplit_once('/') else { return };
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.insert(key.to_owned(), value)),
        Some(Value::Array(items)) => items.push(value),
        _ => {}
    }
}

/// The template for a line with a mark.
fn expanded(line: &str) -> Option<String> {
    let (before, mark) = line.strip_suffix("@'")?.split_once("'@")?;
    let (what, path) = mark.split_once(' ')?;
    let width = line.len() - line.trim_start().len();
    let pad = " ".repeat(width);
    let (begin, lines) = match what {
        // A field, if it has a value.
        "block" => ("with", format!("{}\n{pad}  {{{{- toYaml . | nindent {} }}}}", before.trim_end(), width + 2)),
        "text" => ("with", format!("{before}{{{{ . | quote }}}}")),
        // Items of a list.
        "each" => ("range", format!("{before}{{{{ . | quote }}}}")),
        "items" => ("with", format!("{pad}{{{{- toYaml . | nindent {width} }}}}")),
        "unless" => ("if not", format!("{before}'@replicas@'")),
        _ => return None,
    };
    Some(format!("{pad}{{{{- {begin} .Values.{path} }}}}\n{lines}\n{pad}{{{{- end }}}}\n"))
}

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

/// The rule for scrapers, which is the last one of the policy, where there are any: a rule without sources would be for all.
fn with_scrapers(text: &str) -> String {
    let Some((before, rest)) = text.split_once("  - from: '@from@'\n") else { return text.to_owned() };
    let (ports, behind) = rest.split_once("  podSelector:").unwrap_or((rest, ""));
    let from = "  - from:\n    {{- toYaml . | nindent 4 }}\n";
    format!(
        "{before}  {{{{- with .Values.networkPolicy.metricsFrom }}}}\n{from}{ports}  {{{{- end }}}}\n  podSelector:{behind}"
    )
}

/// The metrics of the autoscaler as a part of the template.
fn metrics() -> String {
    let one = |(metric, value): &(AutoscaleMetric, &str)| {
        let number = match metric {
            AutoscaleMetric::Cpu => "{{ int64 . }}",
            AutoscaleMetric::Requests | AutoscaleMetric::Connections => "{{ int64 . | quote }}",
        };
        let item = yaml::to_yaml(&json!([autoscale::metric(*metric, &"@".into())])).replace("'@'", number);
        let item: String = item.lines().map(|line| format!("  {line}\n")).collect();
        format!("  {{{{- with .Values.autoscaling.{value} }}}}\n{item}  {{{{- end }}}}\n")
    };
    let values = AUTOSCALE.map(|(_, value)| format!(".Values.autoscaling.{value}")).join(" ");
    // Without any metric an API server would aim at 80 % of the CPU.
    let none = "set autoscaling.cpuUtilization, requestsPerSecond or openConnections, or autoscaling.enabled to false";
    let fail = format!("  {{{{- if not (or {values}) }}}}\n  {{{{- fail \"{none}\" }}}}\n  {{{{- end }}}}\n");
    format!("{fail}  metrics:\n{}", AUTOSCALE.iter().map(one).collect::<String>())
}
