//! The table of one HTTP server: hosts by name, and each host's rules.
//!
//! Tables are immutable and share what did not change: hosts lie in shards behind `Arc`, and one changed host costs a copy of its
//! shard. The control side builds them; workers only read.

use crate::claims::Claims;
use crate::forward::AllowList;
use crate::host::HostTable;
use crate::host_map::HostMap;
use crate::names::suffixes;
use crate::route::{RouteEntry, Slots};
use ir::{HostPattern, HttpTable};
use std::sync::Arc;
use wire::view::RequestView;

/// The table of one listener or TLS server.
#[derive(Debug, Clone)]
pub struct Table {
    exact: HostMap,
    /// By the text behind the `*`, which begins with a dot.
    suffixes: HostMap,
    any: Option<Arc<HostTable>>,
    forward: Option<Arc<AllowList>>,
}

/// The result of routing a request.
#[derive(Debug)]
pub enum Pick<'a> {
    /// This route matches.
    Route(&'a Arc<RouteEntry>),
    /// The host matches, but none of its rules: 404.
    NoRoute(&'a HostTable),
    /// No host matches: 404.
    NoHost,
    /// The host redirects to HTTPS (S-70).
    ToHttps,
}

impl Table {
    /// The table of a listener.
    pub fn build(listener: &HttpTable, slots: Slots<'_>) -> Self {
        let suffixes = listener.hosts.keys().filter(|pattern| matches!(pattern, HostPattern::Suffix(_))).count();
        let mut table = Self {
            exact: HostMap::with_room_for(listener.hosts.size() - suffixes),
            suffixes: HostMap::with_room_for(suffixes),
            any: None,
            forward: listener.forward.as_ref().map(|proxy| Arc::new(AllowList::build(proxy, slots))),
        };
        for host in listener.hosts.values() {
            table.put(HostTable::build(host, slots));
        }
        table
    }

    /// The table after some hosts changed, sharing the others. It is built anew when it grew out of its shards.
    pub fn update(&self, listener: &HttpTable, changed: &[HostPattern], slots: Slots<'_>) -> Self {
        let mut next = self.clone();
        for pattern in changed {
            match listener.hosts.get(pattern) {
                Some(host) => next.put(HostTable::build(host, slots)),
                None => next.remove(pattern),
            }
        }
        if next.exact.is_outgrown() || next.suffixes.is_outgrown() {
            return Self::build(listener, slots);
        }
        next
    }

    fn put(&mut self, host: HostTable) {
        let host = Arc::new(host);
        match &host.pattern {
            HostPattern::Exact(_) => self.exact.put(host),
            HostPattern::Suffix(_) => self.suffixes.put(host),
            HostPattern::Any => self.any = Some(host),
        }
    }

    fn remove(&mut self, pattern: &HostPattern) {
        match pattern {
            HostPattern::Exact(name) => self.exact.remove(name),
            HostPattern::Suffix(suffix) => self.suffixes.remove(suffix),
            HostPattern::Any => self.any = None,
        }
    }

    /// What clients may ask for, if the table is that of a forward proxy.
    #[inline]
    pub fn forward(&self) -> Option<&AllowList> {
        self.forward.as_deref()
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.exact.len() + self.suffixes.len() + usize::from(self.any.is_some())
    }

    /// The most specific host that matches a name: the name itself, the longest wildcard, `*` (S-34).
    pub fn host(&self, name: &str) -> Option<&HostTable> {
        let found = self.exact.get(name).or_else(|| self.wildcard(name)).or(self.any.as_ref());
        found.map(AsRef::as_ref)
    }

    /// All hosts that match a name, the most specific first; `explain` shows the others as passed over (S-34).
    pub fn covering<'t, 'n>(&'t self, name: &'n str) -> impl Iterator<Item = &'t HostTable> + use<'t, 'n> {
        let wildcards = suffixes(name, self.suffixes.longest()).filter_map(|suffix| self.suffixes.get(suffix));
        self.exact.get(name).into_iter().chain(wildcards).chain(&self.any).map(AsRef::as_ref)
    }

    fn wildcard(&self, name: &str) -> Option<&Arc<HostTable>> {
        if self.suffixes.len() == 0 {
            return None;
        }
        suffixes(name, self.suffixes.longest()).find_map(|suffix| self.suffixes.get(suffix))
    }

    /// Routes a request; `claims` are those of its verified token.
    pub fn pick(&self, view: &RequestView<'_>, claims: &Claims) -> Pick<'_> {
        let Some(host) = self.host(view.host) else { return Pick::NoHost };
        if host.https_redirect && view.scheme != "https" {
            return Pick::ToHttps;
        }
        match host.first_match(view, claims).and_then(|number| host.rules.get(number)) {
            Some(rule) => Pick::Route(rule),
            None => Pick::NoRoute(host),
        }
    }
}

#[cfg(test)]
mod tests;
