//! What a decision log has as denied, put together by destination and reason. The log may be long and its names are those of clients, so that
//! every list has a bound.

use crate::audit::Record;
use resources::key::Key;
use std::collections::{BTreeMap, BTreeSet};
use wire::destination::{Destination, DestinationHost};

/// The most destinations that are listed; further ones are only counted.
const MOST: usize = 10_000;
/// The most clients of a destination that are listed.
const CLIENTS: usize = 64;
/// The most reasons of a destination that are listed; the gateway has fewer, but for the rules of policies.
const REASONS: usize = 64;

/// How a destination is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// A request with an absolute URL.
    Request,
    /// CONNECT.
    Tunnel,
    /// A connection whose TLS names it.
    Sni,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// In lower case; of what is no destination, the text that the client sent.
    pub(super) host: String,
    /// `None` where there is none, or where it is no destination.
    pub(super) port: Option<u16>,
    pub(super) way: Way,
}

/// How often and for whom a destination was denied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) count: u64,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) clients: BTreeSet<String>,
    /// Whether there are more clients.
    pub(super) more_clients: bool,
    /// What DNS answered last.
    pub(super) resolved: Vec<String>,
    pub(super) reasons: BTreeMap<String, u64>,
    /// How many of these were served, since nothing enforces the reason.
    pub(super) served: u64,
    /// The ServiceEntry that has the host, where the record names it.
    pub(super) entry: Option<Key>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Denials {
    pub(super) by_target: BTreeMap<Target, Denial>,
    /// Denials of destinations beyond the bound.
    pub(super) others: u64,
    /// Lines that are no records.
    pub(super) unreadable: u64,
    pub(super) records: u64,
}

impl Denials {
    /// Adds a record; those about the log itself have no kind.
    pub(super) fn add(&mut self, record: &Record) {
        if record.kind.is_empty() {
            return;
        }
        self.records += 1;
        let is_denied = record.decision == "denied";
        let reasons = if is_denied { std::slice::from_ref(&record.reason) } else { &*record.would_deny };
        let Some(target) = target(record).filter(|_| !reasons.is_empty()) else { return };
        if self.by_target.len() >= MOST && !self.by_target.contains_key(&target) {
            self.others += 1;
            return;
        }
        let denial = self.by_target.entry(target).or_default();
        denial.count += 1;
        denial.served += u64::from(!is_denied);
        if denial.first.is_empty() || record.time < denial.first {
            denial.first.clone_from(&record.time);
        }
        if record.time > denial.last {
            denial.last.clone_from(&record.time);
        }
        let client = client(record);
        if denial.clients.len() < CLIENTS || denial.clients.contains(&client) {
            denial.clients.insert(client);
        } else {
            denial.more_clients = true;
        }
        if let Some(entry) = entry_of(&record.rule) {
            denial.entry = Some(entry);
        }
        if !record.resolved.is_empty() {
            denial.resolved.clone_from(&record.resolved);
        }
        for reason in reasons {
            if denial.reasons.len() < REASONS || denial.reasons.contains_key(reason) {
                *denial.reasons.entry(reason.clone()).or_default() += 1;
            }
        }
    }
}

/// The ServiceEntry that a record names as what decided; `None` for anything else, and for what no object may be called: the name becomes part of a
/// command.
fn entry_of(rule: &str) -> Option<Key> {
    let (namespace, name) = rule.strip_prefix("ServiceEntry ")?.split(' ').next()?.split_once('/')?;
    let is_name = |text: &str| {
        let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
        text.bytes().all(is_plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    (is_name(namespace) && is_name(name)).then(|| Key::new(namespace, name))
}

/// What was asked for; `None` where the record does not say.
fn target(record: &Record) -> Option<Target> {
    let (text, way, usual) = match (record.kind.as_str(), record.method.as_str()) {
        ("request", "CONNECT") => (&record.authority, Way::Tunnel, None),
        ("request", _) => (&record.authority, Way::Request, Some(80)),
        _ => (&record.sni, Way::Sni, record.listener.rsplit(':').next().and_then(|port| port.parse().ok())),
    };
    if text.is_empty() {
        return None;
    }
    Some(match Destination::parse(text.as_bytes()) {
        Ok(Destination { host: DestinationHost::Name(name), port }) => {
            Target { host: name.to_ascii_lowercase(), port: port.or(usual), way }
        }
        Ok(Destination { host: DestinationHost::Address(address), port }) => {
            Target { host: address.to_string(), port: port.or(usual), way }
        }
        Err(_) => Target { host: text.clone(), port: None, way },
    })
}

/// Who asked: the user or subject, the name of the certificate, or the address.
fn client(record: &Record) -> String {
    if !record.principal.is_empty() {
        return record.principal.clone();
    }
    if let Some(name) = record.identity.first() {
        return name.clone();
    }
    if !record.forwarded_for.is_empty() {
        return record.forwarded_for.clone();
    }
    record.client.rsplit_once(':').map_or(record.client.as_str(), |(address, _)| address).to_owned()
}
