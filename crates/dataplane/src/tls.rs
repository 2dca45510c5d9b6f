//! TLS of clients: builds the rustls configuration of a server from `ir`. Sockets belong to `conn` and `entry`.

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

/// Session tickets that a client receives with a handshake.
const TICKETS: usize = 1;

/// The TLS termination of one server.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// Its configuration.
    pub(crate) termination: Arc<Termination>,
    /// `None` while there is no usable certificate: handshakes fail (S-96).
    pub(crate) config: Option<Arc<ServerConfig>>,
    certificates: Option<Arc<Certificates>>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// The URI SAN of the server's certificate, if there is one (S-113).
    pub(crate) uri: Option<Box<str>>,
}

impl Acceptor {
    /// Builds the acceptor of a termination, or returns the one that there is. It keeps the certificates of the previous acceptor if the new ones are unusable (S-97), and its
    /// ticket key if the client authentication is the same.
    pub(crate) fn build(termination: &Arc<Termination>, before: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(same) = before.filter(|before| before.termination == *termination) {
            return Arc::clone(same);
        }
        let before = before.map(AsRef::as_ref);
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
        let termination = Arc::clone(termination);
        Arc::new(Self { termination, config: config.map(Arc::new), certificates, tickets, uri })
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

/// With client authentication there are no tickets: a resumed session would skip the verification of the certificate.
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
    // Istio's Envoys use the server's order of preference.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    Ok(config)
}
