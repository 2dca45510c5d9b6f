//! Clients of HTTP/2 over TLS. After GOAWAY a connection gets no further request, and what is under way on it is waited for (RFC 9113 §6.8).

use super::client::{Client, LONGEST, PAUSE};
use crate::secured::AnyCertificate;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::Request;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A client of one host.
pub(super) struct Http2 {
    /// It has a thread, so that frames are answered between requests, too.
    runtime: std::io::Result<Runtime>,
    address: SocketAddr,
    keeps: bool,
    kept: Option<SendRequest<Bytes>>,
}

impl Http2 {
    pub(super) fn new(address: SocketAddr, keeps: bool) -> Self {
        Self { runtime: runtime(), address, keeps, kept: None }
    }
}

impl Client for Http2 {
    fn ask(&mut self, host: &str) -> Result<Option<String>, String> {
        let runtime = self.runtime.as_ref().map_err(ToString::to_string)?;
        let begun = Instant::now();
        loop {
            let kept = self.kept.take();
            let answer = runtime.block_on(async { timeout(LONGEST, exchange(self.address, host, kept)).await });
            match answer.map_err(|_| "no answer in time".to_owned())? {
                Ok((sender, version)) => {
                    self.kept = self.keeps.then_some(sender);
                    return Ok(version);
                }
                // No answer is lost: the request is sent again on another connection.
                Err(error) if is_unprocessed(&error) && begun.elapsed() < LONGEST => std::thread::park_timeout(PAUSE),
                Err(error) => return Err(format!("{error:#}")),
            }
        }
    }
}

/// One request, on a connection that was kept or on a new one.
async fn exchange(
    address: SocketAddr,
    host: &str,
    kept: Option<SendRequest<Bytes>>,
) -> Result<(SendRequest<Bytes>, Option<String>)> {
    let sender = match kept {
        Some(kept) => kept,
        None => connect(address, host).await?,
    };
    let mut sender = sender.ready().await?;
    let request = Request::get(format!("https://{host}/")).body(())?;
    let (response, _) = sender.send_request(request, true)?;
    let (status, version, body) = read(response).await?;
    ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&body));
    Ok((sender, version))
}

/// Status, version and body of a response.
async fn read(response: ResponseFuture) -> Result<(u16, Option<String>, Vec<u8>)> {
    let (head, mut body) = response.await?.into_parts();
    let version = head.headers.get("x-version").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        all.extend_from_slice(&part);
    }
    Ok((head.status.as_u16(), version, all))
}

/// Whether the server has not processed a request: it came behind the last one that GOAWAY has named or was not sent any more, or was refused.
fn is_unprocessed(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<h2::Error>() else { return false };
    let is_named = |reason| error.is_remote() && error.reason() == Some(reason);
    error.is_go_away() && is_named(Reason::NO_ERROR) || error.is_reset() && is_named(Reason::REFUSED_STREAM)
}

async fn connect(address: SocketAddr, host: &str) -> Result<SendRequest<Bytes>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let mut config =
        builder.with_custom_certificate_verifier(Arc::new(AnyCertificate::default())).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 is not agreed on");
    let (sender, connection) = h2::client::handshake(stream).await?;
    // Its error is that of each stream, too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// Whether the server has sent GOAWAY.
fn is_going_away(runtime: &Runtime, sender: &mut SendRequest<Bytes>) -> bool {
    let polled = runtime.block_on(poll_fn(|context| Poll::Ready(sender.poll_ready(context))));
    matches!(polled, Poll::Ready(Err(error)) if error.is_go_away() && error.is_remote())
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// A POST whose body is under way.
#[derive(Debug)]
pub struct OpenStream {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    body: SendStream<Bytes>,
    response: ResponseFuture,
}

impl OpenStream {
    /// Begins one on a connection of its own.
    pub fn start(address: SocketAddr, host: &str) -> Result<Self> {
        let runtime = runtime()?;
        let (sender, response, body) = runtime.block_on(async {
            let mut sender = connect(address, host).await?.ready().await?;
            let request = Request::post(format!("https://{host}/")).body(())?;
            let (response, body) = sender.send_request(request, false)?;
            anyhow::Ok((sender, response, body))
        })?;
        Ok(Self { runtime, sender, body, response })
    }

    /// Sends a part of the body.
    pub fn send(&mut self, part: &str) -> Result<()> {
        Ok(self.body.send_data(Bytes::copy_from_slice(part.as_bytes()), false)?)
    }

    /// Whether the server has announced the end of the connection: GOAWAY.
    pub fn is_going_away(&mut self) -> bool {
        is_going_away(&self.runtime, &mut self.sender)
    }

    /// Ends the body; status and body of the response.
    pub fn end(mut self) -> Result<(u16, String)> {
        self.body.send_data(Bytes::new(), true)?;
        let response = self.runtime.block_on(async { timeout(LONGEST, read(self.response)).await });
        let (status, _, body) = response.context("no answer in time")??;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secured::Certificates;
    use crate::wait;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// Serves connections in turn: the first ends in order after its answer, the second refuses its request, the third is cut off at its second
    /// request. An answer's version is the number of the connection.
    async fn serve(listener: TcpListener, tls: TlsAcceptor) {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(tls.accept(stream).await.unwrap()).await.unwrap();
            let mut answered = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if number == 1 {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                if answered == 1 {
                    break;
                }
                let answer = http::Response::builder().header("x-version", number).body(()).unwrap();
                respond.send_response(answer, true).unwrap();
                answered += 1;
                if number == 0 {
                    connection.graceful_shutdown();
                }
            }
        }
    }

    #[test]
    fn what_is_not_processed_is_sent_again_and_what_is_cut_off_has_failed() {
        let servers = runtime().unwrap();
        let listener = servers.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut tls = (*Certificates::of_project().unwrap().server("back0").unwrap()).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        servers.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls))));
        let mut client = Http2::new(address, true);
        assert_eq!(client.ask("a.test"), Ok(Some("0".to_owned())));
        let (runtime, kept) = (client.runtime.as_ref().unwrap(), client.kept.as_mut().unwrap());
        wait::until("the connection ends", || is_going_away(runtime, kept));
        assert_eq!(client.ask("a.test"), Ok(Some("2".to_owned())));
        assert!(client.ask("a.test").is_err());
    }
}
