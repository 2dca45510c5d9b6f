//! TLS of clients: what a server presents and demands, worked out of `ir` for rustls. Reading and writing is `conn`'s and `accept`'s.

mod certificates;
mod clients;
mod negotiated;
mod stricter;
mod xfcc;

pub(crate) use certificates::Certificates;
pub(crate) use negotiated::NegotiatedTls;
pub(crate) use stricter::is_stricter;
pub(crate) use xfcc::xfcc_header;

use ir::{ClientAuth, Credential, Termination};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use std::sync::Arc;

/// Tickets that a client gets with a handshake, to come back with.
const TICKETS: usize = 1;

/// How TLS is taken off for one server.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// What it was made of.
    pub(crate) termination: Arc<Termination>,
    /// `None` while there is no certificate that could be presented: handshakes fail (S-96).
    pub(crate) config: Option<Arc<ServerConfig>>,
    certificates: Option<Arc<Certificates>>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// The URI of the certificate that is presented, if it has one (S-113).
    pub(crate) uri: Option<Box<str>>,
}

impl Acceptor {
    /// Works a termination out. What the acceptor before had stays where it still serves: the certificates when the new ones cannot
    /// be used (S-97), and the key of tickets while the same clients are trusted.
    pub(crate) fn build(termination: &Arc<Termination>, before: Option<&Self>) -> Self {
        let certificates = certificates(&termination.credential, before);
        let tickets = tickets(termination, before);
        let config = certificates.as_ref().and_then(|certificates| {
            let built = config(termination, certificates, tickets.as_ref());
            built.inspect_err(|error| tracing::error!(%error, "a server's TLS settings cannot be used")).ok()
        });
        let uri = match &termination.credential {
            Credential::Ready(identities) => identities.first().and_then(|one| xfcc::uri(&one.chain.first()?.0)),
            Credential::Broken(_) => before.and_then(|before| before.uri.clone()),
            Credential::Missing(_) => None,
        };
        Self { termination: Arc::clone(termination), config: config.map(Arc::new), certificates, tickets, uri }
    }
}

fn certificates(credential: &Credential, before: Option<&Acceptor>) -> Option<Arc<Certificates>> {
    let kept = || before.and_then(|before| before.certificates.clone());
    match credential {
        Credential::Ready(identities) => match Certificates::build(identities) {
            Ok(certificates) => Some(Arc::new(certificates)),
            Err(error) => {
                tracing::error!(%error, "a certificate cannot be presented; the one before is kept");
                kept()
            }
        },
        Credential::Broken(_) => kept(),
        Credential::Missing(_) => None,
    }
}

/// Clients that have to prove who they are do so each time (a ticket would skip the look at the certificate).
fn tickets(termination: &Termination, before: Option<&Acceptor>) -> Option<Arc<dyn ProducesTickets>> {
    if termination.client != ClientAuth::None {
        return None;
    }
    let kept = before.filter(|before| before.termination.client == termination.client);
    kept.and_then(|before| before.tickets.clone()).or_else(|| rustls::crypto::aws_lc_rs::Ticketer::new().ok())
}

fn config(
    termination: &Termination,
    certificates: &Arc<Certificates>,
    tickets: Option<&Arc<dyn ProducesTickets>>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = upstream::parameters::provider(&termination.parameters);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&upstream::parameters::versions(&termination.parameters))?;
    let resolver = Arc::clone(certificates);
    let mut config = match clients::verifier(&termination.client, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver),
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
    };
    config.alpn_protocols = termination.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if let Some(tickets) = tickets {
        config.ticketer = Arc::clone(tickets);
        config.send_tls13_tickets = TICKETS;
    }
    // A server that prefers its own order is what Istio's Envoys are.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    Ok(config)
}
