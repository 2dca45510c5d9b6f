//! A forward proxy: it answers CONNECT by a connection to the port that was asked for, on this machine, whatever the host; other requests
//! and the host `refused.test` it refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(|stream| stream.ok().filter(|_| !flag.load(Ordering::Relaxed)))
            {
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { address, ended })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the accepting thread so that it sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut client = BufReader::new(stream);
    let mut first = String::new();
    client.read_line(&mut first).ok()?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if client.read_line(&mut line).ok()? == 0 {
            return None;
        }
    }
    let asked = first.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1\r\n"));
    let refused = match asked.and_then(|asked| asked.rsplit_once(':')) {
        None => "405 Method Not Allowed",
        Some(("refused.test", _)) => "403 Forbidden",
        Some((_, port)) => match TcpStream::connect(("127.0.0.1", port.parse().ok()?)) {
            Ok(backend) => return pass(client, backend),
            Err(_) => "502 Bad Gateway",
        },
    };
    let answer = format!("HTTP/1.1 {refused}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    client.get_mut().write_all(answer.as_bytes()).ok()
}

/// Passes bytes on both ways until both sides are done.
fn pass(mut client: BufReader<TcpStream>, backend: TcpStream) -> Option<()> {
    client.get_mut().write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let (to_client, from_backend) = (client.get_ref().try_clone().ok()?, backend.try_clone().ok()?);
    let back = std::thread::spawn(move || copy(from_backend, to_client));
    copy(client, backend);
    back.join().ok()
}

fn copy(mut from: impl Read, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
