//! A client of HTTP/1.1, which keeps its connection or opens one for each request.

use super::client::{Client, LONGEST};
use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(super) struct Http1 {
    address: SocketAddr,
    keeps: bool,
    /// The connection of the last request, if it is kept.
    kept: Option<BufReader<TcpStream>>,
}

impl Http1 {
    pub(super) fn new(address: SocketAddr, keeps: bool) -> Self {
        Self { address, keeps, kept: None }
    }

    fn exchange(&mut self, host: &str) -> std::io::Result<Option<String>> {
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, LONGEST)?;
                stream.set_read_timeout(Some(LONGEST))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let connection = if self.keeps { "keep-alive" } else { "close" };
        stream
            .get_mut()
            .write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: {connection}\r\n\r\n").as_bytes())?;
        let mut status = String::new();
        if stream.read_line(&mut status)? == 0 {
            return Err(Error::other("the connection was closed without an answer"));
        }
        let (mut length, mut is_last, mut version) = (0, !self.keeps, None);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(Error::other("the head of the answer has no end"));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().map_err(Error::other)?,
                Some(("connection", "close")) => is_last = true,
                Some(("transfer-encoding", _)) => return Err(Error::other("the answer has chunks")),
                Some(("x-version", value)) => version = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if !status.starts_with("HTTP/1.1 200 ") {
            let body = String::from_utf8_lossy(&body);
            return Err(Error::other(format!("{} {body}", status.trim_end())));
        }
        if !is_last {
            self.kept = Some(stream);
        }
        Ok(version)
    }
}

impl Client for Http1 {
    fn ask(&mut self, host: &str) -> Result<Option<String>, String> {
        self.exchange(host).map_err(|error| error.to_string())
    }
}
