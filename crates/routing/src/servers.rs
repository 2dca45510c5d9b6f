//! Selects the TLS server of a connection by SNI, and finds requests that belong to another server.

use crate::names::NameIndex;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use ir::{ClientAuth, Credential, Listener, Termination};

/// The TLS servers of one listener by name. A server is identified by its index in the listener.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    by_name: NameIndex<usize>,
    /// For each server, the first server with the same TLS settings.
    same_tls: Vec<usize>,
    /// For each server, the first server with the same client authentication.
    same_client_auth: Vec<usize>,
}

/// The owner of a request's host, seen from the server that accepted the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOwner {
    /// The same server, or no server has the name.
    Own,
    /// Another server with the same certificates and client authentication.
    SameTls,
    /// Another server with other certificates and the same client authentication.
    OtherCertificate,
    /// Another server with other client authentication, or with TLS passthrough (S-38).
    OtherClientAuth,
}

/// Facts about a request and its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// Whether the client sent an SNI.
    pub has_sni: bool,
    /// Whether a route of the connection's server matches the request.
    pub has_route: bool,
}

impl HostOwner {
    /// Whether the request is rejected with 421 (S-38, P-05). As in Istio, a request may be served here only if the owner of its host would
    /// have accepted the client too. A client without an SNI would connect to the same server again, so a 421 does not help it.
    pub fn is_misdirected(self, facts: ConnectionFacts) -> bool {
        match self {
            Self::Own => false,
            Self::SameTls => facts.has_sni && !facts.has_route,
            Self::OtherCertificate => facts.has_sni,
            Self::OtherClientAuth => facts.has_sni || facts.has_route,
        }
    }
}

impl Servers {
    /// The servers of a listener.
    pub fn build(listener: &Listener) -> Self {
        let mut servers = Self::default();
        for (place, server) in listener.tls.iter().enumerate() {
            for name in &server.names {
                servers.by_name.put(name, place);
            }
        }
        let terminations: Vec<Option<&Termination>> =
            listener.tls.iter().map(|server| server.termination.as_deref()).collect();
        servers.same_tls = first_of(&terminations, credential_hint, |one, other| one == other);
        servers.same_client_auth = first_of(&terminations, client_hint, |one, other| one.client == other.client);
        servers
    }

    /// Whether there are no servers.
    pub fn is_empty(&self) -> bool {
        self.same_tls.is_empty()
    }

    /// The server for an SNI in lower case: by the exact name, the longest wildcard, or `*`, which also matches clients without an SNI (S-14,
    /// S-82).
    pub fn pick(&self, name: Option<&str>) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether a request for `host`, in lower case and without a port, is misdirected (S-38, P-05) on a connection that `server` accepted with
    /// the SNI `sni`; `has_route` says whether `server` has a route for it.
    pub fn is_misdirected(&self, server: usize, sni: Option<&str>, host: &str, has_route: bool) -> bool {
        // Nearly all clients send the name in lower case.
        if sni.is_some_and(|sni| sni == host || sni.eq_ignore_ascii_case(host)) {
            return false;
        }
        self.owner_of(server, host).is_misdirected(ConnectionFacts { has_sni: sni.is_some(), has_route })
    }

    /// The owner of `host`, in lower case and without a port, seen from `server`.
    pub fn owner_of(&self, server: usize, host: &str) -> HostOwner {
        if self.same_tls.len() == 1 {
            return HostOwner::Own;
        }
        match self.pick(Some(host)) {
            None => HostOwner::Own,
            Some(other) if other == server => HostOwner::Own,
            Some(other) if self.same_tls.get(other) == self.same_tls.get(server) => HostOwner::SameTls,
            Some(other) if self.same_client_auth.get(other) == self.same_client_auth.get(server) => {
                HostOwner::OtherCertificate
            }
            Some(_) => HostOwner::OtherClientAuth,
        }
    }
}

/// For each server, the first server that is `same`. A server with TLS passthrough equals no other. Servers are compared only where they have the
/// same hint: a listener may have thousands of certificates.
fn first_of(
    all: &[Option<&Termination>],
    hint: fn(&Termination) -> Option<&[u8]>,
    same: fn(&Termination, &Termination) -> bool,
) -> Vec<usize> {
    let mut firsts = HashMap::<_, Vec<(usize, &Termination)>, RandomState>::default();
    let mut found = Vec::with_capacity(all.len());
    for (place, one) in all.iter().enumerate() {
        let Some(one) = one else {
            found.push(place);
            continue;
        };
        let alike = firsts.entry(hint(one)).or_default();
        let first = alike.iter().find(|(_, other)| same(one, other)).map(|(first, _)| *first);
        if first.is_none() {
            alike.push((place, one));
        }
        found.push(first.unwrap_or(place));
    }
    found
}

/// The signature of the first certificate ends it, and hardly two certificates have the same.
fn credential_hint(termination: &Termination) -> Option<&[u8]> {
    const END: usize = 32;
    let Credential::Ready(identities) = &termination.credential else { return None };
    let certificate = &identities.first()?.chain.first()?.0;
    certificate.get(certificate.len().saturating_sub(END)..)
}

/// The same of the first authority.
fn client_hint(termination: &Termination) -> Option<&[u8]> {
    match &termination.client {
        ClientAuth::Optional(trust) | ClientAuth::Required(trust) => trust.authorities.first().map(|first| &*first.0),
        ClientAuth::None | ClientAuth::Unverified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{HostPattern, ListenerId, ObjectKind, Origin, Service, TableId, TlsParameters, TlsServer, WorkloadName};
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
            policy_port: 443,
            original_destination: None,
            plain: None,
            tls,
            mesh_settings: Arc::default(),
            policies: ir::policy::Policies::default(),
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
        assert_eq!(servers.owner_of(0, "x.a.com"), HostOwner::Own);
        assert_eq!(servers.owner_of(0, "admin.a.com"), HostOwner::OtherCertificate);
        assert_eq!(servers.owner_of(0, "shop.a.com"), HostOwner::SameTls);
        assert_eq!(servers.owner_of(0, "p.com"), HostOwner::OtherClientAuth);
        assert_eq!(servers.owner_of(0, "nobody.com"), HostOwner::Own);
    }

    #[test]
    fn p_05_a_client_is_told_where_that_helps_it_or_keeps_it_out() {
        let facts = |owner: HostOwner, has_sni, has_route| owner.is_misdirected(ConnectionFacts { has_sni, has_route });
        for (has_sni, has_route) in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(!facts(HostOwner::Own, has_sni, has_route));
            assert_eq!(facts(HostOwner::SameTls, has_sni, has_route), has_sni && !has_route);
            assert_eq!(facts(HostOwner::OtherCertificate, has_sni, has_route), has_sni);
            assert_eq!(facts(HostOwner::OtherClientAuth, has_sni, has_route), has_sni || has_route);
        }
    }
}
