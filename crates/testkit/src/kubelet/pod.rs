//! A Pod from its start to its end, and its status.

use super::container::{self, Container, PodContext, State};
use super::node::{Ending, NODE, Node};
use super::volumes;
use crate::kube_api::{self, Api, list, now, text};
use crate::network::Host;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How soon what the API server did not take is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// A Pod that is to run.
pub(super) struct Pod {
    node: Arc<Node>,
    /// The object, as it was at the start.
    object: Value,
    folder: PathBuf,
    started: String,
    containers: Vec<Reported>,
    ready: (bool, String),
}

/// What is told of a container.
struct Reported {
    state: State,
    last: Option<State>,
    restarts: u32,
}

impl Pod {
    pub(super) fn new(node: Arc<Node>, object: Value) -> Self {
        let folder = format!("{}_{}", text(&object, "/metadata/name"), text(&object, "/metadata/uid"));
        let reported =
            |_: &Value| Reported { state: State::Waiting("ContainerCreating".to_owned()), last: None, restarts: 0 };
        Self {
            folder: node.folder.join(folder),
            containers: container::of(&object).iter().map(reported).collect(),
            node,
            object,
            started: now(),
            ready: (false, now()),
        }
    }

    /// Runs it until it has ended, and is gone from the API server if it was deleted.
    pub(super) async fn run(mut self, mut ending: watch::Receiver<Ending>) {
        let made = loop {
            let made = tokio::select! {
                made = self.make() => made,
                _ = ending.changed() => break None,
            };
            match made {
                Ok(made) => break Some(made),
                // What it refers to may come later.
                Err(error) => {
                    for container in &mut self.containers {
                        container.state = State::Waiting(format!("{error:#}"));
                    }
                    self.report(None).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                _ = ending.changed() => break None,
            }
        };
        if let Some((host, containers)) = made {
            self.run_containers(&host, containers, &ending).await;
        }
        if *ending.borrow() == Ending::No && ending.changed().await.is_err() {
            return;
        }
        if matches!(*ending.borrow(), Ending::Within(_)) {
            forget(&self.node.api, &self.object).await;
        }
    }

    async fn make(&self) -> Result<(Host, Vec<Container>)> {
        for field in ["initContainers", "hostNetwork"] {
            if self.object.pointer(&format!("/spec/{field}")).is_some() {
                bail!("{field} is not supported");
            }
        }
        // What a former attempt has made.
        let _ = std::fs::remove_dir_all(&self.folder);
        std::fs::create_dir_all(&self.folder)?;
        let network = self.node.network.clone();
        let host = tokio::task::spawn_blocking(move || network.host()).await?.context("no address")?;
        let api = &self.node.api;
        let volumes = volumes::make(api, &self.object, &self.folder, host.address).await?;
        let mut containers = Vec::new();
        for one in container::of(&self.object) {
            let context =
                PodContext { images: &self.node.images, volumes: &volumes, folder: &self.folder, host: &host };
            let container = Container::read(api, &self.object, one, &context).await;
            containers.push(container.with_context(|| format!("container {}", text(one, "/name")))?);
        }
        Ok((host, containers))
    }

    /// Until all have ended for good.
    async fn run_containers(&mut self, host: &Host, containers: Vec<Container>, ending: &watch::Receiver<Ending>) {
        let (out, mut states) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        for (at, container) in containers.into_iter().enumerate() {
            let (report, mut reported) = mpsc::channel(4);
            tasks.spawn(container.run(ending.clone(), report));
            let out = out.clone();
            tasks.spawn(async move {
                while let Some(state) = reported.recv().await {
                    let _ = out.send((at, state)).await;
                }
            });
        }
        drop(out);
        while let Some((at, state)) = states.recv().await {
            self.take(at, state);
            // Those that came meanwhile are part of the same status.
            while let Ok((at, state)) = states.try_recv() {
                self.take(at, state);
            }
            self.report(Some(host)).await;
        }
    }

    fn take(&mut self, at: usize, state: State) {
        let Some(container) = self.containers.get_mut(at) else { return };
        if let (State::Ended { .. }, State::Running { .. }) = (&container.state, &state) {
            container.restarts += 1;
            container.last = Some(container.state.clone());
        }
        container.state = state;
        let is_ready = self.containers.iter().all(|one| matches!(one.state, State::Running { is_ready: true, .. }));
        if is_ready != self.ready.0 {
            self.ready = (is_ready, now());
        }
    }

    /// Tells the API server. It is asked again until it takes it, or does not know the Pod any more.
    async fn report(&self, host: Option<&Host>) {
        let status = json!({"metadata": {"uid": text(&self.object, "/metadata/uid")}, "status": self.status(host)});
        let path = format!("{}/status", kube_api::pod(&self.object));
        while let Err(error) = self.node.api.patch(&path, &status).await {
            if kube_api::is_refused(&error) {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn status(&self, host: Option<&Host>) -> Value {
        let specs = list(&self.object, "/spec/containers");
        let containers = specs.iter().zip(&self.containers);
        let statuses: Vec<Value> = containers.map(|(spec, reported)| reported.status(spec)).collect();
        let condition = |kind: &str, is_true: bool, since: &str| json!({"type": kind, "status": if is_true { "True" } else { "False" }, "lastTransitionTime": since});
        let (is_ready, since) = &self.ready;
        let mut status = json!({
            "phase": self.phase(),
            "startTime": self.started,
            "hostIP": self.node.network.family.machine().to_string(),
            "conditions": [
                condition("Initialized", true, &self.started),
                condition("ContainersReady", *is_ready, since),
                condition("Ready", *is_ready, since),
            ],
            "containerStatuses": statuses,
        });
        if let Some(host) = host {
            let address = host.address.to_string();
            status["podIPs"] = json!([{"ip": address}]);
            status["podIP"] = address.into();
        }
        status
    }

    /// A Pod whose containers are to run again is still running.
    fn phase(&self) -> &'static str {
        let ended = |one: &Reported| if let State::Ended { code, .. } = one.state { Some(code) } else { None };
        let codes: Option<Vec<i32>> = self.containers.iter().map(ended).collect();
        let is_for_good = text(&self.object, "/spec/restartPolicy") != "Always";
        match codes {
            Some(codes) if is_for_good && codes.iter().all(|code| *code == 0) => "Succeeded",
            Some(_) if text(&self.object, "/spec/restartPolicy") == "Never" => "Failed",
            _ if self.containers.iter().all(|one| matches!(one.state, State::Waiting(_))) => "Pending",
            _ => "Running",
        }
    }
}

impl Reported {
    fn status(&self, spec: &Value) -> Value {
        let is_ready = matches!(self.state, State::Running { is_ready: true, .. });
        let mut status = json!({
            "name": text(spec, "/name"), "image": text(spec, "/image"), "imageID": text(spec, "/image"), "restartCount": self.restarts,
            "ready": is_ready, "started": matches!(self.state, State::Running { .. }),
            "state": state(&self.state), "lastState": self.last.as_ref().map_or_else(|| json!({}), state),
        });
        if let State::Running { pid, .. } = self.state {
            status["containerID"] = format!("{NODE}://{pid}").into();
        }
        status
    }
}

fn state(state: &State) -> Value {
    match state {
        State::Waiting(why) if why == "ContainerCreating" => json!({"waiting": {"reason": why}}),
        State::Waiting(why) => json!({"waiting": {"reason": "CreateContainerError", "message": why}}),
        State::Running { since, .. } => json!({"running": {"startedAt": since}}),
        State::Ended { code, since, until } => {
            let reason = if *code == 0 { "Completed" } else { "Error" };
            json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": since, "finishedAt": until}})
        }
    }
}

/// Takes a Pod that has ended from the API server.
pub(super) async fn forget(api: &Api, pod: &Value) {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": text(pod, "/metadata/uid")},
    });
    while let Err(error) = api.delete(&kube_api::pod(pod), &options).await {
        if kube_api::is_refused(&error) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
