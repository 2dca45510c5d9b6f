//! What the parts of a test's cluster ask the API server: single requests, and kinds that are followed. The gateway has a follower of its own
//! (`sources::kubernetes`), which is not trusted here to test itself.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use http::Request;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use serde_json::Value;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How soon what failed is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// A client of an API server.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
}

/// What becomes of the objects of a kind.
#[derive(Debug)]
pub(crate) enum Change {
    /// All that there are.
    Listed(Vec<Value>),
    Put(Value),
    Gone(Value),
}

impl Api {
    /// By the rights of a kubeconfig.
    pub(crate) async fn new(kubeconfig: &Path) -> Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(Self { client: kube::Client::try_from(config)? })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.request(Request::get(path), None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.request(Request::post(path).header("content-type", "application/json"), Some(body)).await
    }

    /// Merges a patch into an object; conditions by their types.
    pub(crate) async fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        let request = Request::patch(path).header("content-type", "application/strategic-merge-patch+json");
        self.request(request, Some(patch)).await
    }

    /// Applies an object as a manager of fields, whoever else has set them.
    pub(crate) async fn apply(&self, path: &str, object: &Value, manager: &str) -> Result<()> {
        let request = Request::patch(format!("{path}?fieldManager={manager}&force=true"));
        self.request(request.header("content-type", "application/apply-patch+yaml"), Some(object)).await.map(|_| ())
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<Value> {
        self.request(Request::delete(path).header("content-type", "application/json"), Some(options)).await
    }

    async fn request(&self, request: http::request::Builder, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        Ok(self.client.request(request.body(body.into_bytes())?).await?)
    }

    /// Follows a kind until nobody listens.
    pub(crate) async fn follow(self, path: String, out: Sender<Change>) {
        while !out.is_closed() {
            // The API server may be down, as some tests have it.
            if self.follow_once(&path, &out).await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn follow_once(&self, path: &str, out: &Sender<Change>) -> Result<()> {
        let mut list = self.get(path).await?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).context("no version")?;
        let target = format!("{path}?watch=true&resourceVersion={version}");
        let items = list.get_mut("items").map(Value::take);
        let items = items.and_then(|items| if let Value::Array(items) = items { Some(items) } else { None });
        out.send(Change::Listed(items.unwrap_or_default())).await?;
        let events = self.client.request_events::<Value>(Request::get(target).body(Vec::new())?).await?;
        let mut events = pin!(events);
        while let Some(event) = events.try_next().await? {
            let change = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => Change::Put(object),
                WatchEvent::Deleted(object) => Change::Gone(object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
            };
            out.send(change).await?;
        }
        Ok(())
    }
}

/// Whether the API server says that something is not there.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 404)
}

/// The text at a path, or an empty one.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The elements at a path, or none.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The number at a path.
pub(crate) fn number(value: &Value, path: &str, otherwise: u64) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(otherwise)
}

/// The present time, as Kubernetes writes it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The path of a Pod.
pub(crate) fn pod(pod: &Value) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
}

/// Whether the API server has answered, and will answer so again.
pub(crate) fn is_refused(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429)
}
