//! What an idle connection costs.

use super::*;
use crate::limits::Limits;
use crate::metrics::WorkerMetrics;

#[test]
fn an_idle_connection_is_small() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let upstream = upstream::Upstream::new(&upstream::Settings::default(), tokio::runtime::Handle::current());
        let metrics = Arc::new(WorkerMetrics::new(&Limits::default()));
        let worker = Worker::new(Limits::default(), upstream, metrics, None, Arc::default());
        let listener = ir::Listener {
            id: ir::ListenerId {
                workload: ir::WorkloadName("ingress".into()),
                address: SocketAddr::from(([127, 0, 0, 1], 0)),
            },
            servers: Vec::new(),
            server_port: 80,
            kind: ir::ListenerKind::Http(ir::HttpListener {
                hosts: ir::Map::default(),
                path_normalization: ir::PathNormalization::Base,
                forwarded: ir::ForwardedHeaders { trusted_proxies: 0 },
            }),
        };
        let listener = ListenerState::new(&listener, &mut |_| 0);
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = socket.accept().await.unwrap();
        let serving = serve(&worker, &listener, stream, remote);
        let size = std::mem::size_of_val(&serving);
        assert!(size <= 2048, "{size} bytes");
        drop(client);
    });
}
