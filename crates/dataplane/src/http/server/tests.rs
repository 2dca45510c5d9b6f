//! What an idle connection costs.

use super::*;
use crate::conn::{ListenerState, Services};
use crate::limits::Limits;
use crate::metrics::{Process, WorkerMetrics};
use crate::reasons::ReasonHeader;
use std::net::SocketAddr;
use tokio::net::TcpStream;

#[test]
fn an_idle_connection_is_small() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let upstream = upstream::Upstream::new(&upstream::Settings::default(), tokio::runtime::Handle::current());
        let metrics = Arc::new(WorkerMetrics::new(&Limits::default(), &Process::default()));
        let worker = Worker::new((Limits::default(), ReasonHeader::Off, None), upstream, metrics, None, Arc::default());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let id = ir::ListenerId { workload: ir::WorkloadName("ingress".into()), address };
        let listener = ListenerState::new(&id, Services::default());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, remote) = socket.accept().await.unwrap();
        let serving = crate::entry::serve(worker, listener, stream, remote);
        let size = std::mem::size_of_val(&serving);
        assert!(size <= 2048, "{size} bytes");
        drop(client);
    });
}
