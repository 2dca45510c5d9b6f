//! Requests that flow while something else happens: some clients keep their connections, and some have one for each request. What fails is kept.

mod client;
mod http1;
mod http2;

use client::{Client, PAUSE};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

pub use http2::OpenStream;

/// Running clients; they end when dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    hosts: Vec<String>,
    versions: Option<Arc<Versions>>,
    is_over: AtomicBool,
    answered: AtomicU64,
    begun: Instant,
}

/// The versions that hosts may answer with at the moment, in the header line `x-version`. Whoever changes a host says so before.
#[derive(Debug, Default)]
pub struct Versions(Mutex<BTreeMap<String, BTreeSet<String>>>);

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// Requests that were answered as they have to be.
    pub answered: u64,
    /// What went wrong, with the time since the load's beginning.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts four clients of HTTP/1.1, two of each kind, that ask for `/` of each host in turn; every answer has to be a 200.
    pub fn start(address: SocketAddr, hosts: &[&str]) -> Self {
        Self::spawn(address, hosts, None, |address, keeps| Box::new(http1::Http1::new(address, keeps)))
    }

    /// The same, where each answer has to be of a version that the host may have from the request's beginning to the answer's end.
    pub fn start_of_versions(address: SocketAddr, hosts: &[&str], versions: &Arc<Versions>) -> Self {
        let versions = Some(Arc::clone(versions));
        Self::spawn(address, hosts, versions, |address, keeps| Box::new(http1::Http1::new(address, keeps)))
    }

    /// The same by HTTP/2 over TLS, for one host. A request that the server has not processed, as GOAWAY and `REFUSED_STREAM` say, is sent again.
    pub fn start_http2(address: SocketAddr, host: &str) -> Self {
        Self::spawn(address, &[host], None, |address, keeps| Box::new(http2::Http2::new(address, keeps)))
    }

    fn spawn(
        address: SocketAddr,
        hosts: &[&str],
        versions: Option<Arc<Versions>>,
        client: fn(SocketAddr, bool) -> Box<dyn Client>,
    ) -> Self {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (is_over, answered, begun) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
        let shared = Arc::new(Shared { address, hosts, versions, is_over, answered, begun });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let keeps = number.is_multiple_of(2);
                shared.run(number, keeps, &mut *client(shared.address, keeps))
            })
        };
        let clients = (0..4).map(start).collect();
        Self { shared, clients }
    }

    /// The requests that were answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends it once the requests under way are answered.
    pub fn end(mut self) -> Outcome {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in std::mem::take(&mut self.clients) {
            failures.extend(client.join().unwrap_or_else(|_| vec!["a client has panicked".to_owned()]));
        }
        Outcome { answered: self.answered(), failures }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn run(&self, number: usize, keeps: bool, client: &mut dyn Client) -> Vec<String> {
        let mut failures = Vec::new();
        for host in self.hosts.iter().cycle().skip(number) {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            match self.ask(host, client) {
                Ok(()) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let kind = if keeps { " (kept connection)" } else { "" };
                    failures.push(format!("after {:?}: {host}: {error}{kind}", self.begun.elapsed()));
                }
            }
            std::thread::park_timeout(PAUSE);
        }
        failures
    }

    fn ask(&self, host: &str, client: &mut dyn Client) -> Result<(), String> {
        let Some(versions) = &self.versions else { return client.ask(host).map(drop) };
        // Those that came meanwhile are right, too.
        let mut right = versions.of(host);
        let version = client.ask(host)?.unwrap_or_default();
        right.extend(versions.of(host));
        if right.contains(&version) { Ok(()) } else { Err(format!("version {version:?}, not one of {right:?}")) }
    }
}

impl Versions {
    /// From now on a host may have a version besides those that it may have already.
    pub fn add(&self, host: &str, version: &str) {
        self.all().entry(host.to_owned()).or_default().insert(version.to_owned());
    }

    /// From now on a host has only this version.
    pub fn settle(&self, host: &str, version: &str) {
        self.all().insert(host.to_owned(), BTreeSet::from([version.to_owned()]));
    }

    fn of(&self, host: &str) -> BTreeSet<String> {
        self.all().get(host).cloned().unwrap_or_default()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with what it is given, and does something before.
    struct Answers<F>(F);

    impl<F: FnMut() -> Result<Option<String>, String>> Client for Answers<F> {
        fn ask(&mut self, _: &str) -> Result<Option<String>, String> {
            (self.0)()
        }
    }

    #[test]
    fn an_answer_is_of_a_version_from_before_or_during_its_request() {
        let versions = Arc::new(Versions::default());
        let shared = Shared {
            address: ([127, 0, 0, 1], 0).into(),
            hosts: vec![],
            versions: Some(Arc::clone(&versions)),
            is_over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            begun: Instant::now(),
        };
        let ask = |version: &str, meanwhile: &dyn Fn()| {
            let answer = || {
                meanwhile();
                Ok(Some(version.to_owned()))
            };
            shared.ask("a.test", &mut Answers(answer)).is_ok()
        };
        versions.add("a.test", "1");
        assert!(ask("1", &|| {}) && !ask("2", &|| {}));
        // The request begins with the first version, and ends with the second.
        let change = || {
            versions.add("a.test", "2");
            versions.settle("a.test", "2");
        };
        assert!(ask("1", &change));
        assert!(!ask("1", &|| {}) && ask("2", &|| {}));
        assert!(shared.ask("a.test", &mut Answers(|| Ok(None))).is_err(), "no version is none of them");
        assert!(shared.ask("a.test", &mut Answers(|| Err("HTTP/1.1 503".to_owned()))).is_err());
    }
}
