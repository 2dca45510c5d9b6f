//! A client that writes given bytes, and reads responses one by one.

use crate::gateway::TIMEOUT;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// A connection to the gateway.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Writes bytes. It is no error if the peer has closed the connection: its response can still be read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends a GET without a body.
    pub(crate) fn get(&mut self, target: &str) -> &mut Self {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
    }

    /// Sends a head and a body with its length.
    pub(crate) fn with_body(&mut self, method: &str, body: impl AsRef<[u8]>) -> &mut Self {
        let body = body.as_ref();
        self.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()));
        self.send(body)
    }

    /// Reads the next response to a request other than HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|error| panic!("no whole answer: {error}"))
    }

    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).unwrap_or_else(|error| panic!("no whole answer: {error}"))
    }

    /// Reads the next response, or returns what went wrong.
    pub(crate) fn try_answer(&mut self, to_head: bool) -> Result<Answer, String> {
        let head = self.until_blank_line()?;
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let first = lines.next().ok_or("no status line")?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("bad status line {first:?}"))?;
        let mut answer = Answer { status, headers: fields(lines)?, body: Vec::new(), trailers: Vec::new() };
        let bodiless = to_head || (100..200).contains(&status) || matches!(status, 204 | 304);
        if bodiless {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            self.chunks(&mut answer)?;
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| "bad length")?;
            answer.body = self.exactly(length)?;
        } else {
            answer.body = self.rest();
        }
        Ok(answer)
    }

    fn chunks(&mut self, answer: &mut Answer) -> Result<(), String> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("bad chunk size {line:?}"))?;
            if size == 0 {
                break;
            }
            answer.body.extend(self.exactly(size)?);
            assert_eq!(self.line()?, "");
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            trailers.push(line);
        }
        answer.trailers = fields(trailers.iter().map(String::as_str))?;
        Ok(())
    }

    /// Reads the head of a response.
    pub(crate) fn head(&mut self) -> String {
        self.until_blank_line().unwrap()
    }

    fn until_blank_line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return String::from_utf8(head).map_err(|_| "not text".to_owned());
            }
            self.more()?;
        }
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).map_err(|_| "not text".to_owned());
            }
            self.more()?;
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// The remaining bytes until the connection ends, by a close or a reset.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more().is_ok() {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the gateway closes the connection without sending more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn more(&mut self) -> Result<(), String> {
        let mut part = [0; 64 * 1024];
        match self.stream.read(&mut part) {
            Ok(0) => Err(format!("closed after {:?}", String::from_utf8_lossy(&self.buffer))),
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                Ok(())
            }
            Err(error) => {
                let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!late, "nothing came, and the connection stays open");
                Err(format!("{error} after {:?}", String::from_utf8_lossy(&self.buffer)))
            }
        }
    }

    /// Closes the sending direction.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        reset(&self.stream);
    }
}

/// Makes the close of a connection a reset.
pub(crate) fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>, String> {
    lines
        .map(|line| {
            let (name, value) = line.split_once(": ").ok_or_else(|| format!("bad header line {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect()
}
