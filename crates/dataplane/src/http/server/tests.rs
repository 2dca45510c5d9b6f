//! What an idle connection costs.

use super::*;
use crate::conn::{Addresses, Admission, ListenerState, Process, Services, TrustedProxies};
use crate::credentials::Credentials;
use crate::limits::Limits;
use crate::metrics::{self, WorkerMetrics};
use crate::reasons::ReasonHeader;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

#[test]
fn an_idle_connection_is_small() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let upstream = upstream::UpstreamStore::new(&upstream::Settings::default(), tokio::runtime::Handle::current());
        let metrics = Arc::new(WorkerMetrics::new(&Limits::default(), &metrics::ProcessGauges::default()));
        let limits = Limits::default();
        let process = Process {
            limits,
            credentials: Credentials::new(Arc::clone(&upstream)),
            upstream,
            reasons: ReasonHeader::Off,
            seed: None,
            log: None,
            decisions: None,
            drain: Arc::default(),
            admission: Admission::new(1, 1, 1),
            addresses: Addresses::new(limits.address, TrustedProxies::default(), 1),
        };
        let worker = Worker::new(0, process, metrics);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let id = ir::ListenerId { workload: ir::WorkloadName("ingress".into()), address };
        let listener = ListenerState::new(&id, Services::default());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = socket.accept().await.unwrap();
        let tracked = worker.tracker.track(worker.admit(None).await.unwrap(), None);
        let serving = crate::entry::serve(worker, listener, stream, remote, tracked);
        let size = std::mem::size_of_val(&serving);
        assert!(size <= 2048, "{size} bytes");
        drop(client);
    });
}
