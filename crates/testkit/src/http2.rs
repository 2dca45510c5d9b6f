//! Backends that speak nothing but HTTP/2, and answer as those of `backend` do.

use crate::backend::Seen;
use bytes::Bytes;
use http::{Request, Response};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A running backend; it ends when dropped.
#[derive(Debug)]
pub struct Http2 {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Http2 {
    /// Starts one on a free port of 127.0.0.1 that calls itself `number`; with a certificate it takes TLS whose client offers `h2`.
    pub fn start(number: u16, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let tls = tls.map(|config| {
            let mut config = (*config).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(meet(stream, number, tls.clone()));
            }
        });
        Ok(Self { address, runtime: Some(runtime) })
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn meet(stream: TcpStream, number: u16, tls: Option<TlsAcceptor>) {
    let Some(tls) = tls else { return serve(stream, Seen { backend: number, ..Seen::default() }).await };
    let Ok(stream) = tls.accept(stream).await else { return };
    let sni = stream.get_ref().1.server_name().map(str::to_owned);
    // Without the client's word for it, it would not be HTTP/2 that comes.
    if stream.get_ref().1.alpn_protocol().is_some() {
        serve(stream, Seen { backend: number, sni, ..Seen::default() }).await;
    }
}

/// Answers every stream of a connection with what came, beside what is known of the connection.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, known: Seen) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let body = serde_json::to_vec(&seen(&request, &known)).unwrap_or_default();
        let answer = Response::builder().header("x-from-backend", "yes").header("content-type", "application/json");
        let Ok(answer) = answer.body(()) else { return };
        if let Ok(mut sending) = respond.send_response(answer, false) {
            let _ = sending.send_data(Bytes::from(body), true);
        }
    }
}

fn seen(request: &Request<h2::RecvStream>, known: &Seen) -> Seen {
    let text = |value: &http::HeaderValue| value.as_bytes().iter().map(|b| char::from(*b)).collect::<String>();
    let mut headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    headers.extend(request.uri().authority().map(|authority| ("host".to_owned(), authority.to_string())));
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    Seen { method: request.method().to_string(), path, headers, ..known.clone() }
}
