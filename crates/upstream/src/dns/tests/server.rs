//! A name server on loopback whose answers the tests set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

const TYPE_A: u8 = 1;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// The answers of the server, and the queries that it received.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    /// The addresses of each name. For a name without an entry the server answers with a failure.
    pub(crate) names: BTreeMap<String, Option<Vec<Ipv4Addr>>>,
    pub(crate) ttl: u32,
    /// Whether queries are kept instead of answered.
    pub(crate) holds: bool,
    /// The number of queries of each name so far.
    pub(crate) asked: BTreeMap<String, usize>,
    held: Vec<(Vec<u8>, SocketAddr)>,
}

#[derive(Debug, Clone)]
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    socket: Arc<UdpSocket>,
}

impl NameServer {
    pub(crate) async fn new() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let server = Self { address: socket.local_addr().unwrap(), zone: Arc::default(), socket };
        tokio::spawn(server.clone().serve());
        server
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Zone) -> T) -> T {
        change(&mut self.zone.lock().unwrap())
    }

    pub(crate) fn set(&self, name: &str, addresses: Option<&[[u8; 4]]>) {
        let addresses = addresses.map(|list| list.iter().map(|octets| Ipv4Addr::from(*octets)).collect());
        self.change(|zone| zone.names.insert(name.into(), addresses));
    }

    pub(crate) fn asked(&self, name: &str) -> usize {
        self.change(|zone| zone.asked.get(name).copied().unwrap_or(0))
    }

    /// The distinct names of the kept queries.
    pub(crate) fn held(&self) -> BTreeSet<String> {
        self.change(|zone| zone.held.iter().map(|(query, _)| question(query).0).collect())
    }

    /// Answers the kept queries.
    pub(crate) async fn release(&self) {
        let held = self.change(|zone| {
            zone.holds = false;
            std::mem::take(&mut zone.held)
        });
        for (query, from) in held {
            let answer = self.change(|zone| zone.answer(&query));
            self.socket.send_to(&answer, from).await.unwrap();
        }
    }

    async fn serve(self) {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer).await {
            let answer = self.change(|zone| zone.take(&buffer[..length], from));
            if let Some(answer) = answer {
                let _ = self.socket.send_to(&answer, from).await;
            }
        }
    }
}

impl Zone {
    fn take(&mut self, query: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        *self.asked.entry(question(query).0).or_default() += 1;
        if self.holds {
            self.held.push((query.to_vec(), from));
            return None;
        }
        Some(self.answer(query))
    }

    /// A message of RFC 1035 §4.1 with the question and the answers.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (name, kind, end) = question(query);
        let (code, addresses) = match self.names.get(&name) {
            None => (NO_SUCH_NAME, &[][..]),
            Some(None) => (SERVER_FAILURE, &[][..]),
            Some(Some(addresses)) => (0, if kind == TYPE_A { &addresses[..] } else { &[] }),
        };
        let mut answer = query[..end].to_vec();
        answer[2..4].copy_from_slice(&[0x81, 0x80 | code]);
        answer[6..12].copy_from_slice(&[0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
        for address in addresses {
            answer.extend([0xc0, 12, 0, TYPE_A, 0, 1]);
            answer.extend(self.ttl.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        answer
    }
}

/// The name, the low byte of the type, and where the question ends.
fn question(query: &[u8]) -> (String, u8, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    (labels.join("."), query[at + 2], at + 5)
}
