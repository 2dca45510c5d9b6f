//! What metrics-server and an adapter of Prometheus do in a cluster: the API groups `metrics.k8s.io` and `custom.metrics.k8s.io`, of what the processes of
//! Pods use and of what their metrics pages say. The API server sends requests for these groups here (APIService), and the autoscaler asks it.

use crate::cluster::Cluster;
use crate::kube_api::{Api, list, now, text};
use crate::network::MACHINE;
use crate::ports;
use crate::secured::BackendTls;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const RESOURCE: &str = "/apis/metrics.k8s.io/v1beta1";
/// Clock ticks in a second, in `/proc/PID/stat`.
const TICKS: f64 = 100.0;
/// The longest wait for the metrics of a Pod.
const SCRAPE: Duration = Duration::from_secs(5);

/// A metric of Pods that is made from their pages, as the rules of an adapter say.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What the autoscaler asks for.
    pub name: &'static str,
    /// The series that are added up.
    pub series: &'static str,
    /// Whether it is how much they grow in a second.
    pub is_rate: bool,
}

/// A running server.
#[derive(Debug)]
pub struct MetricsApi {
    /// Ends everything that runs in it.
    _runtime: Runtime,
}

struct Server {
    api: Api,
    rules: &'static [Rule],
    /// The page with the metrics of every Pod: port and path.
    page: (u16, &'static str),
    /// What was counted before, and when.
    counted: Mutex<HashMap<String, (Instant, f64, f64)>>,
}

impl MetricsApi {
    /// Starts it in the network of a cluster, and registers both groups. `page`: the port and path of each Pod's metrics.
    pub fn start(
        cluster: &Cluster,
        tls: &BackendTls,
        page: (u16, &'static str),
        rules: &'static [Rule],
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let port = ports::free();
        runtime.block_on(async {
            let api = Api::new(&cluster.kubeconfig("admin")).await?;
            let listener = TcpListener::bind(SocketAddr::from((MACHINE, port))).await?;
            let server = Arc::new(Server { api, rules, page, counted: Mutex::default() });
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
                    tokio::spawn(async move { server.serve(acceptor, stream).await });
                }
            });
            anyhow::Ok(())
        })?;
        cluster.apply(&registration(port))?;
        Ok(Self { _runtime: runtime })
    }
}

/// The objects that lead the API server here.
fn registration(port: u16) -> String {
    let service = |group: &str, version: &str| {
        format!(
            "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: {version}.{group}}}\nspec:\n  group: {group}\n  version: \
             {version}\n  insecureSkipTLSVerify: true\n  groupPriorityMinimum: 100\n  versionPriority: 100\n  service: {{name: metrics, \
             namespace: kube-system, port: 443}}\n---\n"
        )
    };
    let services = service("metrics.k8s.io", "v1beta1") + &service("custom.metrics.k8s.io", "v1beta2");
    format!(
        "{services}apiVersion: v1\nkind: Service\nmetadata: {{name: metrics, namespace: kube-system}}\nspec: {{ports: [{{port: 443, \
         targetPort: {port}}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: metrics, namespace: kube-system, \
         labels: {{kubernetes.io/service-name: metrics}}}}\naddressType: IPv4\nports: [{{port: {port}}}]\nendpoints: [{{addresses: \
         [{MACHINE}], conditions: {{ready: true}}}}]\n"
    )
}

impl Server {
    async fn serve(&self, acceptor: TlsAcceptor, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(acceptor.accept(stream).await.ok()?);
        loop {
            let mut first = String::new();
            stream.read_line(&mut first).await.ok()?;
            let target = first.split(' ').nth(1)?.to_owned();
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
            }
            let (status, body) = match self.answer(&target).await {
                Ok(Some(body)) => (200, body),
                Ok(None) => (
                    404,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}),
                ),
                Err(error) => (
                    500,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": format!("{error:#}")}),
                ),
            };
            let body = body.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
            stream.get_mut().flush().await.ok()?;
        }
    }

    async fn answer(&self, target: &str) -> Result<Option<Value>> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == RESOURCE {
            let kinds = json!([{"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"]}]);
            return Ok(Some(resources("metrics.k8s.io/v1beta1", &kinds)));
        }
        if path == CUSTOM {
            let kind = |rule: &Rule| {
                json!({
                    "name": format!("pods/{}", rule.name), "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": ["get"],
                })
            };
            let kinds: Value = self.rules.iter().map(kind).collect();
            return Ok(Some(resources("custom.metrics.k8s.io/v1beta2", &kinds)));
        }
        let selector = query.split('&').find(|pair| pair.starts_with("labelSelector=")).unwrap_or_default();
        let parts = |root: &str| {
            let rest = path.strip_prefix(root)?.strip_prefix("/namespaces/")?;
            Some(rest.split('/').map(str::to_owned).collect::<Vec<_>>())
        };
        if let Some(parts) = parts(RESOURCE)
            && let [namespace, pods] = &parts[..]
            && pods == "pods"
        {
            return self.resource(namespace, selector).await.map(Some);
        }
        if let Some(parts) = parts(CUSTOM)
            && let [namespace, pods, _, metric] = &parts[..]
            && pods == "pods"
            && let Some(rule) = self.rules.iter().find(|rule| rule.name == metric)
        {
            return self.custom(namespace, selector, rule).await.map(Some);
        }
        Ok(None)
    }

    async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let pods = self.api.get(&format!("/api/v1/namespaces/{namespace}/pods?{selector}")).await?;
        Ok(list(&pods, "/items").to_vec())
    }

    /// The CPU of the processes that the kubelet names.
    async fn resource(&self, namespace: &str, selector: &str) -> Result<Value> {
        let mut items = Vec::new();
        for pod in self.pods(namespace, selector).await? {
            let mut containers = Vec::new();
            for container in list(&pod, "/status/containerStatuses") {
                let Some((_, pid)) = text(container, "/containerID").split_once("://") else { continue };
                let Some(seconds) = cpu_seconds(pid) else { continue };
                let Some(cores) = self.rate(&format!("cpu {pid}"), seconds) else { continue };
                let usage = json!({"cpu": format!("{}n", (cores * 1e9) as u64), "memory": "64Mi"});
                containers.push(json!({"name": text(container, "/name"), "usage": usage}));
            }
            if containers.is_empty() {
                continue;
            }
            let metadata = json!({"name": text(&pod, "/metadata/name"), "namespace": namespace, "labels": pod.pointer("/metadata/labels")});
            items.push(json!({"metadata": metadata, "timestamp": now(), "window": "1s", "containers": containers}));
        }
        Ok(json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}))
    }

    /// A metric of the Pods' own pages.
    async fn custom(&self, namespace: &str, selector: &str, rule: &Rule) -> Result<Value> {
        let mut items = Vec::new();
        for pod in self.pods(namespace, selector).await? {
            let (name, address) = (text(&pod, "/metadata/name"), text(&pod, "/status/podIP"));
            let Ok(Some(sum)) = timeout(SCRAPE, self.scrape(address, rule.series)).await else { continue };
            let value = if rule.is_rate { self.rate(&format!("{} {name}", rule.name), sum) } else { Some(sum) };
            let Some(value) = value else { continue };
            items.push(json!({
                "describedObject": {"kind": "Pod", "namespace": namespace, "name": name, "apiVersion": "/v1"},
                "metric": {"name": rule.name}, "timestamp": now(), "value": format!("{}m", (value * 1000.0) as u64),
            }));
        }
        Ok(
            json!({"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": items}),
        )
    }

    /// The sum of a series on the page of a Pod; `None` where the page cannot be read.
    async fn scrape(&self, address: &str, series: &str) -> Option<f64> {
        let (port, path) = self.page;
        let mut stream = TcpStream::connect((address, port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await.ok()?;
        page.starts_with("HTTP/1.1 200 ").then(|| sum(&page, series))
    }

    /// How much a count has grown in a second, over the last half a second or more; `None` when it is seen first.
    fn rate(&self, what: &str, count: f64) -> Option<f64> {
        let mut all = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some((at, before, rate)) = all.get(what).copied() else {
            all.insert(what.to_owned(), (now, count, f64::NAN));
            return None;
        };
        let seconds = now.duration_since(at).as_secs_f64();
        if seconds < 0.5 {
            return (!rate.is_nan()).then_some(rate);
        }
        let rate = ((count - before) / seconds).max(0.0);
        all.insert(what.to_owned(), (now, count, rate));
        Some(rate)
    }
}

fn resources(group_version: &str, kinds: &Value) -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": kinds})
}

/// The values of a series, whatever its labels, added up.
fn sum(page: &str, series: &str) -> f64 {
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(series)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.trim().parse().ok()
    };
    page.lines().filter_map(value).sum()
}

/// The CPU time that a process has used.
fn cpu_seconds(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have anything in it.
    let (_, fields) = stat.rsplit_once(") ").context("no name").ok()?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_added_up_over_its_labels() {
        let page = "# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3.5\na_total_more{x=\"1\"} 100\nb 7\n";
        assert_eq!((sum(page, "a_total"), sum(page, "b"), sum(page, "c")), (5.5, 7.0, 0.0));
    }

    #[test]
    fn the_cpu_time_of_a_process_is_known() {
        assert!(cpu_seconds("self").is_some_and(|seconds| seconds >= 0.0));
        assert_eq!(cpu_seconds("none"), None);
    }
}
