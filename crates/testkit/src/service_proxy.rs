//! What kube-proxy and the load balancer of a cloud do for Services: their addresses accept connections, and each goes to an endpoint that is ready.
//! A connection that was accepted stays where it is, and one to an endpoint that refuses it is closed: nothing is repaired here.

use crate::cluster::Cluster;
use crate::kube_api::{Api, Change, list, number, text};
use crate::network::{Family, Network};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::channel;
use tokio::task::JoinSet;

/// A running proxy for all Services of a cluster.
#[derive(Debug)]
pub struct ServiceProxy {
    /// Ends everything that runs in it.
    _runtime: Runtime,
}

/// An address of a Service.
struct Open {
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
    /// Owns the accepting task. Connections that were accepted outlive it.
    _accepting: JoinSet<()>,
}

/// Objects by namespace and name.
type Objects = BTreeMap<(String, String), Value>;

impl ServiceProxy {
    /// Starts one in the network of the cluster. `gives_addresses`: Services of type LoadBalancer are given one, as in a cloud; otherwise somebody
    /// else has to.
    pub fn start(network: &Network, cluster: &Cluster, gives_addresses: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let api = runtime.block_on(Api::new(&cluster.kubeconfig("admin")))?;
        runtime.spawn(run(api, gives_addresses.then_some(network.family)));
        Ok(Self { _runtime: runtime })
    }
}

async fn run(api: Api, gives: Option<Family>) {
    let mut tasks = JoinSet::new();
    let mut follow = |path: &str| {
        let (out, changes) = channel(16);
        tasks.spawn(api.clone().follow(path.to_owned(), out));
        changes
    };
    let mut of_services = follow("/api/v1/services");
    let mut of_slices = follow("/apis/discovery.k8s.io/v1/endpointslices");
    let (mut services, mut slices) = (Objects::new(), Objects::new());
    let mut open: BTreeMap<SocketAddr, Open> = BTreeMap::new();
    loop {
        tokio::select! {
            Some(change) = of_services.recv() => take(&mut services, change),
            Some(change) = of_slices.recv() => take(&mut slices, change),
            else => return,
        }
        if let Some(family) = gives {
            give_addresses(&api, &mut services, family).await;
        }
        let wanted = wanted(&services, &slices);
        open.retain(|address, _| wanted.contains_key(address));
        for (address, endpoints) in wanted {
            if let Some(open) = open.get(&address) {
                *open.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = endpoints;
            } else if let Ok(listener) = TcpListener::bind(address).await {
                let endpoints = Arc::new(Mutex::new(endpoints));
                let mut accepting = JoinSet::new();
                accepting.spawn(accept(listener, Arc::clone(&endpoints)));
                open.insert(address, Open { endpoints, _accepting: accepting });
            }
        }
    }
}

fn take(objects: &mut Objects, change: Change) {
    let key =
        |object: &Value| (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned());
    match change {
        Change::Listed(all) => *objects = all.into_iter().map(|object| (key(&object), object)).collect(),
        Change::Put(object) => drop(objects.insert(key(&object), object)),
        Change::Gone(object) => drop(objects.remove(&key(&object))),
    }
}

/// Gives every Service of type LoadBalancer an address, unless it has one.
async fn give_addresses(api: &Api, services: &mut Objects, family: Family) {
    let mut given: BTreeSet<IpAddr> = services.values().flat_map(balanced).collect();
    for ((namespace, name), service) in services.iter_mut() {
        if text(service, "/spec/type") != "LoadBalancer" || !balanced(service).is_empty() {
            continue;
        }
        let Some(address) = (10..=250).map(|number| family.balanced(number)).find(|address| !given.contains(address))
        else {
            continue;
        };
        given.insert(address);
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address.to_string()}]}}});
        let path = format!("/api/v1/namespaces/{namespace}/services/{name}/status");
        // The next event about the Service is the next attempt.
        if let Ok(with_address) = api.patch(&path, &status).await {
            *service = with_address;
        }
    }
}

/// The external addresses of a Service.
fn balanced(service: &Value) -> Vec<IpAddr> {
    list(service, "/status/loadBalancer/ingress").iter().filter_map(|one| text(one, "/ip").parse().ok()).collect()
}

/// The endpoints of each address of each Service.
fn wanted(services: &Objects, slices: &Objects) -> BTreeMap<SocketAddr, Vec<SocketAddr>> {
    let mut all = BTreeMap::new();
    for ((namespace, name), service) in services {
        // The API server itself listens there.
        if (namespace.as_str(), name.as_str()) == ("default", "kubernetes") {
            continue;
        }
        let mut addresses = balanced(service);
        addresses.extend(text(service, "/spec/clusterIP").parse::<IpAddr>());
        addresses
            .extend(list(service, "/spec/externalIPs").iter().filter_map(|one| one.as_str()?.parse::<IpAddr>().ok()));
        let own: Vec<&Value> = slices
            .iter()
            .filter(|((of, _), slice)| {
                of == namespace && text(slice, "/metadata/labels/kubernetes.io~1service-name") == name
            })
            .map(|(_, slice)| slice)
            .collect();
        for port in list(service, "/spec/ports").iter().filter(|port| text(port, "/protocol") == "TCP") {
            let endpoints = endpoints(&own, text(port, "/name"));
            let Ok(number) = u16::try_from(number(port, "/port", 0)) else { continue };
            all.extend(addresses.iter().map(|address| (SocketAddr::from((*address, number)), endpoints.clone())));
        }
    }
    all
}

/// Those that are ready; where there are none, those that still serve while they end, as kube-proxy has it.
fn endpoints(slices: &[&Value], port: &str) -> Vec<SocketAddr> {
    let (mut ready, mut ending) = (Vec::new(), Vec::new());
    for slice in slices {
        let named = list(slice, "/ports").iter().find(|one| text(one, "/name") == port);
        let Some(Ok(number)) = named.map(|one| u16::try_from(number(one, "/port", 0))) else { continue };
        for endpoint in list(slice, "/endpoints") {
            let addresses = list(endpoint, "/addresses").iter().filter_map(|one| one.as_str()?.parse::<IpAddr>().ok());
            let is = |condition: &str| {
                endpoint
                    .pointer(&format!("/conditions/{condition}"))
                    .and_then(Value::as_bool)
                    .unwrap_or(condition == "ready")
            };
            if is("ready") {
                ready.extend(addresses.map(|address| SocketAddr::from((address, number))));
            } else if is("serving") && is("terminating") {
                ending.extend(addresses.map(|address| SocketAddr::from((address, number))));
            }
        }
    }
    if ready.is_empty() { ending } else { ready }
}

async fn accept(listener: TcpListener, endpoints: Arc<Mutex<Vec<SocketAddr>>>) {
    let next = AtomicUsize::new(0);
    while let Ok((mut client, _)) = listener.accept().await {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let endpoint = {
            let all = endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            turn.checked_rem(all.len()).and_then(|at| all.get(at).copied())
        };
        let Some(endpoint) = endpoint else { continue };
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(endpoint).await {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_what_is_ready_or_else_to_what_still_serves() {
        let slice = |first: Value, second: Value| {
            json!({
                "ports": [{"name": "http", "port": 8080}],
                "endpoints": [
                    {"addresses": ["10.244.0.2"], "conditions": first},
                    {"addresses": ["10.244.0.3"], "conditions": second},
                ],
            })
        };
        let ready = json!({"ready": true, "serving": true, "terminating": false});
        let ending = json!({"ready": false, "serving": true, "terminating": true});
        let unready = json!({"ready": false, "serving": false, "terminating": false});
        let of = |first: &Value, second: &Value| {
            let hosts = endpoints(&[&slice(first.clone(), second.clone())], "http");
            hosts.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&ready, &ending), ["10.244.0.2:8080"]);
        assert_eq!(of(&ending, &unready), ["10.244.0.2:8080"]);
        assert_eq!(of(&ready, &json!({})), ["10.244.0.2:8080", "10.244.0.3:8080"]);
        assert!(of(&unready, &unready).is_empty());
    }
}
