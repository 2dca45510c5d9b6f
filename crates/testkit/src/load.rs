//! Requests that flow while something else happens: some clients keep their connections, and some have one for each request. What fails is kept.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A pause of each client between its requests: the load is to be steady, not heavy.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest wait for an answer; reached only if something is broken.
const LONGEST: Duration = Duration::from_secs(20);

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
    is_over: AtomicBool,
    answered: AtomicU64,
    begun: Instant,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// Requests that were answered with 200.
    pub answered: u64,
    /// What went wrong, with the time since the load's beginning.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts four clients, two of each kind, that ask for `/` of each host in turn; every answer has to be a 200.
    pub fn start(address: SocketAddr, hosts: &[&str]) -> Self {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (is_over, answered, begun) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
        let shared = Arc::new(Shared { address, hosts, is_over, answered, begun });
        let client = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.run(number))
        };
        let clients = (0..4).map(client).collect();
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
    fn run(&self, number: usize) -> Vec<String> {
        let keeps = number.is_multiple_of(2);
        let mut failures = Vec::new();
        let mut kept = None;
        for host in self.hosts.iter().cycle().skip(number) {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            match ask(self.address, host, keeps, &mut kept) {
                Ok(()) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let mut failure = format!("after {:?}: {host}: {error}", self.begun.elapsed());
                    let _ = write!(failure, "{}", if keeps { " (kept connection)" } else { "" });
                    failures.push(failure);
                    kept = None;
                }
            }
            std::thread::park_timeout(PAUSE);
        }
        failures
    }
}

/// One request; `kept` is the connection of the one before, and that for the next.
fn ask(address: SocketAddr, host: &str, keeps: bool, kept: &mut Option<BufReader<TcpStream>>) -> std::io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect_timeout(&address, LONGEST)?;
            stream.set_read_timeout(Some(LONGEST))?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    let connection = if keeps { "keep-alive" } else { "close" };
    stream
        .get_mut()
        .write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: {connection}\r\n\r\n").as_bytes())?;
    let failed = |text: String| std::io::Error::other(text);
    let mut status = String::new();
    if stream.read_line(&mut status)? == 0 {
        return Err(failed("the connection was closed without an answer".to_owned()));
    }
    let (mut length, mut is_last) = (0, !keeps);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(failed("the head of the answer has no end".to_owned()));
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(std::io::Error::other)?,
            Some(("connection", "close")) => is_last = true,
            Some(("transfer-encoding", _)) => return Err(failed("the answer has chunks".to_owned())),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    if !status.starts_with("HTTP/1.1 200 ") {
        let body = String::from_utf8_lossy(&body);
        return Err(failed(format!("{} {body}", status.trim_end())));
    }
    if !is_last {
        *kept = Some(stream);
    }
    Ok(())
}
