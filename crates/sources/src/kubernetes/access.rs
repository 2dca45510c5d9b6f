//! How the API server is reached: by the account of the Pod, or by a kubeconfig. Quarantines `kube`'s configuration.

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt as _};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tower::{BoxError, ServiceBuilder};

/// A connection on which nothing arrives for so long is made anew. Bookmarks arrive about every minute.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most octets that a connection reads at once. Buffers stay as large as their largest reading, which that of a list is, and the watches
/// after it hold them for ever.
const READ_BUFFER: usize = 32 << 10;

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
        let url = config.cluster_url.to_string();
        let client = client(config).map_err(|error| failed(&error))?;
        Ok(Cluster { client, url: url.trim_end_matches('/').to_owned() })
    }

    fn options(&self) -> KubeConfigOptions {
        KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() }
    }
}

/// `kube`'s client with bounded buffers, and without its repetitions: failures are reported, and repeated by `follow`.
fn client(mut config: Config) -> kube::Result<kube::Client> {
    if config.proxy_url.is_some() {
        // Its errors say which proxies there may be.
        config.default_retry = false;
        return kube::Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .http1_max_buf_size(READ_BUFFER)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
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
