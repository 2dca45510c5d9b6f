//! Backends that misbehave, and count how often each request came to them, by its `x-id`.

use crate::backend::{Seen, read};
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a slow one takes: longer than most of the times that routes have.
const SLOW: Duration = Duration::from_millis(1200);

/// What a backend does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Status(u16),
    /// It closes without an answer.
    Close,
    Slow,
    /// It sends half a body and closes.
    Half,
}

/// The fault of a number, and whether it is the first request alone that meets it. Nobody listens at 9024.
fn fault(number: u16) -> Option<(Fault, bool)> {
    Some(match number {
        9021 => (Fault::Status(503), false),
        9022 => (Fault::Close, false),
        9023 => (Fault::Slow, false),
        9025 => (Fault::Status(500), false),
        9026 => (Fault::Status(503), true),
        9027 => (Fault::Close, true),
        9028 => (Fault::Status(409), false),
        9029 => (Fault::Slow, true),
        9030 => (Fault::Half, false),
        _ => return None,
    })
}

/// How often requests came, by their `x-id` and the number of the backend.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Arc<Mutex<BTreeMap<String, BTreeMap<u16, u32>>>>);

impl Attempts {
    /// One more; how many there were before.
    fn count(&self, seen: &Seen) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(seen.header("x-id").unwrap_or_default()).or_default().entry(seen.backend).or_default();
        *count += 1;
        *count - 1
    }

    /// Those of one request.
    pub fn of(&self, id: &str) -> BTreeMap<u16, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned().unwrap_or_default()
    }
}

/// A running backend; it ends when dropped.
#[derive(Debug)]
pub struct FaultyBackend {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl FaultyBackend {
    /// Starts the one of a number, if that misbehaves; it counts in `attempts`.
    pub fn start(number: u16, attempts: &Attempts) -> std::io::Result<Option<Self>> {
        let Some((fault, once)) = fault(number) else { return Ok(None) };
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, attempts) = (Arc::clone(&ended), attempts.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(|stream| stream.ok().filter(|_| !flag.load(Ordering::Relaxed)))
            {
                let attempts = attempts.clone();
                std::thread::spawn(move || serve(stream, number, fault, once, &attempts));
            }
        });
        Ok(Some(Self { address, ended }))
    }
}

impl Drop for FaultyBackend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the accepting thread so that it sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn serve(stream: TcpStream, number: u16, fault: Fault, once: bool, attempts: &Attempts) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read(&mut reader, number) {
        let before = attempts.count(&seen);
        let fault = if once && before > 0 { Fault::Status(200) } else { fault };
        let status = match fault {
            Fault::Close => return,
            Fault::Half => {
                let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nx-from-backend: yes\r\n\r\nhalf";
                let _ = reader.get_mut().write_all(half);
                return;
            }
            Fault::Slow => {
                std::thread::sleep(SLOW);
                200
            }
            Fault::Status(status) => status,
        };
        let body = if seen.method == "HEAD" { "" } else { "ok" };
        let answer = format!(
            "HTTP/1.1 {status} X\r\nx-from-backend: yes\r\nx-port: {number}\r\ncontent-length: 2\r\n\r\n{body}"
        );
        if reader.get_mut().write_all(answer.as_bytes()).is_err()
            || seen.header("connection").as_deref() == Some("close")
        {
            return;
        }
    }
}
