//! The server of the pages for operators. It has a bounded number of connections, and a bounded time for each thing that a client may take
//! its time for; at the bound the connection that has been idle for longest is closed, so that a new probe is always answered.
//!
//! What the pages say is not here (see `admin`). The descriptors for these connections are reserved (see `descriptors`).

mod stream;

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stream::WriteTimeout;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// How long a connection lasts at the most; scrapers and browsers open another.
const AGE: Duration = Duration::from_secs(300);
/// What is read of a request; its head has to fit.
const HEAD: usize = 16 << 10;
/// How long nothing is accepted after an error of the system.
const PAUSE: Duration = Duration::from_millis(50);
/// How often such errors are logged.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Bounds of one port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorLimits {
    /// Connections at once; for a further one the one that has been idle for longest is closed.
    pub(crate) connections: usize,
    /// How long a client may take for the head of its next request, a page to be made, and a client to read some of it.
    pub(crate) timeout: Duration,
}

impl Default for OperatorLimits {
    fn default() -> Self {
        Self { connections: 64, timeout: Duration::from_secs(10) }
    }
}

/// Serves pages in one of `tasks`, until it is aborted; connections that there are then go on.
pub(crate) fn serve(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    pages: Router,
    limits: OperatorLimits,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tasks.spawn(accept(listener, pages, Open::new(limits)));
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, pages: Router, open: Arc<Open>) {
    let mut errors = Errors::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.make_room().await;
                open.begin(stream, &pages);
            }
            Err(error) => {
                errors.log(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Errors since the last line about them.
#[derive(Default)]
struct Errors {
    count: u64,
    logged: Option<Instant>,
}

impl Errors {
    fn log(&mut self, error: &io::Error) {
        self.count += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            tracing::warn!(%error, count = self.count, "connections to the pages for operators could not be accepted");
            (self.count, self.logged) = (0, Some(Instant::now()));
        }
    }
}

/// The connections of a port.
struct Open {
    limits: OperatorLimits,
    begun: Instant,
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Entry>>,
}

struct Entry {
    /// When it was accepted, or had a request or an answer last, in milliseconds.
    active: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Open {
    fn new(limits: OperatorLimits) -> Arc<Self> {
        Arc::new(Self { limits, begun: Instant::now(), next: AtomicU64::new(0), all: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Closes the connection that has been idle for longest while there are as many as there may be, and waits until it is closed: its descriptor
    /// is the one of the next connection.
    async fn make_room(&self) {
        while let Some(entry) = self.surplus() {
            entry.task.abort();
            let _ = entry.task.await;
        }
    }

    fn surplus(&self) -> Option<Entry> {
        let mut all = self.lock();
        if all.len() < self.limits.connections.max(1) {
            return None;
        }
        let oldest = all.iter().min_by_key(|(_, entry)| entry.active.load(Ordering::Relaxed));
        let number = oldest.map(|(number, _)| *number)?;
        all.remove(&number)
    }

    /// Serves a connection.
    fn begin(self: &Arc<Self>, stream: TcpStream, pages: &Router) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let active = Arc::new(AtomicU64::new(self.now()));
        let listed = Listed { open: Arc::clone(self), number };
        let serving = answer(stream, pages.clone(), Arc::clone(&active), listed);
        // Held until the entry is there: the task removes it when it ends.
        let mut all = self.lock();
        all.insert(number, Entry { active, task: tokio::spawn(serving) });
    }
}

/// The place of a connection in the list, for as long as its task lives.
struct Listed {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
    }
}

async fn answer(stream: TcpStream, pages: Router, active: Arc<AtomicU64>, listed: Listed) {
    let limit = listed.open.limits.timeout;
    let pages = TowerToHyperService::new(pages);
    let open = Arc::clone(&listed.open);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        active.store(open.now(), Ordering::Relaxed);
        let answering = timeout(limit, pages.call(request));
        let (active, open) = (Arc::clone(&active), Arc::clone(&open));
        async move {
            let answer = answering.await;
            active.store(open.now(), Ordering::Relaxed);
            answer.unwrap_or_else(|_| Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()))
        }
    });
    let mut builder = http1::Builder::new();
    // The time of a head begins with the connection or with the answer before, so that it bounds silent connections as well.
    builder.timer(TokioTimer::new()).header_read_timeout(limit).max_buf_size(HEAD);
    let serving = builder.serve_connection(TokioIo::new(WriteTimeout::new(stream, limit)), service);
    // Whatever ends it, there is nobody to report it to.
    let _ = timeout(AGE, serving).await;
    drop(listed);
}

#[cfg(test)]
mod tests;
