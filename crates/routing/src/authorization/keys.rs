//! The tables of the index: from the values of conditions to the numbers of rules.

use super::facts::AccessFacts;
use super::judge::is_joined;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ir::IpRange;
use ir::policy::{Condition, Demand, HeaderOf, IdentityMatch, PathMatch, TextMatch};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Claims with a table; rules on further claims are candidates of every request.
const MOST_CLAIMS: usize = 8;

/// Numbers of rules, ascending.
type Numbers = SmallVec<[u32; 4]>;
/// All lists with candidates.
pub(super) type Lists<'a> = SmallVec<[&'a [u32]; 16]>;
type Table<K> = HashMap<K, Numbers, RandomState>;

/// Rules by the values of one attribute each.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// In lower case.
    hosts: Texts,
    paths: Texts,
    methods: Texts,
    server_names: Texts,
    identities: Texts,
    /// Namespaces in identities.
    namespaces: Table<Arc<str>>,
    issuers: Texts,
    subjects: Texts,
    claims: Vec<(Vec<Arc<str>>, Texts)>,
    headers: HashMap<Arc<str>, Texts, RandomState>,
    source: Addresses,
    remote: Addresses,
    destination: Addresses,
    ports: Table<u16>,
    /// Rules that are candidates of every request.
    others: Numbers,
}

/// Rules by exact texts, and by beginnings and ends of texts.
#[derive(Debug, Default)]
struct Texts {
    exact: Table<Box<[u8]>>,
    prefixes: Table<Box<[u8]>>,
    suffixes: Table<Box<[u8]>>,
    /// The lengths of all of them, ascending: one look-up for each.
    prefix_lengths: Vec<usize>,
    suffix_lengths: Vec<usize>,
}

/// Rules by ranges of addresses.
#[derive(Debug, Default)]
struct Addresses {
    ranges: Table<(u8, u128)>,
    /// The lengths of all ranges of IPv4 and IPv6.
    lengths: [Vec<u8>; 2],
}

/// How much a condition says of the requests that meet it, for the choice of the table; 0 if it cannot be looked up.
pub(super) fn weight(condition: &Condition) -> u32 {
    let texts = |values: &[TextMatch], weight: u32| {
        let has = |text: &dyn Fn(&TextMatch) -> bool| values.iter().any(text);
        let is_any = |value: &TextMatch| matches!(value, TextMatch::Any);
        let is_part = |value: &TextMatch| matches!(value, TextMatch::Prefix(_) | TextMatch::Suffix(_));
        if has(&is_any) {
            0
        } else if has(&is_part) {
            weight.saturating_sub(2).max(1)
        } else {
            weight
        }
    };
    if condition.negated {
        return 0;
    }
    match &condition.demand {
        Demand::Identity(values) => {
            let is_known = |value: &IdentityMatch| !matches!(value, IdentityMatch::Any | IdentityMatch::Pattern(_));
            if values.iter().all(is_known) { 9 } else { 0 }
        }
        Demand::RequestPrincipal(values) => {
            let is_known = values.iter().all(|value| value.issuer != TextMatch::Any || value.subject != TextMatch::Any);
            if is_known { 9 } else { 0 }
        }
        Demand::Host(values) => texts(values, 8),
        Demand::Path(values) => {
            let is_any = |value: &PathMatch| match value {
                PathMatch::Text(text) => *text == TextMatch::Any,
                PathMatch::Template(template) => template.literal_prefix() == "/",
            };
            let is_part = |value: &PathMatch| !matches!(value, PathMatch::Text(TextMatch::Exact(_)));
            if values.iter().any(is_any) {
                0
            } else if values.iter().any(is_part) {
                6
            } else {
                8
            }
        }
        // Joined lines are no line of the head.
        Demand::Header { name: HeaderOf::Name(name), values, is_list: false, allows } => {
            if *allows && is_joined(name) {
                0
            } else {
                texts(values, 7)
            }
        }
        Demand::Claim { values, .. } => texts(values, 7),
        Demand::ServerName(values) => texts(values, 7),
        Demand::SourceIp(_) | Demand::RemoteIp(_) | Demand::DestinationIp(_) => 5,
        Demand::Port(_) => 3,
        Demand::Method(values) => texts(values, 2),
        Demand::Header { .. } => 0,
        // It never matches, so that no look-up finds it.
        Demand::Unknown => 10,
    }
}

impl Keys {
    /// Adds a rule that can only match where the demand is met.
    pub(super) fn add(&mut self, demand: &Demand, number: u32) {
        match demand {
            Demand::Host(values) => values.iter().for_each(|value| self.hosts.add(&lower(value), number)),
            Demand::Method(values) => self.methods.add_all(values, number),
            Demand::ServerName(values) => self.server_names.add_all(values, number),
            Demand::Path(values) => {
                for value in values {
                    match value {
                        PathMatch::Text(text) => self.paths.add(text, number),
                        PathMatch::Template(template) => {
                            self.paths.add(&TextMatch::Prefix(template.literal_prefix().into()), number);
                        }
                    }
                }
            }
            Demand::Identity(values) => values.iter().for_each(|value| self.add_identity(value, number)),
            Demand::RequestPrincipal(values) => {
                for value in values {
                    let (texts, text) = match &value.subject {
                        TextMatch::Any => (&mut self.issuers, &value.issuer),
                        subject => (&mut self.subjects, subject),
                    };
                    texts.add(text, number);
                }
            }
            Demand::Claim { path, values } => {
                if self.claims.len() < MOST_CLAIMS && !self.claims.iter().any(|(known, _)| known == path) {
                    self.claims.push((path.clone(), Texts::default()));
                }
                match self.claims.iter_mut().find(|(known, _)| known == path) {
                    Some((_, texts)) => texts.add_all(values, number),
                    None => self.add_other(number),
                }
            }
            Demand::Header { name: HeaderOf::Name(name), values, .. } => {
                self.headers.entry(Arc::clone(name)).or_default().add_all(values, number);
            }
            Demand::SourceIp(ranges) => self.source.add(ranges, number),
            Demand::RemoteIp(ranges) => self.remote.add(ranges, number),
            Demand::DestinationIp(ranges) => self.destination.add(ranges, number),
            Demand::Port(ports) => ports.iter().for_each(|port| put(self.ports.entry(*port).or_default(), number)),
            Demand::Header { .. } => self.add_other(number),
            Demand::Unknown => {}
        }
    }

    /// Adds a rule that is a candidate of every request.
    pub(super) fn add_other(&mut self, number: u32) {
        put(&mut self.others, number);
    }

    fn add_identity(&mut self, value: &IdentityMatch, number: u32) {
        match value {
            IdentityMatch::Exact(exact) => self.identities.add(&TextMatch::Exact(Arc::clone(exact)), number),
            IdentityMatch::Prefix(prefix) => self.identities.add(&TextMatch::Prefix(Arc::clone(prefix)), number),
            IdentityMatch::Suffix(suffix) => self.identities.add(&TextMatch::Suffix(Arc::clone(suffix)), number),
            IdentityMatch::Namespace(namespace) | IdentityMatch::ServiceAccount { namespace, .. } => {
                put(self.namespaces.entry(Arc::clone(namespace)).or_default(), number);
            }
            IdentityMatch::Any | IdentityMatch::Pattern(_) => self.add_other(number),
        }
    }

    /// Ends the additions.
    pub(super) fn finish(&mut self) {
        let texts = [&mut self.hosts, &mut self.paths, &mut self.methods, &mut self.server_names];
        let of_identity = [&mut self.identities, &mut self.issuers, &mut self.subjects];
        let of_claims = self.claims.iter_mut().map(|(_, texts)| texts);
        let all = texts.into_iter().chain(of_identity).chain(of_claims).chain(self.headers.values_mut());
        all.for_each(Texts::finish);
        [&mut self.source, &mut self.remote, &mut self.destination].into_iter().for_each(Addresses::finish);
    }

    /// Finds the candidates: every rule that matches is among them.
    pub(super) fn find<'k>(&'k self, facts: &AccessFacts<'_>, lists: &mut Lists<'k>) {
        let connection = &facts.connection;
        push(Some(&self.others), lists);
        push(self.ports.get(&connection.port), lists);
        self.server_names.find(connection.server_name.as_bytes(), lists);
        self.source.find(connection.source, lists);
        self.remote.find(facts.remote, lists);
        self.destination.find(connection.destination, lists);
        for name in connection.identity {
            self.identities.find(name.as_bytes(), lists);
            if !self.namespaces.is_empty() {
                for (at, part) in name.match_indices("/ns/") {
                    let rest = name.get(at + part.len()..).unwrap_or_default();
                    let namespace = rest.split_once('/').and_then(|(namespace, _)| self.namespaces.get(namespace));
                    push(namespace, lists);
                }
            }
        }
        if let Some(view) = facts.view {
            if !self.hosts.is_empty() {
                let mut host: SmallVec<[u8; 128]> = SmallVec::from_slice(view.authority);
                host.make_ascii_lowercase();
                self.hosts.find(&host, lists);
            }
            self.paths.find(view.path, lists);
            self.methods.find(view.method, lists);
            if !self.headers.is_empty() {
                self.find_headers(facts, lists);
            }
        }
        if let Some(claims) = facts.claims {
            claims.issuer().into_iter().for_each(|issuer| self.issuers.find(issuer.as_bytes(), lists));
            claims.subject().into_iter().for_each(|subject| self.subjects.find(subject.as_bytes(), lists));
            for (path, texts) in &self.claims {
                for text in claims.texts(path.iter().map(|name| &**name)) {
                    texts.find(text.as_bytes(), lists);
                }
            }
        }
    }

    /// Looks up every line of the head as it came, and every value that edits write: lines that edits remove are candidates too many.
    fn find_headers<'k>(&'k self, facts: &AccessFacts<'_>, lists: &mut Lists<'k>) {
        let Some(view) = facts.view else { return };
        for (name, value) in view.fields.iter() {
            let mut lower: SmallVec<[u8; 64]> = SmallVec::from_slice(name);
            lower.make_ascii_lowercase();
            let texts = std::str::from_utf8(&lower).ok().and_then(|name| self.headers.get(name));
            texts.into_iter().for_each(|texts| texts.find(value, lists));
        }
        for edit in facts.edits {
            let (wire::edit::FieldEdit::Set(name, value) | wire::edit::FieldEdit::Append(name, value)) = edit else {
                continue;
            };
            let texts = self.headers.get(name.as_str());
            texts.into_iter().for_each(|texts| texts.find(value, lists));
        }
    }
}

fn lower(value: &TextMatch) -> TextMatch {
    let lower = |text: &str| text.to_ascii_lowercase().into();
    match value {
        TextMatch::Any => TextMatch::Any,
        TextMatch::Exact(text) => TextMatch::Exact(lower(text)),
        TextMatch::Prefix(text) => TextMatch::Prefix(lower(text)),
        TextMatch::Suffix(text) => TextMatch::Suffix(lower(text)),
    }
}

/// Adds a number once; numbers come in order.
fn put(numbers: &mut Numbers, number: u32) {
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

fn push<'k>(numbers: Option<&'k Numbers>, lists: &mut Lists<'k>) {
    if let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
        lists.push(numbers);
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.suffixes.is_empty()
    }

    fn add_all(&mut self, values: &[TextMatch], number: u32) {
        values.iter().for_each(|value| self.add(value, number));
    }

    fn add(&mut self, value: &TextMatch, number: u32) {
        let (table, text) = match value {
            TextMatch::Exact(text) => (&mut self.exact, &**text),
            TextMatch::Prefix(text) => (&mut self.prefixes, &**text),
            TextMatch::Suffix(text) => (&mut self.suffixes, &**text),
            // Every text begins with nothing.
            TextMatch::Any => (&mut self.prefixes, ""),
        };
        put(table.entry(text.as_bytes().into()).or_default(), number);
    }

    fn finish(&mut self) {
        for (table, lengths) in [(&self.prefixes, &mut self.prefix_lengths), (&self.suffixes, &mut self.suffix_lengths)]
        {
            *lengths = table.keys().map(|text| text.len()).collect();
            lengths.sort_unstable();
            lengths.dedup();
        }
    }

    fn find<'k>(&'k self, text: &[u8], lists: &mut Lists<'k>) {
        if !self.exact.is_empty() {
            push(self.exact.get(text), lists);
        }
        for length in self.prefix_lengths.iter().take_while(|length| **length <= text.len()) {
            push(text.get(..*length).and_then(|prefix| self.prefixes.get(prefix)), lists);
        }
        for length in self.suffix_lengths.iter().take_while(|length| **length <= text.len()) {
            push(text.get(text.len() - length..).and_then(|suffix| self.suffixes.get(suffix)), lists);
        }
    }
}

impl Addresses {
    fn add(&mut self, ranges: &[IpRange], number: u32) {
        for range in ranges {
            let key = first_bits(range.address(), range.length());
            put(self.ranges.entry((place(range.address(), range.length()), key)).or_default(), number);
        }
    }

    fn finish(&mut self) {
        for (length, _) in self.ranges.keys() {
            let family = usize::from(*length > V6);
            if let Some(lengths) = self.lengths.get_mut(family) {
                lengths.push(if *length > V6 { *length - V6 - 1 } else { *length });
            }
        }
        for lengths in &mut self.lengths {
            lengths.sort_unstable();
            lengths.dedup();
        }
    }

    fn find<'k>(&'k self, address: IpAddr, lists: &mut Lists<'k>) {
        let address = address.to_canonical();
        let [v6, v4] = &self.lengths;
        for length in if address.is_ipv4() { v4 } else { v6 } {
            push(self.ranges.get(&(place(address, *length), first_bits(address, *length))), lists);
        }
    }
}

/// The greatest length of a range of IPv6; those of IPv4 have numbers above.
const V6: u8 = 128;

fn place(address: IpAddr, length: u8) -> u8 {
    if address.is_ipv4() { V6 + 1 + length } else { length }
}

/// The bits of an address that a range of this length looks at.
fn first_bits(address: IpAddr, length: u8) -> u128 {
    let (bits, whole) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    bits.checked_shr(whole - u32::from(length)).unwrap_or_default()
}
