//! Port numbers in test configurations: backends are called 9001 to 9008 there, and listen wherever a port was free.

use crate::backend::Backend;
use std::collections::{BTreeMap, BTreeSet};

/// The numbers by which configurations call their backends.
const NUMBERS: std::ops::RangeInclusive<u16> = 9001..=9008;

/// Echo backends for every number.
#[derive(Debug)]
pub struct Backends {
    by_number: BTreeMap<u16, Backend>,
}

impl Backends {
    /// Starts them all.
    pub fn start() -> std::io::Result<Self> {
        let by_number = NUMBERS.map(|number| Ok((number, Backend::start(number)?))).collect::<std::io::Result<_>>()?;
        Ok(Self { by_number })
    }

    /// The number of the backend that listens on a port.
    pub fn number(&self, port: u16) -> Option<u16> {
        self.by_number.iter().find(|(_, backend)| backend.address.port() == port).map(|(number, _)| *number)
    }

    /// `text` with each number replaced by the port of its backend.
    pub fn rewrite(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |length| at + length);
            let digits = &rest[at..end];
            out.push_str(&rest[..at]);
            match digits.parse().ok().and_then(|number: u16| self.by_number.get(&number)) {
                Some(backend) => out.push_str(&backend.address.port().to_string()),
                None => out.push_str(digits),
            }
            rest = &rest[end..];
        }
        out + rest
    }
}

/// Every port that a configuration names (`number:`, `port:`, `targetPort:`), so that a test can have each mapped to a free one.
pub fn named_ports(yaml: &str) -> BTreeSet<u16> {
    let mut found = BTreeSet::new();
    for key in ["number:", "port:", "targetPort:"] {
        for (at, _) in yaml.match_indices(key) {
            let rest = yaml[at + key.len()..].trim_start_matches([' ', '"']);
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            found.extend(digits.parse::<u16>().ok().filter(|port| *port != 0));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Backends, named_ports};

    #[test]
    fn whole_numbers_alone_are_rewritten() {
        let backends = Backends::start().unwrap();
        let out = backends.rewrite("port: 9001, 19001 9009");
        assert!(out.ends_with(", 19001 9009") && !out.starts_with("port: 9001,"), "{out}");
    }

    #[test]
    fn ports_are_found_by_their_keys() {
        let found = named_ports("port:\n  number: 80\n- {number: 8080, targetPort: \"8443\"}");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), vec![80, 8080, 8443]);
    }
}
