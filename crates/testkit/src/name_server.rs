//! A small authoritative name server on loopback, whose answers the test sets. It answers questions for A; all other types have no records.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const TYPE_A: u8 = 1;
const TYPE_CNAME: u8 = 5;
const NO_SUCH_NAME: u8 = 3;

/// What a name has.
#[derive(Debug, Clone)]
enum Record {
    Addresses(Vec<Ipv4Addr>),
    /// Another name.
    Alias(String),
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, Record>,
    asked: Vec<String>,
}

/// A running name server; it ends when dropped.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens.
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    /// Starts one without names.
    pub fn start() -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let (zone, ended) = (Arc::<Mutex<Zone>>::default(), Arc::<AtomicBool>::default());
        let (of_thread, is_over) = (Arc::clone(&zone), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let mut zone = of_thread.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = buffer.get(..length).and_then(|query| zone.answer(query));
                drop(zone);
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { address, zone, ended })
    }

    /// Gives a name addresses.
    pub fn set(&self, name: &str, addresses: &[[u8; 4]]) {
        let addresses = addresses.iter().map(|octets| Ipv4Addr::from(*octets)).collect();
        self.zone().names.insert(name.to_owned(), Record::Addresses(addresses));
    }

    /// Makes a name an alias of another one.
    pub fn alias(&self, name: &str, of: &str) {
        self.zone().names.insert(name.to_owned(), Record::Alias(of.to_owned()));
    }

    /// All names that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.zone().asked.clone()
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread so that it sees the flag.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[0], self.address));
    }
}

impl Zone {
    /// A message of RFC 1035 §4.1 with the question and the answers, whose names are written in full. The time to live is 0.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, kind, end) = question(query)?;
        self.asked.push(name.clone());
        let mut records = Vec::new();
        let mut owner = name;
        let mut found = self.names.get(&owner).cloned();
        let code = if found.is_none() { NO_SUCH_NAME } else { 0 };
        while let Some(Record::Alias(target)) = found {
            records.push(record(&owner, TYPE_CNAME, &name_octets(&target)));
            found = self.names.get(&target).cloned();
            owner = target;
        }
        if let Some(Record::Addresses(addresses)) = found.filter(|_| kind == TYPE_A) {
            records.extend(addresses.iter().map(|address| record(&owner, TYPE_A, &address.octets())));
        }
        let mut answer = query.get(..end)?.to_vec();
        answer.get_mut(2..4)?.copy_from_slice(&[0x85, 0x80 | code]);
        let count = u8::try_from(records.len()).ok()?;
        answer.get_mut(6..12)?.copy_from_slice(&[0, count, 0, 0, 0, 0]);
        answer.extend(records.concat());
        Some(answer)
    }
}

fn name_octets(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap_or(0));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

fn record(owner: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut record = name_octets(owner);
    record.extend([0, kind, 0, 1, 0, 0, 0, 0, 0, u8::try_from(data.len()).unwrap_or(0)]);
    record.extend_from_slice(data);
    record
}

/// The name, the low byte of the type, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u8, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            return Some((labels.join("."), *query.get(at + 2)?, at + 5));
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..=at + length)?).to_lowercase());
        at += length + 1;
    }
}
