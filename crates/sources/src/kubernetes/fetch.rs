//! One request for what something has begun to refer to, repeated until it is answered.

use super::access::Cluster;
use super::follow::Pace;
use super::page::select;
use super::references::Reference;
use kube::core::params::ListParams;
use resources::api::ApiResource;
use resources::key::Kind;
use serde_json::Value;
use std::sync::Arc;
use tokio::time::sleep;

/// What was asked for, and what there is of it.
pub(super) struct Fetched {
    pub(super) wanted: Reference,
    pub(super) objects: Vec<Value>,
}

/// Asks by listing with a selector, so that no further right is needed than to list.
pub(super) async fn fetch(cluster: Cluster, wanted: Reference, namespace: Arc<str>, pace: Pace) -> Fetched {
    let by_name = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
    let (kind, namespace, params) = match &wanted {
        Reference::Slices(key) => {
            let params = ListParams::default().labels(&format!("kubernetes.io/service-name={}", key.name));
            (Kind::EndpointSlice, Arc::clone(&key.namespace), params)
        }
        Reference::Secret(name) => (Kind::Secret, namespace, by_name(name)),
        Reference::Pod(key) => (Kind::Pod, Arc::clone(&key.namespace), by_name(&key.name)),
        Reference::AllSlices | Reference::Pods | Reference::Nodes => return Fetched { wanted, objects: Vec::new() },
    };
    let Some(resource) = ApiResource::of(kind) else { return Fetched { wanted, objects: Vec::new() } };
    let mut wait = pace.first;
    loop {
        // The watch of the kind reports what is wrong.
        if let Ok(objects) = select(&cluster, resource, &namespace, &params).await {
            return Fetched { wanted, objects };
        }
        sleep(wait).await;
        wait = wait.saturating_mul(2).min(pace.longest);
    }
}
