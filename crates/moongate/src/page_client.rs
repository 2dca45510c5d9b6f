//! One question to the admin pages of a running gateway, for commands. Not a client of HTTP for anything else: the pages are ours, and
//! HTTP/1.0 has no framing to get wrong.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const MAX_ANSWER: u64 = 1 << 30;

/// The body of a page.
pub(crate) fn get(address: SocketAddr, target: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let end =
        answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no end of its head")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) != Some("200") {
        bail!("it answered `{line}`: {}", String::from_utf8_lossy(&body).trim());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if let Some((_, length)) = length
        && length.trim().parse() != Ok(body.len())
    {
        bail!("the answer is incomplete");
    }
    Ok(body)
}
