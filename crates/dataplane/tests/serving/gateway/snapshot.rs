//! The snapshot of a [`Setup`].

use super::setup::Setup;
use ir::{
    ClusterId, HttpSettings, HttpTable, Listener, ListenerId, ObjectKind, Origin, Service, Snapshot, TableId,
    Termination, TlsServer, WorkloadName,
};
use std::net::SocketAddr;
use std::sync::Arc;

impl Setup {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let http = HttpTable {
            hosts: self.hosts.iter().map(|host| (host.pattern.clone(), Arc::new(host.clone()))).collect(),
            settings: HttpSettings {
                escaped_slashes: self.escaped_slashes,
                path_normalization: self.path_normalization,
                grpc_web: self.grpc_web,
                forward: self.forward.is_some(),
                ..HttpSettings::default()
            },
            forward: self.forward.clone(),
        };
        let tables = |address: &SocketAddr| {
            let listener = listener_id(*address);
            let servers = (0..self.tls.len()).map(|at| Some(at.to_string().into())).chain([None]);
            let table = |server| (TableId { listener: listener.clone(), server }, Arc::new(http.clone()));
            servers.map(table).collect::<Vec<_>>()
        };
        let listener = |address: &SocketAddr| {
            let id = listener_id(*address);
            let http = Service::Http(TableId { listener: id.clone(), server: None });
            let plain = self.tcp.clone().or((self.tls.is_empty() || self.plain).then_some(http));
            let tls = self.servers(&id);
            let servers = vec![origin(ObjectKind::Gateway)];
            (
                id.clone(),
                Arc::new(Listener {
                    id,
                    servers,
                    server_port: 80,
                    policy_port: 80,
                    original_destination: None,
                    plain,
                    tls,
                    mesh_settings: Arc::clone(&self.mesh_settings),
                    policies: self.policies.clone(),
                }),
            )
        };
        Snapshot {
            listeners: self.listeners.iter().map(listener).collect(),
            tables: self.listeners.iter().flat_map(tables).collect(),
            clusters: self.clusters.iter().map(|one| (one.id.clone(), Arc::new(one.clone()))).collect(),
        }
    }

    fn servers(&self, id: &ListenerId) -> Vec<TlsServer> {
        let server = |(at, (names, termination, service)): (usize, &(_, Option<Termination>, Option<Service>))| {
            let table = TableId { listener: id.clone(), server: Some(at.to_string().into()) };
            TlsServer {
                mesh_only: false,
                origin: Origin { rule: format!("servers[{at}]").into(), ..origin(ObjectKind::Gateway) },
                names: Vec::clone(names),
                termination: termination.clone().map(Arc::new),
                service: service.clone().unwrap_or(Service::Http(table)),
            }
        };
        self.tls.iter().enumerate().map(server).collect()
    }
}

pub(crate) fn listener_id(address: SocketAddr) -> ListenerId {
    ListenerId { workload: WorkloadName("ingress".into()), address }
}

pub(crate) fn id(name: &str) -> ClusterId {
    ClusterId::outbound(80, "", name)
}

pub(super) fn origin(kind: ObjectKind) -> Origin {
    Origin { kind, namespace: "default".into(), name: "one".into(), rule: "http[0]".into() }
}
