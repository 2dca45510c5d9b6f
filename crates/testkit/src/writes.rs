//! Many changes of objects in a real API server, some at a time, as controllers and pipelines make them.

use crate::cluster::Cluster;
use crate::kube_api::{Api, is_missing, text};
use anyhow::{Context, Result};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// Requests under way at a time.
const AT_ONCE: usize = 8;

/// A change.
#[derive(Debug, Clone)]
pub enum Write {
    /// Creates or changes an object to what is given, in the name of a manager of fields.
    Apply(Value, &'static str),
    /// Deletes an object if it is there; of it only kind, namespace and name are read.
    Delete(Value),
}

/// Makes changes as the administrator, in no order; fails with the first that fails.
pub fn all(cluster: &Cluster, writes: Vec<Write>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let api = Api::new(&cluster.kubeconfig("admin")).await?;
        let (writes, next) = (Arc::new(writes), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (api, writes, next) = (api.clone(), Arc::clone(&writes), Arc::clone(&next));
            tasks.spawn(async move {
                while let Some(one) = writes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    write(&api, one).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn write(api: &Api, one: &Write) -> Result<()> {
    match one {
        Write::Apply(object, manager) => {
            let path = path(object)?;
            api.apply(&path, object, manager).await.with_context(|| format!("apply {path}"))
        }
        Write::Delete(object) => {
            let path = path(object)?;
            match api.delete(&path, &serde_json::json!({"apiVersion": "v1", "kind": "DeleteOptions"})).await {
                Err(error) if !is_missing(&error) => Err(error.context(format!("delete {path}"))),
                _ => Ok(()),
            }
        }
    }
}

/// The path of an object of a kind that the gateway reads, too.
fn path(object: &Value) -> Result<String> {
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let plural = resources::api::ApiResource::named(group, kind)
        .with_context(|| format!("the kind {kind} is not known"))?
        .plural;
    let root = if group.is_empty() { "/api" } else { "/apis" };
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    Ok(format!("{root}/{version}/namespaces/{namespace}/{plural}/{name}"))
}
