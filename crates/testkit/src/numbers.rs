//! Port numbers in test configurations: backends are called 9001 to 9008 there, 9011 to 9016 where they speak TLS, 9021 to 9030 where they misbehave, or 9031 and 9032 where
//! they speak HTTP/2, and a forward proxy 9041. They listen wherever a port was free.

use crate::backend::Backend;
use crate::faulty_backend::{Attempts, FaultyBackend};
use crate::http2::Http2;
use crate::proxy::Proxy;
use crate::secured::Certificates;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The numbers by which configurations call their backends.
const NUMBERS: std::ops::RangeInclusive<u16> = 9001..=9008;
/// Those that speak TLS: number, certificate, and the authority of clients where one is asked for.
const SECURED: &[(u16, &str, Option<&str>)] = &[
    (9011, "back0", None),
    (9012, "back1", None),
    (9013, "back2", None),
    (9014, "back3", None),
    (9015, "back0", Some("ca")),
    (9016, "stranger", None),
];
/// Those that misbehave.
const ODD: std::ops::RangeInclusive<u16> = 9021..=9030;
/// Those that speak nothing but HTTP/2: in clear text, and in TLS.
const HTTP2: u16 = 9031;
const HTTP2_SECURED: u16 = 9032;
/// A proxy that answers CONNECT.
const PROXY: u16 = 9041;

/// Echo backends for every number.
#[derive(Debug)]
pub struct Backends {
    by_number: BTreeMap<u16, Backend>,
    faulty: BTreeMap<u16, FaultyBackend>,
    http2: BTreeMap<u16, Http2>,
    proxy: Proxy,
    /// How often requests came to those that misbehave.
    pub attempts: Attempts,
}

impl Backends {
    /// Starts them all; those that speak TLS have certificates of `certificates`.
    pub fn start(certificates: &Certificates) -> anyhow::Result<Self> {
        let mut by_number = BTreeMap::new();
        for number in NUMBERS {
            by_number.insert(number, Backend::start(number, None)?);
        }
        for (number, name, authority) in SECURED {
            let tls = certificates.backend(name, *authority)?;
            by_number.insert(*number, Backend::start(*number, Some(tls))?);
        }
        let (mut faulty, attempts) = (BTreeMap::new(), Attempts::default());
        for number in ODD {
            faulty.extend(FaultyBackend::start(number, &attempts)?.map(|backend| (number, backend)));
        }
        let secured = certificates.server("back0")?;
        let http2 = BTreeMap::from([
            (HTTP2, Http2::start(HTTP2, None)?),
            (HTTP2_SECURED, Http2::start(HTTP2_SECURED, Some(secured))?),
        ]);
        Ok(Self { by_number, faulty, http2, proxy: Proxy::start()?, attempts })
    }

    fn addresses(&self) -> impl Iterator<Item = (u16, SocketAddr)> {
        let usual = self.by_number.iter().map(|(number, backend)| (*number, backend.address));
        let faulty = self.faulty.iter().map(|(number, backend)| (*number, backend.address));
        let http2 = self.http2.iter().map(|(number, backend)| (*number, backend.address));
        usual.chain(faulty).chain(http2).chain([(PROXY, self.proxy.address)])
    }

    /// The number of the backend that listens on a port.
    pub fn number(&self, port: u16) -> Option<u16> {
        self.addresses().find(|(_, address)| address.port() == port).map(|(number, _)| number)
    }

    /// `text` with each number replaced by the port of its backend.
    pub fn rewrite(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |length| at + length);
            let digits = &rest[at..end];
            out.push_str(&rest[..at]);
            // A number that stands by itself: texts such as certificates have digits too.
            let alone = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '='));
            let stands_alone = alone(out.chars().next_back()) && alone(rest[end..].chars().next());
            match digits
                .parse()
                .ok()
                .filter(|_| stands_alone)
                .and_then(|number: u16| self.addresses().find(|(known, _)| *known == number))
            {
                Some((_, address)) => out.push_str(&address.port().to_string()),
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
    use super::{Backends, Certificates, named_ports};

    #[test]
    fn whole_numbers_alone_are_rewritten() {
        let backends = Backends::start(&Certificates::of_project().unwrap()).unwrap();
        let out = backends.rewrite("port: 9001, 19001 9009");
        assert!(out.ends_with(", 19001 9009") && !out.starts_with("port: 9001,"), "{out}");
        assert_eq!(backends.rewrite("a9001 9001b 9001="), "a9001 9001b 9001=");
    }

    #[test]
    fn ports_are_found_by_their_keys() {
        let found = named_ports("port:\n  number: 80\n- {number: 8080, targetPort: \"8443\"}");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), vec![80, 8080, 8443]);
    }
}
