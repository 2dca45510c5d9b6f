//! How the API server is reached: by the account of the Pod, or by a kubeconfig. Quarantines `kube`'s configuration.

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// A connection on which nothing arrives for so long is made anew. Bookmarks arrive about every minute.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request as `kube` makes it.
pub(super) type Request = http::Request<Vec<u8>>;

/// Which API server, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// A kubeconfig; without it that of `$KUBECONFIG`, the account of the Pod, or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig in place of the current one.
    pub context: Option<String>,
}

/// The API server cannot be asked: there are no credentials, or they cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("no access to a cluster: {0}")]
pub struct AccessError(String);

/// A client, and the server that it asks.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: kube::Client,
    pub(super) url: String,
}

impl Cluster {
    /// The answer to a request about an object that is no secret: the client logs what it cannot read.
    pub(super) async fn send(&self, request: Result<Request, kube::core::request::Error>) -> kube::Result<Value> {
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }
}

impl Access {
    /// Reads the credentials. Nothing is asked of the server.
    pub(super) async fn connect(&self) -> Result<Cluster, AccessError> {
        let failed = |error: &dyn std::error::Error| AccessError(with_causes(error));
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
                Config::from_custom_kubeconfig(file, &self.options()).await.map_err(|error| failed(&error))?
            }
            None if self.context.is_some() || std::env::var_os("KUBECONFIG").is_some() => {
                Config::from_kubeconfig(&self.options()).await.map_err(|error| failed(&error))?
            }
            // A Pod has an account; a kubeconfig that somebody put into its image is not meant.
            None => match Config::incluster() {
                Ok(config) => config,
                Err(in_cluster) => Config::from_kubeconfig(&self.options())
                    .await
                    .map_err(|error| AccessError(format!("{}; {}", with_causes(&error), with_causes(&in_cluster))))?,
            },
        };
        (config.read_timeout, config.connect_timeout) = (Some(READ_TIMEOUT), Some(CONNECT_TIMEOUT));
        // Failures are reported, and repeated by `follow`.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let client = kube::Client::try_from(config).map_err(|error| failed(&error))?;
        Ok(Cluster { client, url: url.trim_end_matches('/').to_owned() })
    }

    fn options(&self) -> KubeConfigOptions {
        KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() }
    }
}

/// An error with what caused it.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
