//! What the tests of every crate share: the real program as a child, echo backends, a client that sends the bytes it is
//! told to, cases, Istio's recorded answers, and the forms of malformed requests. Only test code uses it.

pub mod api_server;
pub mod backend;
pub mod cases;
pub mod client;
pub mod client_hello;
pub mod cluster;
pub mod debian;
pub mod envoy;
pub mod faulty_backend;
mod fetch;
pub mod gateway;
pub mod go;
pub mod http2;
mod kube_api;
pub mod kubelet;
pub mod load;
pub mod metrics_api;
pub mod name_server;
pub mod network;
mod not_run;
pub mod numbers;
pub mod oracle;
pub mod outcome;
pub mod ports;
pub mod proxy;
pub mod python;
pub mod secured;
pub mod seeded;
pub mod service_proxy;
pub mod wait;
pub mod writes;

pub use not_run::not_run;

/// Runs `work` on every item, on as many threads as there are cores; results in the order of the items.
pub fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    parallel_on(std::thread::available_parallelism().map_or(1, usize::from), items, work)
}

/// The same on so many threads, for work that waits more than it does.
pub fn parallel_on<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
