//! `moongate manifests`: the objects that run the gateway in a cluster. The rights are made from the table of what is watched, so that they
//! are neither more nor less than that; `deploy/` is what this prints.

use crate::cli::{AutoscaleMetric, AutoscaleTarget, ManifestsArgs, Role};
use crate::{output, yaml};
use anyhow::Result;
use serde_json::{Value, json};
use sources::{Extent, Published, Rule, Written};

/// The port of readiness.
const STATUS_PORT: u16 = 15021;
/// The port of metrics: that of Istio's proxy.
const METRICS_PORT: u16 = 15090;
/// The port of metrics and readiness of Istio's agent.
const AGENT_PORT: u16 = 15020;
/// An account without a name in images `FROM scratch`.
const USER: u32 = 65532;
/// The longest time that a Pod takes to end: the delay and the drain of `run`, and some more.
const GRACE_SECONDS: u32 = 45;

/// Prints the manifests.
pub(crate) fn manifests(args: &ManifestsArgs) -> Result<()> {
    if args.chart {
        return output::print(&args.roles.iter().map(|role| chart(*role)).collect::<String>());
    }
    output::print(&text(args))
}

/// What stands in a template for the values of the chart, and the values.
const VALUES: [(&str, &str); 6] = [
    ("'@namespace@'", "{{ .Release.Namespace }}"),
    ("@namespace@", "{{ .Release.Namespace }}"),
    ("'@image@'", "{{ .Values.image }}"),
    ("'@type@'", "{{ .Values.ingress.serviceType }}"),
    ("'@min@'", "{{ .Values.autoscaling.minReplicas }}"),
    ("'@max@'", "{{ .Values.autoscaling.maxReplicas }}"),
];

/// The metrics of the autoscaler with their values in the chart; one without a value is left out.
const AUTOSCALE: [(AutoscaleMetric, &str); 3] = [
    (AutoscaleMetric::Cpu, "cpuUtilization"),
    (AutoscaleMetric::Requests, "requestsPerSecond"),
    (AutoscaleMetric::Connections, "openConnections"),
];

/// The template of a gateway in the Helm chart: the same objects, with values in some places.
fn chart(role: Role) -> String {
    let (namespace, image) = ("@namespace@".to_owned(), "@image@".to_owned());
    let (publish_address, autoscale) = (vec![Published::parse(PUBLISHED)], Vec::new());
    let args = ManifestsArgs { roles: vec![role], namespace, image, publish_address, autoscale, chart: true };
    let name = match role {
        Role::Ingress => "ingress",
        Role::Egress => "egress",
    };
    // Helm makes the namespace, or somebody before it.
    let mut objects = objects(&args);
    objects.retain(|one| one.get("kind").and_then(Value::as_str) != Some("Namespace"));
    for (path, token) in [("/spec/minReplicas", "@min@"), ("/spec/maxReplicas", "@max@")] {
        objects.iter_mut().filter_map(|one| one.pointer_mut(path)).for_each(|value| *value = token.into());
    }
    for kind in objects.iter_mut().filter_map(|one| one.pointer_mut("/spec/type")) {
        if *kind == "LoadBalancer" {
            *kind = "@type@".into();
        }
    }
    let text = objects.iter().map(yaml::to_yaml).collect::<Vec<_>>().join("---\n");
    let text = with_published(&args, text);
    let text = VALUES.iter().fold(text, |text, (token, value)| text.replace(token, value));
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
        let item = yaml::to_yaml(&json!([autoscale_metric(*metric, &"@".into())])).replace("'@'", "{{ . }}");
        let item: String = item.lines().map(|line| format!("  {line}\n")).collect();
        format!("  {{{{- with .Values.autoscaling.{value} }}}}\n{item}  {{{{- end }}}}\n")
    };
    format!("  metrics:\n{}", AUTOSCALE.iter().map(one).collect::<String>())
}

/// A metric of an autoscaler. CPU is that of `metrics.k8s.io`, as metrics-server has it; the others are the gateway's own, which an adapter has to
/// offer by `custom.metrics.k8s.io` (docs/kubernetes.md).
fn autoscale_metric(metric: AutoscaleMetric, value: &Value) -> Value {
    let name = match metric {
        AutoscaleMetric::Cpu => {
            let target = json!({"type": "Utilization", "averageUtilization": value});
            return json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        }
        AutoscaleMetric::Requests => "istio_requests_per_second",
        AutoscaleMetric::Connections => "moongate_downstream_connections_open",
    };
    // A quantity is a text, also where it is a template.
    let target = json!({"type": "AverageValue", "averageValue": value.as_str().map_or_else(|| value.to_string(), str::to_owned)});
    json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": target}})
}

fn text(args: &ManifestsArgs) -> String {
    objects(args).iter().map(yaml::to_yaml).collect::<Vec<_>>().join("---\n")
}

/// Every object, in the order in which a cluster takes them.
fn objects(args: &ManifestsArgs) -> Vec<Value> {
    let mut all = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.namespace}})];
    for role in &args.roles {
        let gateway = Gateway { role: *role, args };
        all.extend([
            gateway.account(),
            gateway.cluster_role(),
            gateway.cluster_role_binding(),
            gateway.role(),
            gateway.role_binding(),
            gateway.deployment(),
            gateway.service(),
            gateway.disruption_budget(),
            gateway.autoscaler(),
            gateway.network_policy(),
        ]);
    }
    all
}

impl AutoscaleTarget {
    fn metric(&self) -> Value {
        autoscale_metric(self.metric, &self.value.get().into())
    }
}

/// One gateway.
struct Gateway<'a> {
    role: Role,
    args: &'a ManifestsArgs,
}

impl Gateway<'_> {
    /// `istio-ingressgateway`, as in Istio.
    fn name(&self) -> &'static str {
        match self.role {
            Role::Ingress => "istio-ingressgateway",
            Role::Egress => "istio-egressgateway",
        }
    }

    fn labels(&self) -> Value {
        let istio = match self.role {
            Role::Ingress => "ingressgateway",
            Role::Egress => "egressgateway",
        };
        json!({"app": self.name(), "istio": istio})
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.args.namespace, "labels": self.labels()})
    }

    /// The name of objects that belong to no namespace, where several gateways meet.
    fn cluster_name(&self) -> String {
        format!("{}-{}", self.name(), self.args.namespace)
    }

    fn account(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata(self.name())})
    }

    fn cluster_role(&self) -> Value {
        let metadata = json!({"name": self.cluster_name(), "labels": self.labels()});
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata,
            "rules": self.rules(Extent::Cluster),
        })
    }

    fn cluster_role_binding(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": self.cluster_name(), "labels": self.labels()},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.cluster_name()},
            "subjects": self.subjects(),
        })
    }

    fn role(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": self.metadata(self.name()),
            "rules": self.rules(Extent::OwnNamespace),
        })
    }

    fn role_binding(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": self.metadata(self.name()),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.name()},
            "subjects": self.subjects(),
        })
    }

    /// Whether addresses are published: the Service of the other gateway is reached within the cluster.
    fn publishes(&self) -> bool {
        matches!(self.role, Role::Ingress) && !self.args.publish_address.is_empty()
    }

    fn rules(&self, extent: Extent) -> Vec<Value> {
        let rule = |Rule { group, resources, verbs, is_for_own_name }: Rule| {
            let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
            if let (true, Value::Object(fields)) = (is_for_own_name, &mut rule) {
                fields.insert("resourceNames".to_owned(), json!([self.name()]));
            }
            rule
        };
        sources::rules(extent, Written { statuses: true, addresses: self.publishes() }).into_iter().map(rule).collect()
    }

    fn subjects(&self) -> Value {
        json!([{"kind": "ServiceAccount", "name": self.name(), "namespace": self.args.namespace}])
    }

    /// The ports of the Service with those of the container; ports below 1024 need rights that the container does not have.
    fn ports(&self) -> Vec<(&'static str, u16, u16)> {
        let mut ports = vec![("http2", 80, 8080), ("https", 443, 8443)];
        if matches!(self.role, Role::Ingress) {
            ports.insert(0, ("status-port", STATUS_PORT, STATUS_PORT));
        }
        ports
    }

    fn deployment(&self) -> Value {
        let as_role = match self.role {
            Role::Ingress => "ingress",
            Role::Egress => "egress",
        };
        let mut arguments: Vec<String> = [
            "run",
            "--kubernetes",
            "--as",
            as_role,
            "--namespace",
            "$(POD_NAMESPACE)",
            "--state",
            "/state",
            "--istio-ports",
            "--write-status",
        ]
        .map(str::to_owned)
        .to_vec();
        if self.publishes() {
            arguments.extend(self.args.publish_address.iter().map(|one| format!("--publish-address={one}")));
        }
        let port =
            |(name, _, number): &(&str, u16, u16)| json!({"name": name, "containerPort": number, "protocol": "TCP"});
        let mut ports: Vec<Value> = self.ports().iter().map(port).collect();
        if matches!(self.role, Role::Egress) {
            ports.insert(0, port(&("status-port", STATUS_PORT, STATUS_PORT)));
        }
        ports.push(port(&("http-envoy-prom", METRICS_PORT, METRICS_PORT)));
        let probe = json!({"httpGet": {"path": "/healthz/ready", "port": STATUS_PORT}, "periodSeconds": 2});
        let live = json!({"httpGet": {"path": "/healthz/live", "port": STATUS_PORT}, "periodSeconds": 10, "failureThreshold": 6});
        let container = json!({
            "name": "istio-proxy",
            "image": self.args.image,
            "args": arguments,
            "env": [
                {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                // Its labels tell where the gateway is.
                {"name": "MOONGATE_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "ports": ports,
            "readinessProbe": probe,
            "livenessProbe": live,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
            },
            "volumeMounts": [{"name": "state", "mountPath": "/state"}],
        });
        let scrape = json!({
            "prometheus.io/scrape": "true", "prometheus.io/port": AGENT_PORT.to_string(), "prometheus.io/path": "/stats/prometheus",
        });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(self.name()),
            "spec": {
                "selector": {"matchLabels": self.labels()},
                // The autoscaler says how many there are.
                "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": self.labels(), "annotations": scrape},
                    "spec": {
                        "serviceAccountName": self.name(),
                        "terminationGracePeriodSeconds": GRACE_SECONDS,
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        // It survives a restart of the container, not the Pod, and is never written to a disk.
                        "volumes": [{"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}],
                    },
                },
            },
        })
    }

    fn service(&self) -> Value {
        let port = |(name, number, target): (&str, u16, u16)| json!({"name": name, "port": number, "targetPort": target, "protocol": "TCP"});
        let kind = match self.role {
            Role::Ingress => "LoadBalancer",
            Role::Egress => "ClusterIP",
        };
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(self.name()),
            "spec": {
                "type": kind, "selector": self.labels(), "ports": self.ports().into_iter().map(port).collect::<Vec<_>>(),
            },
        })
    }

    fn disruption_budget(&self) -> Value {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": self.metadata(self.name()),
            "spec": {"minAvailable": 1, "selector": {"matchLabels": self.labels()}},
        })
    }

    fn autoscaler(&self) -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": self.metadata(self.name()),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name()},
                "minReplicas": 2, "maxReplicas": 5,
                "metrics": self.args.autoscale.iter().map(AutoscaleTarget::metric).collect::<Vec<_>>(),
            },
        })
    }

    /// Everybody may connect to the servers of Gateways, whose ports are not known here; the admin pages are on the loopback address.
    fn network_policy(&self) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": self.metadata(self.name()),
            "spec": {"podSelector": {"matchLabels": self.labels()}, "policyTypes": ["Ingress"], "ingress": [{}]},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> ManifestsArgs {
        ManifestsArgs {
            roles: vec![Role::Ingress, Role::Egress],
            namespace: "istio-system".to_owned(),
            image: "moongate:0.1.0".to_owned(),
            publish_address: Vec::new(),
            autoscale: vec!["cpu=80".parse().unwrap()],
            chart: false,
        }
    }

    fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
        all.iter().filter(|one| one.get("kind").and_then(Value::as_str) == Some(kind)).collect()
    }

    fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
        value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value}"))
    }

    #[test]
    fn roles_allow_what_is_watched_and_written_and_nothing_else() {
        let published = ManifestsArgs { publish_address: vec![Published::parse("192.0.2.1")], ..both() };
        for args in [both(), published] {
            for (kind, extent) in [("ClusterRole", Extent::Cluster), ("Role", Extent::OwnNamespace)] {
                let all = objects(&args);
                let [ingress, egress] = of_kind(&all, kind)[..] else { panic!("two roles") };
                for (role, addresses) in [(ingress, !args.publish_address.is_empty()), (egress, false)] {
                    let expected = sources::rules(extent, Written { statuses: true, addresses });
                    let found = at(role, "/rules").as_array().unwrap();
                    assert_eq!(found.len(), expected.len());
                    for (found, expected) in found.iter().zip(expected) {
                        assert_eq!(*at(found, "/apiGroups"), json!([expected.group]));
                        assert_eq!(*at(found, "/resources"), json!(expected.resources));
                        assert_eq!(*at(found, "/verbs"), json!(expected.verbs));
                        let names = expected.is_for_own_name.then(|| json!([at(role, "/metadata/labels/app")]));
                        assert_eq!(found.get("resourceNames"), names.as_ref());
                    }
                }
            }
        }
    }

    #[test]
    fn addresses_are_published_where_it_is_said_and_by_the_ingress_alone() {
        let args = ManifestsArgs {
            publish_address: vec![Published::parse("192.0.2.1"), Published::parse("lb.test")],
            ..both()
        };
        let arguments = |all: &[Value]| {
            let deployments = of_kind(all, "Deployment");
            deployments
                .iter()
                .map(|one| at(one, "/spec/template/spec/containers/0/args").to_string())
                .collect::<Vec<_>>()
        };
        let [ingress, egress] = &arguments(&objects(&args))[..] else { panic!("two Deployments") };
        assert!(ingress.contains("--publish-address=192.0.2.1\",\"--publish-address=lb.test"), "{ingress}");
        assert!(!egress.contains("publish"), "{egress}");
        assert!(!arguments(&objects(&both())).concat().contains("publish"));
    }

    #[test]
    fn the_service_is_that_of_istio_and_finds_the_pods() {
        let all = objects(&both());
        let [ingress, egress] = of_kind(&all, "Service")[..] else { panic!("two Services") };
        assert_eq!(
            (at(ingress, "/metadata/name"), at(ingress, "/spec/type")),
            (&json!("istio-ingressgateway"), &json!("LoadBalancer"))
        );
        assert_eq!(at(ingress, "/metadata/labels/istio"), "ingressgateway");
        let ports = |service: &Value| {
            let ports = at(service, "/spec/ports").as_array().unwrap().clone();
            ports.iter().map(|port| (at(port, "/port").clone(), at(port, "/targetPort").clone())).collect::<Vec<_>>()
        };
        assert_eq!(ports(ingress), [(json!(15021), json!(15021)), (json!(80), json!(8080)), (json!(443), json!(8443))]);
        assert_eq!((at(egress, "/spec/type"), ports(egress).len()), (&json!("ClusterIP"), 2));
        for (service, deployment) in [ingress, egress].into_iter().zip(of_kind(&all, "Deployment")) {
            assert_eq!(at(service, "/spec/selector"), at(deployment, "/spec/template/metadata/labels"));
            assert_eq!(at(deployment, "/spec/selector/matchLabels"), at(service, "/spec/selector"));
            let container = at(deployment, "/spec/template/spec/containers/0");
            let opened: Vec<&Value> =
                at(container, "/ports").as_array().unwrap().iter().map(|port| at(port, "/containerPort")).collect();
            assert!(ports(service).iter().all(|(_, target)| opened.contains(&target)), "{container}");
        }
    }

    #[test]
    fn containers_have_no_rights_and_no_disk() {
        for deployment in of_kind(&objects(&both()), "Deployment") {
            let pod = at(deployment, "/spec/template/spec");
            assert_eq!(
                (at(pod, "/securityContext/runAsNonRoot"), at(pod, "/securityContext/runAsUser")),
                (&json!(true), &json!(USER))
            );
            let context = at(pod, "/containers/0/securityContext");
            assert_eq!(at(context, "/readOnlyRootFilesystem"), &json!(true));
            assert_eq!(
                (at(context, "/capabilities/drop/0"), at(context, "/allowPrivilegeEscalation")),
                (&json!("ALL"), &json!(false))
            );
        }
    }

    #[test]
    fn the_arguments_of_the_container_are_those_of_the_program() {
        use clap::Parser as _;
        for deployment in of_kind(&objects(&both()), "Deployment") {
            let arguments = at(deployment, "/spec/template/spec/containers/0/args").as_array().unwrap().clone();
            let arguments =
                arguments.iter().map(|one| one.as_str().unwrap().replace("$(POD_NAMESPACE)", "istio-system"));
            crate::cli::Cli::try_parse_from(std::iter::once("moongate".to_owned()).chain(arguments)).unwrap();
        }
    }

    #[test]
    fn the_autoscaler_looks_at_what_it_is_told() {
        let autoscale = ["cpu=50", "requests=1000", "connections=20"].map(|one| one.parse().unwrap()).to_vec();
        let all = objects(&ManifestsArgs { autoscale, ..both() });
        let metrics = at(of_kind(&all, "HorizontalPodAutoscaler")[0], "/spec/metrics").clone();
        assert_eq!(*at(&metrics, "/0/resource/target/averageUtilization"), json!(50));
        let pods = |at_index: usize| {
            let metric = at(&metrics, &format!("/{at_index}/pods"));
            (at(metric, "/metric/name").clone(), at(metric, "/target/averageValue").clone())
        };
        assert_eq!(pods(1), (json!("istio_requests_per_second"), json!("1000")));
        assert_eq!(pods(2), (json!("moongate_downstream_connections_open"), json!("20")));
        for wrong in ["cpu", "cpu=0", "cpu=-1", "memory=80", "requests=many", ""] {
            assert!(wrong.parse::<AutoscaleTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_folder_deploy_has_what_is_printed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kustomize");
        for (file, roles) in [("ingress.yaml", vec![Role::Ingress]), ("egress.yaml", vec![Role::Egress])] {
            let expected = text(&ManifestsArgs { roles, ..both() });
            let found = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            assert_eq!(found, expected, "run `cargo run -- manifests` for deploy/kustomize/{file}");
        }
    }

    #[test]
    fn the_chart_is_the_same_objects_with_values() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm");
        for (file, role) in [("ingress.yaml", Role::Ingress), ("egress.yaml", Role::Egress)] {
            let found = std::fs::read_to_string(folder.join("templates").join(file)).unwrap_or_default();
            assert_eq!(found, chart(role), "run `cargo run -- manifests --chart` for deploy/helm/templates/{file}");
            assert!(!found.contains('@'), "every value has its place");
        }
        // With the values of the chart the templates are what is printed.
        let values = std::fs::read_to_string(folder.join("values.yaml")).unwrap();
        let values: Value = resources::read::from_yaml(&values).unwrap();
        let mut text = chart(Role::Ingress).replace("{{ .Release.Namespace }}", "istio-system");
        for (_, place) in VALUES.iter().filter(|(_, place)| place.contains(".Values")) {
            let path = place.trim_start_matches("{{ .Values").trim_end_matches(" }}").replace('.', "/");
            let value = at(&values, &path);
            text = text.replace(place, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        // No address is published.
        let mut is_left_out = false;
        let mut kept = String::new();
        for line in text.lines() {
            is_left_out |= line.contains(".Values.publishAddress");
            if !is_left_out {
                kept.push_str(line);
                kept.push('\n');
            }
            is_left_out &= !line.contains("{{- end }}");
        }
        let mut text = kept;
        for (_, name) in AUTOSCALE {
            let begins = format!("  {{{{- with .Values.autoscaling.{name} }}}}\n");
            let (before, rest) = text.split_once(&begins).unwrap();
            let (metric, behind) = rest.split_once("  {{- end }}\n").unwrap();
            // A value that is zero is none, as Helm has it.
            let value = at(&values, &format!("/autoscaling/{name}")).as_u64().unwrap();
            let metric = if value == 0 { String::new() } else { metric.replace("{{ . }}", &value.to_string()) };
            text = format!("{before}{metric}{behind}");
        }
        let text = text.replace("{{- if .Values.ingress.enabled }}\n", "").replace("{{- end }}\n", "");
        let printed = super::text(&ManifestsArgs { roles: vec![Role::Ingress], ..both() });
        let (_, without_namespace) = printed.split_once("---\n").unwrap();
        assert_eq!(text, without_namespace);
    }
}
