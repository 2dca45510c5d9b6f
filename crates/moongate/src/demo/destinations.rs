//! The destinations of the egress demo, all at one address: HTTP, HTTPS with a certificate for whatever name is asked for, a forward proxy of
//! somebody else (CONNECT), and TCP that sends back the first line. Which it is, the first octet tells.

use super::authority::Authority;
use crate::echo;
use anyhow::{Context, Result, bail};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Map, Value};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

/// The one name whose clients have to show a certificate: that of Istio's example of mutual TLS.
const DEMANDING: &str = "my-nginx.mesh-external.svc.cluster.local";
/// The first octet of TLS.
const HANDSHAKE: u8 = 22;
/// Octets of the longest head of CONNECT, and of the longest line of TCP.
const LONGEST: usize = 8192;
/// Connections at once.
const CONNECTIONS: usize = 256;
/// How long a connection lasts at the most.
const AGE: Duration = Duration::from_secs(300);

/// Starts the destinations in one of `tasks`, on the present runtime; where they listen.
pub(super) fn start(tasks: &mut JoinSet<()>, listener: TcpListener, authority: Authority) -> Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let destinations = Arc::new(Destinations::new(authority)?);
    tasks.spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                // The system has no descriptor; one becomes free when a connection ends.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let destinations = Arc::clone(&destinations);
            tokio::spawn(async move {
                // Whatever ends it, the client sees it.
                let _ = timeout(AGE, destinations.serve(stream)).await;
                drop(place);
            });
        }
    });
    Ok(address)
}

struct Destinations {
    authority: Authority,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Destinations {
    fn new(authority: Authority) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&authority.file)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(Self { authority, roots: Arc::new(roots), provider })
    }

    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let mut told = Map::new();
        loop {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Ok(());
            }
            match first {
                [HANDSHAKE] => return self.serve_tls(stream, told).await,
                // Of the methods of HTTP, CONNECT alone begins so.
                [b'C'] => {
                    let head = read_until(&mut stream, b"\r\n\r\n").await?;
                    let authority = head.split(' ').nth(1).unwrap_or_default();
                    told.insert("through_proxy_to".to_owned(), authority.into());
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                }
                [first] if first.is_ascii_uppercase() => return answer(stream, "http", told).await,
                _ => {
                    let line = read_until(&mut stream, b"\n").await?;
                    stream.write_all(line.as_bytes()).await?;
                    return Ok(stream.shutdown().await?);
                }
            }
        }
    }

    async fn serve_tls(&self, stream: TcpStream, mut told: Map<String, Value>) -> Result<()> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = start.client_hello().server_name().unwrap_or("localhost").to_owned();
        let stream = start.into_stream(self.config(&name)?).await?;
        told.insert("sni".to_owned(), name.into());
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        if let Some(client) = chain.first().and_then(|first| ir::x509::Certificate::parse(first).ok()) {
            told.insert("client_certificate".to_owned(), client.dns_names().collect::<Vec<_>>().join(",").into());
        }
        answer(stream, "https", told).await
    }

    /// A certificate for the name.
    fn config(&self, name: &str) -> Result<Arc<ServerConfig>> {
        let signed = self.authority.sign(&[name], ExtendedKeyUsagePurpose::ServerAuth)?;
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&self.provider));
        let builder = if name == DEMANDING { builder } else { builder.allow_unauthenticated() };
        let clients = builder.build()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions()?.with_client_cert_verifier(clients);
        let key = PrivateKeyDer::try_from(signed.key.serialize_der()).ok().context("the key of a destination")?;
        Ok(Arc::new(builder.with_single_cert(vec![signed.certificate.der().clone()], key)?))
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: &str,
    told: Map<String, Value>,
) -> Result<()> {
    let answers = TowerToHyperService::new(echo::answers(&format!("a local destination ({scheme})"), told));
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), answers).await?)
}

/// Reads octet by octet, so that what follows stays in the socket.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        if read.len() == LONGEST {
            bail!("more than {LONGEST} octets without an end");
        }
        read.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}
