//! Small documents by URL, for the control side: keys of issuers (RA-05), and tokens of authorization servers. One request on a connection of its own, bounded in time and size. It
//! follows no redirect, and connects to no address that is blocked: the name is resolved once, and each of its addresses is checked before
//! it is connected to.

use crate::dns::Dns;
use crate::tls::{self, Connector};
use ir::{ClientTls, IpRange, Sni, TlsParameters, UpstreamProtocol, Verify};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::address::{AddressClass, translated};
use wire::h1::response::{RequestKind, ResponseHead};
use wire::h1::{BodyReader, HeadLimits};

/// Octets that are read at a time.
const READ: usize = 16 << 10;

/// Addresses that documents are not fetched from.
#[derive(Debug, Clone, Default)]
pub enum Blocked {
    /// This machine, where the gateway's own ports for operators are, and link-local addresses, where clouds have their metadata. Private networks
    /// are not blocked: issuers inside of clusters are in use.
    #[default]
    OwnAndMetadata,
    /// These.
    Ranges(Vec<IpRange>),
}

impl Blocked {
    /// These ranges, and no others.
    pub fn of(ranges: impl IntoIterator<Item = IpRange>) -> Self {
        Self::Ranges(ranges.into_iter().collect())
    }

    /// Whether an address is one of them; those that no document can be at always are. An address that stands for another one is that one.
    fn has(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(six) => translated(six).map_or(address, IpAddr::from),
            IpAddr::V4(_) => address,
        };
        match (AddressClass::of(address), self) {
            (AddressClass::Unspecified | AddressClass::Multicast | AddressClass::Broadcast, _) => true,
            (class, Self::OwnAndMetadata) => {
                matches!(class, AddressClass::Loopback | AddressClass::LinkLocal | AddressClass::Metadata)
            }
            (_, Self::Ranges(ranges)) => ranges.iter().any(|range| range.contains(address)),
        }
    }
}

/// Why a document could not be fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Not an absolute URL of HTTP.
    #[error("`{0}` is not a URL of HTTP")]
    Url(String),
    /// The name has no address.
    #[error("`{0}` cannot be resolved: {1}")]
    Name(String, String),
    /// All addresses are blocked.
    #[error("the address {0} of `{1}` is blocked")]
    Blocked(IpAddr, String),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The TLS settings are not valid.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Not a response of HTTP.
    #[error("the response is not valid")]
    Malformed,
    /// Any status but 200.
    #[error("the status is {0}{1}")]
    Status(u16, &'static str),
    /// Too large.
    #[error("the response has more than {0} octets")]
    Size(usize),
    /// Too late.
    #[error("there was no response within {0:?}")]
    Timeout(Duration),
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    https: bool,
    /// Without brackets.
    host: &'a str,
    port: u16,
    authority: &'a str,
    target: String,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, rest) => (false, rest?),
        };
        if !rest.bytes().all(|octet| octet.is_ascii_graphic()) || rest.contains('#') {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let default = if https { 443 } else { 80 };
        let port = port.map_or(Some(default), |port| port.parse().ok())?;
        let valid = !host.is_empty() && port > 0 && !authority.contains(['@', ',', '\\', '"']);
        valid.then_some(Self { https, host, port, authority, target })
    }
}

/// What is fetched, and within which bounds.
#[derive(Clone, Copy)]
pub struct FetchRequest<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The body of a POST (`application/x-www-form-urlencoded`); `None` is a GET.
    pub form: Option<&'a str>,
    /// The value of the header `Authorization`, which has no character that a header cannot have.
    pub authorization: Option<&'a str>,
    /// From the resolution of the name to the end of the response.
    pub timeout: Duration,
    /// Of the body of the response.
    pub octets: usize,
}

impl<'a> FetchRequest<'a> {
    /// A GET.
    pub fn new(url: &'a str, timeout: Duration, octets: usize) -> Self {
        Self { url, form: None, authorization: None, timeout, octets }
    }

    fn head(&self, url: &Url<'_>) -> String {
        let Url { authority, target, .. } = url;
        let method = if self.form.is_some() { "POST" } else { "GET" };
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {authority}\r\nAccept: application/json\r\nUser-Agent: moongate\r\nConnection: close\r\n"
        );
        if let Some(form) = self.form {
            let length = form.len();
            head.push_str(&format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"));
        }
        if let Some(authorization) = self.authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}

/// Fetches documents.
#[derive(Debug)]
pub(crate) struct Fetcher {
    blocked: Blocked,
}

impl Fetcher {
    pub(crate) fn new(blocked: Blocked) -> Self {
        Self { blocked }
    }

    /// The document at a URL: the body of a response with the status 200.
    pub(crate) async fn fetch(&self, dns: &Dns, request: FetchRequest<'_>) -> Result<Vec<u8>, FetchError> {
        let parsed = Url::parse(request.url).ok_or_else(|| FetchError::Url(request.url.to_owned()))?;
        let fetched = tokio::time::timeout(request.timeout, self.ask(dns, &parsed, request)).await;
        fetched.unwrap_or(Err(FetchError::Timeout(request.timeout)))
    }

    async fn ask(&self, dns: &Dns, url: &Url<'_>, request: FetchRequest<'_>) -> Result<Vec<u8>, FetchError> {
        let mut stream = self.connect(dns, url).await?;
        let mut sent = request.head(url).into_bytes();
        sent.extend_from_slice(request.form.unwrap_or_default().as_bytes());
        if url.https {
            let name = tls::server_name(Some(url.host), url.host.parse().ok());
            let config = Arc::clone(&connector(url.host)?.config);
            let mut stream = TlsConnector::from(config).connect(name, stream).await?;
            stream.write_all(&sent).await?;
            return read(&mut stream, request.octets).await;
        }
        stream.write_all(&sent).await?;
        read(&mut stream, request.octets).await
    }

    /// Connects to the first address that is not blocked and accepts.
    async fn connect(&self, dns: &Dns, url: &Url<'_>) -> Result<TcpStream, FetchError> {
        let addresses = dns.lookup(url.host).await.map_err(|error| FetchError::Name(url.host.to_owned(), error))?;
        let mut last = FetchError::Name(url.host.to_owned(), "it has no addresses".to_owned());
        for address in addresses {
            if self.blocked.has(address) {
                last = FetchError::Blocked(address, url.host.to_owned());
                continue;
            }
            match TcpStream::connect(SocketAddr::new(address, url.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// TLS by the authorities of the system.
fn connector(host: &str) -> Result<Connector, rustls::Error> {
    static PARAMETERS: LazyLock<TlsParameters> = LazyLock::new(TlsParameters::default);
    let tls = ClientTls {
        sni: Sni::Name(host.into()),
        verify: Verify::Authorities { trust: None, by_sni: true },
        identity: None,
        key_pins: Vec::new(),
        parameters: PARAMETERS.clone(),
    };
    Connector::build(&tls, &UpstreamProtocol::Http1)
}

/// Reads a response up to the end of its body.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, octets: usize) -> Result<Vec<u8>, FetchError> {
    let (mut head, mut buffer) = (ResponseHead::default(), Vec::with_capacity(READ));
    let begin = loop {
        let parsed = head.parse(&buffer, RequestKind::Other, &HeadLimits::default());
        match parsed.map_err(|_| FetchError::Malformed)? {
            Some(length) if head.is_informational() => {
                buffer.drain(..length);
                head = head.reset();
            }
            Some(length) => break length,
            None if stream.read_buf(&mut buffer).await? == 0 => return Err(FetchError::Malformed),
            None => {}
        }
    };
    match head.status {
        200 => {}
        300..=399 => return Err(FetchError::Status(head.status, ", and redirects are not followed")),
        other => return Err(FetchError::Status(other, "")),
    }
    buffer.drain(..begin);
    let (mut reader, mut body) = (BodyReader::new(head.body), Vec::new());
    loop {
        loop {
            let step = reader.decode(&buffer).map_err(|_| FetchError::Malformed)?;
            body.extend_from_slice(buffer.get(step.data).unwrap_or_default());
            if body.len() > octets {
                return Err(FetchError::Size(octets));
            }
            buffer.drain(..step.consumed);
            if step.done || reader.is_done() {
                return Ok(body);
            }
            if step.consumed == 0 || buffer.is_empty() {
                break;
            }
        }
        let ended = match stream.read_buf(&mut buffer).await {
            Ok(read) => read == 0,
            // Servers that close without `close_notify` are common; a length or the last chunk tells whether something is missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !reader.ends_with_connection() => true,
            Err(error) => return Err(error.into()),
        };
        if ended {
            return if reader.ends_with_connection() { Ok(body) } else { Err(FetchError::Malformed) };
        }
    }
}

#[cfg(test)]
mod tests;
