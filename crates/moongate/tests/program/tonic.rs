//! gRPC's client and server of Rust, with the gateway between them.

use super::clients::{gateway, grpc};
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

type Answers = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Bytes, Status>> + Send>>;

/// Messages are bytes as they are.
#[derive(Default, Clone)]
struct Octets;

impl Codec for Octets {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Sends every message back; `status:N` ends with that status, `many:N` is sent back so often, `sleep` never answered.
async fn answer(request: Request<Streaming<Bytes>>) -> Result<Response<Answers>, Status> {
    let told = request.metadata().get("x-told").cloned();
    let mut messages = request.into_inner();
    let (send, receive) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let text = String::from_utf8_lossy(&message).into_owned();
            let (word, number) = text.split_once(':').unwrap_or((&text, "1"));
            if word == "status" {
                let code = Code::from_i32(number.parse().unwrap());
                let _ = send.send(Err(Status::new(code, "as it was asked"))).await;
                return;
            }
            if word == "sleep" {
                send.closed().await;
                return;
            }
            let times = if word == "many" { number.parse().unwrap() } else { 1 };
            for _ in 0..times {
                if send.send(Ok(message.clone())).await.is_err() {
                    return;
                }
            }
        }
    });
    let answers: Answers = Box::pin(tokio_stream::wrappers::ReceiverStream::new(receive));
    let mut response = Response::new(answers);
    if let Some(told) = told {
        response.metadata_mut().insert("x-heard", told);
    }
    Ok(response)
}

async fn serve() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = tower::service_fn(|request: http::Request<tonic::body::Body>| async move {
        let handler = tower::service_fn(answer);
        Ok::<_, std::convert::Infallible>(tonic::server::Grpc::new(Octets).streaming(handler, request).await)
    });
    tokio::spawn(Server::builder().serve_with_incoming(service, TcpIncoming::from(listener)));
    port
}

struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn call(&mut self, path: &'static str, messages: &[&str]) -> Result<Vec<Bytes>, Status> {
        let messages: Vec<_> = messages.iter().map(|message| Bytes::copy_from_slice(message.as_bytes())).collect();
        let mut request = Request::new(tokio_stream::iter(messages));
        request.metadata_mut().insert("x-told", MetadataValue::from_static("so"));
        self.0.ready().await.unwrap();
        let response = self.0.streaming(request, PathAndQuery::from_static(path), Octets).await?;
        assert_eq!(response.metadata().get("x-heard").unwrap(), "so");
        response.into_inner().collect::<Result<Vec<_>, _>>().await
    }
}

#[test]
fn s_119_tonic_on_either_side() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (gateway, _folder) = gateway(&grpc(serve().await));
        let origin = "http://grpc.example".parse().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", gateway.address(8080))).unwrap();
        let channel = endpoint.origin(origin).connect().await.unwrap();
        let mut client = Client(tonic::client::Grpc::new(channel));
        let asked = client.call("/moongate.test/A", &[]).await.unwrap();
        assert_eq!(asked, Vec::<Bytes>::new());
        let large = "x".repeat(3_000_000);
        assert_eq!(client.call("/moongate.test/A", &["one", &large, ""]).await.unwrap(), ["one", &large, ""]);
        assert_eq!(client.call("/moongate.test/A", &["many:1000"]).await.unwrap().len(), 1000);
        for code in 1..=16 {
            let status = client.call("/moongate.test/A", &["one", &format!("status:{code}")]).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::from_i32(code), "as it was asked"));
        }
        // The responses of the gateway itself.
        for (path, code, message) in [
            ("/nowhere.A/B", Code::Unimplemented, ""),
            ("/empty.A/B", Code::Unavailable, "no healthy upstream"),
            ("/forbidden.A/B", Code::PermissionDenied, "not for you: 100%"),
        ] {
            let status = client.call(path, &["one"]).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (code, message), "{path}");
        }
        deadline(&mut client).await;
    });
}

/// The gateway ends what the client's deadline has ended.
async fn deadline(client: &mut Client) {
    let mut request = Request::new(tokio_stream::once(Bytes::from_static(b"sleep")).chain(tokio_stream::pending()));
    request.set_timeout(Duration::from_millis(100));
    client.0.ready().await.unwrap();
    let path = PathAndQuery::from_static("/moongate.test/A");
    let ended = match client.0.streaming(request, path, Octets).await {
        Ok(response) => response.into_inner().next().await.unwrap().unwrap_err(),
        Err(status) => status,
    };
    // The head of the response was sent, so the trailers have the status. Tonic's own timer may report it first.
    let told = [(Code::DeadlineExceeded, "upstream request timeout"), (Code::Cancelled, "Timeout expired")];
    assert!(told.contains(&(ended.code(), ended.message())), "{ended:?}");
}
