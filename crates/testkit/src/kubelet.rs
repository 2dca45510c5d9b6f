//! A node that runs Pods as processes: it takes every Pod of the cluster, gives it an address and a root of its own, starts its containers with
//! their arguments, variables, volumes and users, asks their probes, and reports and ends them as a kubelet does. It has no images: each is
//! a program of the machine. A Pod that asks for more than it can do is refused, with the reason in its status.

mod container;
mod environment;
mod node;
mod pod;
mod probe;
mod volumes;

use crate::cluster::Cluster;
use crate::kube_api::{self, Api, Change, now, number, text};
use crate::network::Network;
use anyhow::{Context, Result};
use node::{Ending, Node};
use pod::Pod;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::channel;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use node::{Images, NODE};

/// A running node. Its Pods end with it at once.
#[derive(Debug)]
pub struct Kubelet {
    /// Ends everything that runs in it, processes among it.
    _runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Kubelet {
    /// Adds a node to a cluster; from then on Pods run.
    pub fn start(network: &Network, cluster: &Cluster, images: Images) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let api = Api::new(&cluster.kubeconfig("admin")).await?;
            register(&api, network.family.machine()).await.context("the node cannot be registered")?;
            let (images, network, folder) = (images, network.clone(), folder.path().to_owned());
            tokio::spawn(run(Arc::new(Node { api, images, network, folder })));
            anyhow::Ok(())
        })?;
        Ok(Self { _runtime: runtime, folder })
    }

    /// What the containers of Pods whose name begins so have printed, of Pods that have ended, too.
    pub fn logs(&self, beginning: &str) -> String {
        let pods = std::fs::read_dir(self.folder.path()).into_iter().flatten().filter_map(Result::ok);
        let pods = pods.filter(|pod| pod.file_name().to_string_lossy().starts_with(beginning));
        let files = pods.filter_map(|pod| std::fs::read_dir(pod.path()).ok()).flatten().filter_map(Result::ok);
        let logs = files.map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "log"));
        logs.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
    }
}

async fn register(api: &Api, address: IpAddr) -> Result<()> {
    let capacity = json!({"cpu": "64", "memory": "64Gi", "pods": "200"});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": NODE, "labels": {"kubernetes.io/hostname": NODE, "topology.kubernetes.io/zone": "zone", "topology.kubernetes.io/region": "region"},
    }});
    api.post("/api/v1/nodes", &node).await?;
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()});
    let status = json!({"status": {
        "capacity": capacity, "allocatable": capacity, "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": address.to_string()}, {"type": "Hostname", "address": NODE}],
    }});
    api.patch(&format!("/api/v1/nodes/{NODE}/status"), &status).await.map(|_| ())
}

/// Follows Pods, and runs each in a task of its own.
async fn run(node: Arc<Node>) {
    let (out, mut changes) = channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(node.api.clone().follow("/api/v1/pods".to_owned(), out));
    // Those that were started, by their uid, with what tells them to end.
    let mut pods: HashMap<String, watch::Sender<Ending>> = HashMap::new();
    while let Some(change) = changes.recv().await {
        match change {
            Change::Listed(all) => {
                let uids: HashSet<&str> = all.iter().map(|pod| text(pod, "/metadata/uid")).collect();
                for (_, ending) in pods.extract_if(|uid, _| !uids.contains(&**uid)) {
                    ending.send_replace(Ending::AtOnce);
                }
                all.into_iter().for_each(|pod| put(&node, pod, &mut pods, &mut tasks));
            }
            Change::Put(pod) => put(&node, pod, &mut pods, &mut tasks),
            Change::Gone(pod) => {
                if let Some(ending) = pods.remove(text(&pod, "/metadata/uid")) {
                    ending.send_replace(Ending::AtOnce);
                }
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

fn put(node: &Arc<Node>, pod: Value, pods: &mut HashMap<String, watch::Sender<Ending>>, tasks: &mut JoinSet<()>) {
    let uid = text(&pod, "/metadata/uid").to_owned();
    let node = Arc::clone(node);
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        match pods.get(&uid) {
            Some(ending) => {
                let within = Ending::Within(number(&pod, "/metadata/deletionGracePeriodSeconds", 0));
                // Its own status is a change, too.
                ending.send_if_modified(|now| std::mem::replace(now, within) != within);
            }
            // It never ran here.
            None => {
                tasks.spawn(async move { pod::forget(&node.api, &pod).await });
            }
        }
        return;
    }
    if text(&pod, "/spec/nodeName").is_empty() {
        tasks.spawn(async move { bind(&node.api, &pod).await });
        return;
    }
    let has_ended = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed");
    if has_ended || pods.contains_key(&uid) {
        return;
    }
    let (ending, ends) = watch::channel(Ending::No);
    pods.insert(uid, ending);
    tasks.spawn(Pod::new(node, pod).run(ends));
}

/// What a scheduler does where there is one node.
async fn bind(api: &Api, pod: &Value) {
    let name = text(pod, "/metadata/name");
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    });
    // It fails for a Pod that is bound, which is what a second event about it leads to.
    let _ = api.post(&format!("{}/binding", kube_api::pod(pod)), &binding).await;
}
