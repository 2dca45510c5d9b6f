//! A client and a backend that speak HTTP/2.

use crate::gateway::TIMEOUT;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, server};
use http::{HeaderMap, Request, Response};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Runs the part of a test that uses HTTP/2.
pub(crate) fn run<R>(part: impl Future<Output = R>) -> R {
    runtime().block_on(async { tokio::time::timeout(TIMEOUT, part).await.expect("waited too long") })
}

/// For connections that outlive a part.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until a condition holds, while other tasks of this thread run.
pub(crate) async fn meanwhile(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

/// Begins HTTP/2 in clear text.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    begin(TcpStream::connect(address).await.unwrap()).await
}

/// Begins HTTP/2 on a stream of bytes.
pub(crate) async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    send.ready().await.unwrap()
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.test{path}")).body(()).unwrap()
}

pub(crate) fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.test{path}")).body(()).unwrap()
}

/// Sends a request, and reads the complete response.
pub(crate) async fn ask(
    send: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Result<Whole, h2::Error> {
    let (response, mut stream) = send.send_request(request, body.is_empty() && trailers.is_none())?;
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), trailers.is_none())?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    let (parts, mut receive) = response.await?.into_parts();
    let (body, trailers) = read(&mut receive).await?;
    Ok(Whole { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

/// Reads a body to its end.
pub(crate) async fn read(receive: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = receive.data().await {
        let data = data?;
        receive.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok((body, receive.trailers().await?))
}

/// A backend that speaks HTTP/2 and nothing else.
pub(crate) struct Streams {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Streams {
    /// Runs a script for each request, with the number of the connection and the number of the request on it.
    pub(crate) fn start<F>(script: fn(Request<RecvStream>, SendResponse<Bytes>, (usize, usize)) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut builder = server::Builder::new();
                    builder.enable_connect_protocol();
                    let Ok(mut connection) = builder.handshake(stream).await else { return };
                    let mut count = 0;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(script(request, respond, (number, count)));
                        count += 1;
                    }
                });
            }
        });
        Self { address, connections, _runtime: runtime }
    }

    /// Responds to every request with its method, path, host, body and trailers.
    pub(crate) fn echo() -> Self {
        Self::start(|request, mut respond, _| async move {
            let (parts, mut receive) = request.into_parts();
            let Ok((body, trailers)) = read(&mut receive).await else { return };
            let protocol = parts.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().to_owned());
            let cookies: Vec<_> =
                parts.headers.get_all("cookie").iter().map(|c| c.to_str().unwrap().to_owned()).collect();
            let head = format!("{} {} {protocol:?} {cookies:?}", parts.method, parts.uri);
            let answer = Response::builder().header("x-head", head).header("x-scheme", parts.uri.scheme_str().unwrap());
            let mut send = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            send.send_data(body.into(), trailers.is_none()).unwrap();
            if let Some(trailers) = trailers {
                send.send_trailers(trailers).unwrap();
            }
        })
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
