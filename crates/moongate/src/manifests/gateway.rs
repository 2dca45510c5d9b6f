//! The objects of the gateways, whoever prints them.

use super::autoscale;
use crate::cli::{ManifestsArgs, Role};
use serde_json::{Value, json};
use sources::{Extent, Rule, Written};

/// The port of readiness.
const STATUS_PORT: u16 = 15021;
/// The port of metrics: that of Istio's proxy.
const METRICS_PORT: u16 = 15090;
/// The port of metrics and readiness of Istio's agent.
const AGENT_PORT: u16 = 15020;
/// The label of namespaces from which metrics may be scraped, besides the gateway's own.
pub(super) const SCRAPERS: &str = "moongate.dev/scrape-metrics";
/// An account without a name in images `FROM scratch`.
pub(super) const USER: u32 = 65532;
/// How much longer than the delay and the drain of `run` a Pod has to end.
pub(super) const MARGIN_SECONDS: u32 = 10;

/// Every object, in the order in which a cluster takes them.
pub(super) fn objects(args: &ManifestsArgs) -> Vec<Value> {
    let mut all = Vec::new();
    if !args.without_namespace {
        all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.namespace}}));
    }
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

/// One gateway.
pub(super) struct Gateway<'a> {
    pub(super) role: Role,
    pub(super) args: &'a ManifestsArgs,
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

    /// The labels of Pods: an injector of sidecars would merge its own proxy into the container `istio-proxy`.
    fn pod_labels(&self) -> Value {
        let mut labels = self.labels();
        if let Value::Object(labels) = &mut labels {
            labels.insert("sidecar.istio.io/inject".to_owned(), "false".into());
        }
        labels
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
    pub(super) fn publishes(&self) -> bool {
        matches!(self.role, Role::Ingress) && !self.args.publish_address.is_empty()
    }

    pub(super) fn rules(&self, extent: Extent) -> Vec<Value> {
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

    /// Those of the container.
    pub(super) fn arguments(&self) -> Vec<String> {
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
        arguments.push(format!("--drain-delay={}", self.args.drain_delay));
        arguments.push(format!("--drain={}", self.args.drain));
        if self.publishes() {
            arguments.extend(self.args.publish_address.iter().map(|one| format!("--publish-address={one}")));
        }
        arguments.extend_from_slice(&self.args.run);
        arguments
    }

    fn deployment(&self) -> Value {
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
            "args": self.arguments(),
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
                    "metadata": {"labels": self.pod_labels(), "annotations": scrape},
                    "spec": {
                        "serviceAccountName": self.name(),
                        "terminationGracePeriodSeconds": self.grace_seconds(),
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        // A node that fails takes one of them along, where there are enough nodes.
                        "topologySpreadConstraints": [{
                            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": self.labels()},
                        }],
                        // It survives a restart of the container, not the Pod, and is never written to a disk.
                        "volumes": [{"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}],
                    },
                },
            },
        })
    }

    /// The longest time that a Pod takes to end: the kubelet kills what is left then.
    fn grace_seconds(&self) -> u32 {
        self.args.drain_delay + self.args.drain + MARGIN_SECONDS
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

    /// One at a time: those that are left have the load of the others, and their number follows only later.
    fn disruption_budget(&self) -> Value {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": self.metadata(self.name()),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": self.labels()}},
        })
    }

    fn autoscaler(&self) -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": self.metadata(self.name()),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name()},
                "minReplicas": 2, "maxReplicas": 5,
                "metrics": self.args.autoscale.iter().map(autoscale::target).collect::<Vec<_>>(),
            },
        })
    }

    /// Any address may connect to the servers of Gateways, whose ports are not known here, and ask for readiness; metrics are for scrapers. The admin
    /// pages are on the loopback address. Connections to destinations, name servers and the API server are not restricted.
    fn network_policy(&self) -> Value {
        let scraped = [AGENT_PORT, METRICS_PORT];
        let scrapers = json!([
            {"podSelector": {}},
            {"namespaceSelector": {"matchLabels": {SCRAPERS: "true"}}},
        ]);
        let metrics = scraped.map(|port| json!({"protocol": "TCP", "port": port}));
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": self.metadata(self.name()),
            "spec": {
                "podSelector": {"matchLabels": self.labels()}, "policyTypes": ["Ingress"],
                "ingress": [{"ports": all_but(scraped)}, {"from": scrapers, "ports": metrics}],
            },
        })
    }
}

/// The ranges of ports between these, which are in order.
fn all_but(ports: [u16; 2]) -> Vec<Value> {
    let begins = std::iter::once(1).chain(ports.iter().map(|port| port + 1));
    let ends = ports.iter().map(|port| port - 1).chain(std::iter::once(u16::MAX));
    begins.zip(ends).map(|(begin, end)| json!({"protocol": "TCP", "port": begin, "endPort": end})).collect()
}
