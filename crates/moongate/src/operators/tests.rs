//! Clients that are silent, send half a head, keep their connection or do not read.

use super::*;
use axum::routing::get;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use testkit::wait::until;

const PROBE: &[u8] = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

struct Port {
    address: SocketAddr,
    connections: Arc<Open>,
    _tasks: JoinSet<()>,
    _runtime: tokio::runtime::Runtime,
}

impl Port {
    fn open(connections: usize, limit: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let inside = runtime.enter();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Router::new()
            .route("/ready", get(|| async { "ready" }))
            .route("/large", get(|| async { vec![0_u8; 32 << 20] }))
            .route("/never", get(std::future::pending::<()>));
        let mut tasks = JoinSet::new();
        let connections = Open::new(OperatorLimits { connections, timeout: limit });
        tasks.spawn(accept(listener, pages, Arc::clone(&connections)));
        drop(inside);
        Self { address, connections, _tasks: tasks, _runtime: runtime }
    }

    fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    fn probe(&self) {
        let mut stream = self.connect(PROBE);
        assert_eq!(answer_of(&mut stream), "ready");
    }
}

fn answer_of(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut part = [0; 1024];
    while !all.windows(9).any(|window| window == b"\r\n\r\nready") {
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&part[..count]);
    }
    "ready".to_owned()
}

/// Whether the server closes it without a further octet, in the time that tests wait.
fn ends(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1024]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn three_hundred_connections_of_any_kind_stop_no_probe() {
    for begun in [&b""[..], b"GET /ready HT", b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let port = Port::open(16, Duration::from_secs(600));
        let mut all: Vec<_> = (0..300).map(|_| port.connect(begun)).collect();
        for _ in 0..3 {
            port.probe();
        }
        // Those that came first have gone, those that came last are there.
        assert!(all[..280].iter_mut().all(ends));
    }
}

#[test]
fn one_that_is_kept_goes_before_one_that_was_used_later() {
    let port = Port::open(2, Duration::from_secs(600));
    let (mut one, mut other) = (port.connect(PROBE), port.connect(b""));
    answer_of(&mut one);
    until("both are accepted", || port.connections.all.lock().unwrap().len() == 2);
    // The order is that of the clock's milliseconds: wait for the next but one.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {
        std::thread::yield_now();
    }
    one.write_all(PROBE).unwrap();
    answer_of(&mut one);
    port.probe();
    assert!(ends(&mut other));
    one.write_all(PROBE).unwrap();
    answer_of(&mut one);
}

#[test]
fn what_is_silent_half_or_kept_ends_by_itself() {
    let port = Port::open(16, Duration::from_millis(200));
    let (mut silent, mut half, mut kept) = (port.connect(b""), port.connect(b"GET /rea"), port.connect(PROBE));
    answer_of(&mut kept);
    assert!(ends(&mut silent) && ends(&mut kept));
    // It may be told why.
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_client_that_does_not_read_is_disconnected_and_a_page_that_takes_too_long_is_503() {
    let port = Port::open(16, Duration::from_millis(200));
    let mut stuck = port.connect(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut late = port.connect(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut part = [0; 12];
    late.read_exact(&mut part).unwrap();
    assert_eq!(&part, b"HTTP/1.1 503");
    until("the server has closed both connections", || port.connections.lock().is_empty());
    let mut count = 0;
    let mut room = vec![0; 1 << 16];
    while let Ok(more @ 1..) = stuck.read(&mut room) {
        count += more;
    }
    assert!(count < 32 << 20, "{count}");
}
