//! The Gateway that `--forward-proxy` stands for.

use crate::settings::Workload;
use resources::key::Key;
use resources::set::{Meta, Object};
use resources::spec::gateway::{Gateway, Port, Server};
use resources::spec::scalar::Text;
use std::net::SocketAddr;

/// The name of the Gateway; no object of Kubernetes can be called so.
const NAME: &str = "~forward-proxy";

/// A Gateway with one server for a forward proxy in clear text, for the egress gateway if this process is one.
pub(super) fn gateway(address: SocketAddr, workloads: &[Workload]) -> Option<Object<Gateway>> {
    let workload = workloads.iter().find(|workload| *workload.name.0 == *"egress").or(workloads.first())?;
    let port = Port {
        number: u32::from(address.port()),
        protocol: "HTTP_PROXY".into(),
        name: "http-proxy".into(),
        ..Port::default()
    };
    let server = Server {
        port: Some(port),
        bind: Text::from(&*address.ip().to_string()),
        hosts: vec![Text::from("*")],
        ..Server::default()
    };
    let spec = Gateway { selector: workload.labels.clone(), servers: vec![server] };
    let key = Key::new(workload.namespace.clone(), NAME);
    Some(Object { key, meta: Meta::default(), source: None, spec })
}
