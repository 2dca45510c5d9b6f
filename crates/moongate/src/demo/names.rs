//! The name server of the egress demo: every name has the address of this machine.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The longest message over UDP that is read (RFC 1035 §4.2.1).
const LONGEST: usize = 512;
const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];
/// Seconds that an answer holds.
const TTL: u8 = 60;

/// Starts the server as one of `tasks`, on the present runtime; where it listens.
pub(super) fn start(tasks: &mut JoinSet<()>) -> Result<SocketAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("the demo's name server cannot listen")?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    let address = socket.local_addr()?;
    tasks.spawn(async move {
        let mut buffer = [0; LONGEST];
        loop {
            // An error is of one client that has gone.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            if let Some(answer) = buffer.get(..length).and_then(answer) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok(address)
}

/// The response to a query with one question (RFC 1035 §4.1): 127.0.0.1 for type A, no records for others.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut at = HEADER;
    loop {
        match usize::from(*query.get(at)?) {
            0 => break,
            length => at += length + 1,
        }
    }
    let kind = query.get(at + 1..at + 3)?;
    let mut answer = query.get(..at + 5)?.to_vec();
    let count = u8::from(kind == TYPE_A);
    // A response with authority; whether recursion is desired is repeated, and it is available.
    answer.get_mut(2..4)?.copy_from_slice(&[0x84 | query.get(2)? & 1, 0x80]);
    answer.get_mut(4..HEADER)?.copy_from_slice(&[0, 1, 0, count, 0, 0, 0, 0]);
    if count == 1 {
        // The name of the question, by a pointer to it.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL, 0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_address_of_this_machine_and_no_other_records() {
        let query = |kind: u8| {
            let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            query.extend(b"\x03api\x04test\x00");
            query.extend([0, kind, 0, 1]);
            query
        };
        let four = answer(&query(1)).unwrap();
        assert_eq!((&four[..4], &four[6..8]), (&[7, 7, 0x85, 0x80][..], &[0, 1][..]));
        assert!(four.ends_with(&[0, 4, 127, 0, 0, 1]));
        let six = answer(&query(28)).unwrap();
        assert_eq!((six.len(), &six[6..8]), (query(28).len(), &[0, 0][..]));
        for length in 0..query(1).len() {
            assert_eq!(answer(&query(1)[..length]), None, "{length}");
        }
    }
}
