//! Which server of a listener takes a connection in TLS, and which requests on it belong to another one.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::{HostPattern, Listener, Termination};

/// The TLS servers of one listener by name. Servers are told apart by their place in the listener.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    exact: HashMap<Box<str>, usize, RandomState>,
    /// By the text behind the `*`, which begins with a dot.
    suffixes: HashMap<Box<str>, usize, RandomState>,
    any: Option<usize>,
    /// The longest wildcard.
    longest: usize,
    /// For each server the first one with the same certificates and demands on clients.
    like: Vec<usize>,
    /// For each server the first one with the same demands on clients.
    demanding: Vec<usize>,
}

/// Whose a request is that came to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That server's, as far as names tell.
    Own,
    /// Another's that shows the same certificates and asks the same of clients.
    Alike,
    /// Another's that shows others and asks the same of clients.
    Elsewhere,
    /// Another's that asks something else of clients, or ends TLS elsewhere (S-38).
    Guarded,
}

/// What becomes of a request on a connection that a server took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Whether the client named a server when it began.
    pub named: bool,
    /// Whether a rule of the connection's own server takes the request.
    pub found: bool,
}

impl Whose {
    /// Whether the client is told that it came to the wrong place (S-38, P-05). A request is served as Istio would only where the server that
    /// it belongs to would have let the client in as well. Who named nobody would do so again, so that telling is of no use to it.
    pub fn is_misdirected(self, told: Told) -> bool {
        match self {
            Self::Own => false,
            Self::Alike => told.named && !told.found,
            Self::Elsewhere => told.named,
            Self::Guarded => told.named || told.found,
        }
    }
}

impl Servers {
    /// The servers of a listener.
    pub fn build(listener: &Listener) -> Self {
        let mut servers = Self::default();
        for (place, server) in listener.tls.iter().enumerate() {
            for name in &server.names {
                servers.put(name, place);
            }
        }
        let terminations: Vec<Option<&Termination>> =
            listener.tls.iter().map(|server| server.termination.as_deref()).collect();
        servers.like = first_of(&terminations, |one, other| one == other);
        servers.demanding = first_of(&terminations, |one, other| one.client == other.client);
        servers
    }

    fn put(&mut self, name: &HostPattern, place: usize) {
        match name {
            HostPattern::Exact(name) => {
                self.exact.entry(name.as_ref().into()).or_insert(place);
            }
            HostPattern::Suffix(suffix) => {
                self.longest = self.longest.max(suffix.len());
                self.suffixes.entry(suffix.as_ref().into()).or_insert(place);
            }
            HostPattern::Any => self.any = self.any.or(Some(place)),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.like.is_empty()
    }

    /// The server for the name that a client asks for, in lower case: that of the name itself, of the longest wildcard, or of `*`,
    /// which also takes clients that ask for none (S-14, S-82).
    pub fn pick(&self, name: Option<&str>) -> Option<usize> {
        let found = name.and_then(|name| self.exact.get(name).or_else(|| self.wildcard(name)));
        found.copied().or(self.any)
    }

    fn wildcard(&self, name: &str) -> Option<&usize> {
        if self.suffixes.is_empty() {
            return None;
        }
        crate::table::suffixes(name, self.longest).find_map(|suffix| self.suffixes.get(suffix))
    }

    /// Whether a request for `host`, in lower case and without a port, came to the wrong place (S-38, P-05) on a connection that
    /// `server` took and whose client asked for `asked`; `found` says whether `server` has a route for it.
    pub fn is_misdirected(&self, server: usize, asked: Option<&str>, host: &str, found: bool) -> bool {
        if asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host)) {
            return false;
        }
        self.whose(server, host).is_misdirected(Told { named: asked.is_some(), found })
    }

    /// Whose a request for `host`, in lower case and without a port, is on a connection that `server` took.
    pub fn whose(&self, server: usize, host: &str) -> Whose {
        match self.pick(Some(host)) {
            None => Whose::Own,
            Some(other) if other == server => Whose::Own,
            Some(other) if self.like.get(other) == self.like.get(server) => Whose::Alike,
            Some(other) if self.demanding.get(other) == self.demanding.get(server) => Whose::Elsewhere,
            Some(_) => Whose::Guarded,
        }
    }
}

/// For each server the first one that is the same; those that end no TLS are the same as nobody.
fn first_of(all: &[Option<&Termination>], same: fn(&Termination, &Termination) -> bool) -> Vec<usize> {
    let alike = |one: Option<&Termination>, other: Option<&Termination>| match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, _) | (_, None) => false,
    };
    let first = |(place, one): (usize, &Option<&Termination>)| {
        all.iter().position(|other| alike(*one, *other)).unwrap_or(place)
    };
    all.iter().enumerate().map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{
        ClientAuth, Credential, ListenerId, ObjectKind, Origin, Service, TableId, TlsParameters, TlsServer,
        WorkloadName,
    };
    use std::sync::Arc;

    fn servers(of: &[(&str, &str)]) -> Servers {
        let id = ListenerId { workload: WorkloadName("ingress".into()), address: ([127, 0, 0, 1], 443).into() };
        let origin = Origin { kind: ObjectKind::Gateway, namespace: "a".into(), name: "b".into(), rule: "".into() };
        let server = |(names, credential): &(&str, &str)| TlsServer {
            mesh_only: false,
            origin: origin.clone(),
            names: names.split(' ').map(|name| HostPattern::parse(name).unwrap()).collect(),
            termination: (!credential.is_empty()).then(|| {
                Arc::new(Termination {
                    credential: Credential::Missing((*credential).into()),
                    client: ClientAuth::None,
                    parameters: TlsParameters::default(),
                    alpn: Vec::new(),
                })
            }),
            service: Service::Http(TableId { listener: id.clone(), server: None }),
        };
        let tls = of.iter().map(server).collect();
        Servers::build(&Listener {
            id: id.clone(),
            servers: Vec::new(),
            server_port: 443,
            plain: None,
            tls,
            edge: Arc::default(),
        })
    }

    #[test]
    fn s_14_the_most_specific_name_wins() {
        let servers = servers(&[("*.a.com", "x"), ("*.b.a.com", "x"), ("x.a.com y.com", "x")]);
        for (name, place) in [("x.a.com", 2), ("z.a.com", 0), ("z.b.a.com", 1), ("b.a.com", 0), ("y.com", 2)] {
            assert_eq!(servers.pick(Some(name)), Some(place), "{name}");
        }
        assert_eq!(servers.pick(Some("a.com")), None);
        assert_eq!(servers.pick(None), None);
    }

    #[test]
    fn s_82_a_server_for_all_takes_clients_that_name_nobody() {
        let servers = servers(&[("a.com", "x"), ("*", "x")]);
        assert_eq!((servers.pick(None), servers.pick(Some("b.com"))), (Some(1), Some(1)));
    }

    #[test]
    fn s_38_a_host_of_another_server_is_told_from_one_of_a_like_server() {
        let servers =
            servers(&[("*.a.com", "guest"), ("admin.a.com", "admin"), ("shop.a.com", "guest"), ("p.com", "")]);
        assert_eq!(servers.whose(0, "x.a.com"), Whose::Own);
        assert_eq!(servers.whose(0, "admin.a.com"), Whose::Elsewhere);
        assert_eq!(servers.whose(0, "shop.a.com"), Whose::Alike);
        assert_eq!(servers.whose(0, "p.com"), Whose::Guarded);
        assert_eq!(servers.whose(0, "nobody.com"), Whose::Own);
    }

    #[test]
    fn p_05_a_client_is_told_where_that_helps_it_or_keeps_it_out() {
        let told = |whose: Whose, named, found| whose.is_misdirected(Told { named, found });
        for (named, found) in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(!told(Whose::Own, named, found));
            assert_eq!(told(Whose::Alike, named, found), named && !found);
            assert_eq!(told(Whose::Elsewhere, named, found), named);
            assert_eq!(told(Whose::Guarded, named, found), named || found);
        }
    }
}
