//! Hosts of servers, and where they meet the hosts of VirtualServices (GW-06, S-30 to S-33).

use crate::fast::{FastMap, FastSet};
use ir::{HostPattern, InvalidHostPattern};
use std::sync::Arc;

/// One host of a server: what it stands for, and the only namespace whose VirtualServices may bind to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ServerHost {
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) pattern: HostPattern,
}

/// The hosts of a server, arranged so that a Gateway may list a hundred thousand.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerHosts {
    list: Vec<ServerHost>,
    exact: FastMap<Arc<str>, Vec<usize>>,
    wild: Vec<usize>,
}

impl PartialEq for ServerHosts {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for ServerHosts {}

impl ServerHost {
    /// Reads `[namespace/]host` of a Gateway in `own` (S-30).
    pub(crate) fn parse(text: &str, own: &Arc<str>) -> Result<Self, InvalidHostPattern> {
        let (namespace, host) = match text.split_once('/') {
            None | Some(("*", _)) => (None, text.split_once('/').map_or(text, |(_, host)| host)),
            Some((".", host)) => (Some(Arc::clone(own)), host),
            Some((other, host)) => (Some(other.into()), host),
        };
        Ok(Self { namespace, pattern: HostPattern::parse(host)? })
    }

    /// Whether it is `*` for all namespaces.
    pub(crate) fn admits_all(&self) -> bool {
        self.namespace.is_none() && self.pattern == HostPattern::Any
    }

    fn admits(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|only| **only == *namespace)
    }
}

impl ServerHosts {
    pub(crate) fn new(list: Vec<ServerHost>) -> Self {
        let mut hosts = Self { list, ..Self::default() };
        for (index, host) in hosts.list.iter().enumerate() {
            match &host.pattern {
                HostPattern::Exact(name) => hosts.exact.entry(Arc::clone(name)).or_default().push(index),
                HostPattern::Suffix(_) | HostPattern::Any => hosts.wild.push(index),
            }
        }
        hosts
    }

    /// The narrower of each overlapping pair (S-31), sorted; only hosts that admit `namespace` take part.
    pub(crate) fn intersect(&self, hosts: &[HostPattern], namespace: &str) -> Vec<HostPattern> {
        let mut found = Vec::new();
        for host in hosts {
            let pairs = self.near(host).filter(|own| own.admits(namespace));
            found.extend(pairs.filter_map(|own| own.pattern.intersect(host)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether some host overlaps, whatever namespaces the hosts of the server admit.
    pub(crate) fn overlaps(&self, hosts: &[HostPattern]) -> bool {
        hosts.iter().any(|host| self.near(host).any(|own| own.pattern.intersect(host).is_some()))
    }

    /// Whether this very pattern is one of them, for whatever namespace.
    pub(crate) fn names(&self, pattern: &HostPattern) -> bool {
        match pattern {
            HostPattern::Exact(name) => self.exact.contains_key(name),
            HostPattern::Suffix(_) | HostPattern::Any => self.patterns().any(|own| own == pattern),
        }
    }

    /// Those that only one of both has.
    pub(crate) fn symmetric_difference(&self, other: &Self) -> Vec<ServerHost> {
        let set = |hosts: &Self| hosts.list.iter().cloned().collect::<FastSet<_>>();
        set(self).symmetric_difference(&set(other)).cloned().collect()
    }

    /// All of them with the namespaces that they admit.
    pub(crate) fn list(&self) -> &[ServerHost] {
        &self.list
    }

    /// All of them.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &HostPattern> + Clone {
        self.list.iter().map(|host| &host.pattern)
    }

    /// Some of its hosts, for people.
    pub(crate) fn describe(&self) -> String {
        const SHOWN: usize = 5;
        let shown = self.list.iter().take(SHOWN).map(|host| host.pattern.to_string());
        let text = shown.collect::<Vec<_>>().join(", ");
        if self.list.len() > SHOWN { format!("{text} and {} more", self.list.len() - SHOWN) } else { text }
    }

    /// Those that can overlap with `host` at all; for an exact host that is a look-up.
    fn near(&self, host: &HostPattern) -> impl Iterator<Item = &ServerHost> {
        let (exact, rest) = match host {
            HostPattern::Exact(name) => (self.exact.get(name).map_or(&[][..], Vec::as_slice), &self.wild[..]),
            HostPattern::Suffix(_) | HostPattern::Any => (&[][..], &[][..]),
        };
        let all = if matches!(host, HostPattern::Exact(_)) { &[][..] } else { &self.list[..] };
        exact.iter().chain(rest).filter_map(|index| self.list.get(*index)).chain(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(server: &[&str], hosts: &[&str], namespace: &str) -> Vec<String> {
        let own = "gw".into();
        let server = server.iter().map(|text| ServerHost::parse(text, &own).unwrap()).collect();
        let hosts: Vec<_> = hosts.iter().map(|text| HostPattern::parse(text).unwrap()).collect();
        ServerHosts::new(server).intersect(&hosts, namespace).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn s_30_a_namespace_prefix_says_whose_virtual_services_may_bind() {
        assert_eq!(meet(&["./a.com"], &["a.com"], "gw"), ["a.com"]);
        assert!(meet(&["./a.com"], &["a.com"], "apps").is_empty());
        assert_eq!(meet(&["*/a.com"], &["a.com"], "apps"), ["a.com"]);
        assert_eq!(meet(&["*/*"], &["a.com"], "apps"), ["a.com"]);
        assert!(meet(&["web/*"], &["a.com"], "apps").is_empty());
    }

    #[test]
    fn s_31_the_narrower_of_both_is_the_host() {
        assert_eq!(meet(&["*.a.com"], &["x.a.com"], "apps"), ["x.a.com"]);
        assert_eq!(meet(&["x.a.com"], &["*"], "apps"), ["x.a.com"]);
        assert_eq!(meet(&["*.a.com", "b.com"], &["*"], "apps"), ["b.com", "*.a.com"]);
        assert!(meet(&["*.a.com"], &["a.com"], "apps").is_empty());
    }
}
