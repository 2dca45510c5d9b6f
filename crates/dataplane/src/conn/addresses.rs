//! Limits per client address: connections, new connections per second, concurrent TLS handshakes. All workers share one table, in parts with a
//! lock each; a connection of a known address costs no allocation.

use crate::limits::AddressLimits;
use crate::metrics::Rejected;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::{IpRange, MeshConnectionSettings};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Parts of the table.
const PARTS: usize = 64;
/// Addresses without a connection that each part keeps, for their rate.
const REMEMBERED: usize = 1024;
/// The rate units of one connection.
const ONE: u64 = 1000;
/// The burst, as a multiple of the rate per second.
const BURST: u64 = 2;

/// The proxies whose connections have no limit per address.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    ranges: Arc<[IpRange]>,
    /// The ranges are configured, so that no other address is a proxy.
    are_all: bool,
}

impl TrustedProxies {
    /// These and no others.
    pub fn of(ranges: impl IntoIterator<Item = IpRange>) -> Self {
        Self { ranges: ranges.into_iter().collect(), are_all: true }
    }
}

impl Default for TrustedProxies {
    /// Addresses of this machine and of private networks: load balancers, and nodes that translate the addresses of clients, have them.
    fn default() -> Self {
        const PRIVATE: [&str; 9] = [
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ];
        Self { ranges: PRIVATE.iter().filter_map(|range| range.parse().ok()).collect(), are_all: false }
    }
}

/// The addresses of the process that have connections, or had some lately.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: AddressLimits,
    trusted: TrustedProxies,
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
    begun: Instant,
    /// Addresses that a part holds at the most.
    room: usize,
}

type Part = HashMap<u128, Entry, RandomState>;

#[derive(Debug, Clone, Copy)]
struct Entry {
    open: u32,
    handshakes: u32,
    /// The rate units left, and when they were updated (in milliseconds).
    left: u64,
    at: u64,
}

/// A permit of the client address for one connection.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    addresses: Arc<Addresses>,
    key: u128,
    in_handshake: bool,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        self.end_handshake();
        self.change(|entry| entry.open = entry.open.saturating_sub(1));
    }
}

impl AddressPermit {
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.addresses.part(self.key).get_mut(&self.key) {
            change(entry);
        }
    }

    /// Counts a TLS handshake; `false` at the limit of the address.
    pub(super) fn begin_handshake(&mut self) -> bool {
        let Some(most) = self.addresses.limits.handshakes else { return true };
        let mut admitted = true;
        self.change(|entry| {
            admitted = (entry.handshakes as usize) < most;
            entry.handshakes += u32::from(admitted);
        });
        self.in_handshake |= admitted;
        admitted
    }

    /// Ends the handshake.
    pub(super) fn end_handshake(&mut self) {
        if std::mem::take(&mut self.in_handshake) {
            self.change(|entry| entry.handshakes = entry.handshakes.saturating_sub(1));
        }
    }
}

impl Addresses {
    /// None yet. There are never more than `connections` at a time.
    pub(crate) fn new(limits: AddressLimits, trusted: TrustedProxies, connections: usize) -> Arc<Self> {
        // Twice an even share, for keys do not fall evenly.
        let room = REMEMBERED + 2 * connections.div_ceil(PARTS);
        Arc::new(Self {
            limits,
            trusted,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            begun: Instant::now(),
            room,
        })
    }

    /// Counts a connection of an address; no permit where its connections are not limited.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        mesh_settings: &MeshConnectionSettings,
    ) -> Result<Option<AddressPermit>, Rejected> {
        if self.limits.are_off() || self.is_trusted(address, mesh_settings) {
            return Ok(None);
        }
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.admit_at(key(address), now)
    }

    fn is_trusted(&self, address: IpAddr, mesh_settings: &MeshConnectionSettings) -> bool {
        // With a number of trusted proxies and no ranges, every address may be a proxy.
        let everybody = mesh_settings.trusted_proxies > 0 && !self.trusted.are_all;
        everybody || self.trusted.ranges.iter().any(|range| range.contains(address))
    }

    fn admit_at(self: &Arc<Self>, key: u128, now: u64) -> Result<Option<AddressPermit>, Rejected> {
        let full = self.limits.rate.map_or(0, |rate| u64::from(rate) * BURST * ONE);
        let mut part = self.part(key);
        if !part.contains_key(&key) && part.len() >= self.room {
            forget(&mut part, self.room - REMEMBERED / 2);
            if part.len() >= self.room {
                // Evenly spread keys never overflow a part; an overflow is bounded by the limit of the process.
                return Ok(None);
            }
        }
        let new = Entry { open: 0, handshakes: 0, left: full, at: now };
        let entry = part.entry(key).or_insert(new);
        if self.limits.connections.is_some_and(|most| entry.open as usize >= most) {
            return Err(Rejected::AddressConnections);
        }
        if let Some(rate) = self.limits.rate {
            // A connection a second is `ONE` in a thousand milliseconds.
            let more = now.saturating_sub(entry.at).saturating_mul(u64::from(rate));
            (entry.left, entry.at) = (entry.left.saturating_add(more).min(full), entry.at.max(now));
            entry.left = entry.left.checked_sub(ONE).ok_or(Rejected::AddressRate)?;
        }
        entry.open += 1;
        drop(part);
        Ok(Some(AddressPermit { addresses: Arc::clone(self), key, in_handshake: false }))
    }

    fn part(&self, key: u128) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one(key) as usize % PARTS;
        // There are as many as that.
        let part = &self.parts[at];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets addresses without connections, those that were seen longest ago first, until so many are left.
fn forget(part: &mut Part, left: usize) {
    let mut unused: Vec<u64> = part.values().filter(|entry| entry.open == 0).map(|entry| entry.at).collect();
    let surplus = part.len().saturating_sub(left).min(unused.len());
    let Some(last) = surplus.checked_sub(1) else { return };
    let (_, limit, _) = unused.select_nth_unstable(last);
    let limit = *limit;
    part.retain(|_, entry| entry.open > 0 || entry.at > limit);
}

/// The key of one client: an IPv4 address, or the /64 of an IPv6 address, the smallest prefix that a network gets (RFC 6177).
fn key(address: IpAddr) -> u128 {
    let of_v4 = |address: Ipv4Addr| address.to_ipv6_mapped().to_bits();
    match address.to_canonical() {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => translated(address).map_or(address.to_bits() >> 64 << 64, of_v4),
    }
}

/// The IPv4 address in one that a network translated (RFC 6052 §2.1), all of which are in one /64.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    (bits >> 32 == 0x0064_ff9b << 64).then(|| Ipv4Addr::from_bits(bits as u32))
}

#[cfg(test)]
mod tests;
