//! Tunnels that clients of a forward proxy ask for (CONNECT, RFC 9110 §9.3.6): connects to the destination, answers 200, and relays octets. To a port
//! of TLS, the ClientHello has to name the destination of the tunnel.

use super::client::{ClientConnection, Disposition};
use super::destination::unreachable;
use super::forward::abandon;
use super::local;
use super::plan::Routed;
use super::received_request::ReceivedRequest;
use super::tunnel;
use crate::codec::{ClientReset, Upstream};
use crate::conn::{Duplex, NoHello, Worker, boxed, choose, poll_client_hello};
use crate::metrics::add;
use crate::reasons::{Flags, Reject};
use crate::stream_info::StreamInfo;
use ir::ForwardProtocol;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use upstream::{
    ClusterState, ConnectContext, ConnectError, Connection, InFlight, Outcome, PickContext, PickedEndpoint,
};
use wire::destination::OwnedHost;
use wire::h1::{BodyLength, BodyReader};
use wire::hello::Hello;

/// Addresses of a destination that are tried.
const ATTEMPTS: usize = 4;
/// `unrecognized_name` as a fatal alert (RFC 6066 §3), in a record of TLS 1.2.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Why a tunnel was closed before anything was sent to the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientHelloError {
    /// The client did not send a ClientHello.
    NotTls,
    /// The ClientHello has no name.
    NoName,
    /// The ClientHello names another destination, or hides its name (ECH).
    OtherName,
    /// The client closed, or sent nothing in time.
    Silent,
}

impl ClientHelloError {
    fn detail(self) -> &'static str {
        match self {
            Self::NotTls => "egress_denied{not_tls}",
            Self::NoName => "egress_denied{no_sni}",
            Self::OtherName => "egress_denied{sni}",
            Self::Silent => "egress_no_client_hello",
        }
    }
}

/// Opens a tunnel and relays to its end.
pub(super) async fn run(
    request: &mut ReceivedRequest<'_>,
    routed: &Routed,
    host: &OwnedHost,
    info: &mut StreamInfo,
) -> Disposition {
    let worker = request.worker;
    let is_tls = routed.route.proxied == Some(ForwardProtocol::Tls);
    let Some(cluster) = &routed.cluster else {
        return boxed(|| fail(request, routed, Reject::NoCluster.into(), info)).await;
    };
    let reached = boxed(|| reach(worker, cluster, info));
    let (connection, _in_flight) = match request.conn.downstream.until_reset(reached).await {
        Err(ClientReset) => return abandon(&mut request.conn.downstream, info),
        Ok(Ok(reached)) => reached,
        Ok(Err(failure)) => return boxed(|| fail(request, routed, failure, info)).await,
    };
    let Some(_counted) = cluster.begin_request() else {
        return boxed(|| fail(request, routed, Reject::Overflow.into(), info)).await;
    };
    if !establish(request).await {
        return abandon(&mut request.conn.downstream, info);
    }
    (info.status, info.answered) = (200, true);
    if is_tls && let Err(error) = check_hello(request, host).await {
        (info.detail, info.is_denied) = (error.detail(), error != ClientHelloError::Silent);
        if error == ClientHelloError::Silent {
            info.flags |= Flags::DC;
        } else {
            alert(request.conn).await;
        }
        return Disposition::Close;
    }
    tunnel::run(request, Upstream::connection(connection), info).await
}

/// Tells the client that the tunnel is open; `false` if the client did not receive that. What came behind the head is the tunnel's.
async fn establish(request: &mut ReceivedRequest<'_>) -> bool {
    let ReceivedRequest { worker, conn, buffers, head } = request;
    buffers.body_in.put(conn.input.filled().get(*head..).unwrap_or_default());
    conn.input.truncate(*head);
    conn.downstream.send_connected(&mut buffers.down_out).is_ok()
        && local::write(worker, &mut conn.downstream, &conn.timer, &mut buffers.down_out).await
}

/// Why there is no connection.
struct ConnectFailure {
    reject: Reject,
    cause: String,
}

impl From<Reject> for ConnectFailure {
    fn from(reject: Reject) -> Self {
        Self { reject, cause: reject.reason().body.to_owned() }
    }
}

/// Connects to one of the addresses of the destination.
async fn reach(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    info: &mut StreamInfo,
) -> Result<(Connection, Option<InFlight>), ConnectFailure> {
    let mut tried: Vec<u64> = Vec::new();
    loop {
        let wanted = PickContext { hash: None, avoid: &tried, excluded: 0 };
        let picked = choose(worker, cluster, wanted).await;
        let PickedEndpoint { endpoint, in_flight } = picked.map_err(|none| Reject::from(&none))?;
        info.begin_attempt(&endpoint);
        let limit = cluster.config.timeouts.connect;
        let error = match cluster.connect(&endpoint, ConnectContext::default(), limit).await {
            Ok(connection) => {
                info.set_endpoint(&connection.endpoint);
                add(&worker.metrics.connected);
                worker.report(cluster, &connection.endpoint, Outcome::Connected);
                return Ok((connection, in_flight));
            }
            Err(error) => error,
        };
        add(&worker.metrics.connect_failed);
        if !error.is_own() {
            worker.report(cluster, &endpoint, Outcome::Disconnected);
        }
        info.transport_failure = error.to_string();
        let is_last = tried.len() + 1 >= cluster.endpoints().map_or(0, |all| all.len()).min(ATTEMPTS);
        if is_last || tried.contains(&endpoint.id) || matches!(error, ConnectError::Overflow) {
            return Err(ConnectFailure { reject: Reject::from(&error), cause: error.to_string() });
        }
        tried.push(endpoint.id);
    }
}

/// Answers that the destination cannot be reached.
async fn fail(
    request: &mut ReceivedRequest<'_>,
    routed: &Routed,
    failure: ConnectFailure,
    info: &mut StreamInfo,
) -> Disposition {
    info.flags |= failure.reject.reason().flags;
    let answer = unreachable(failure.reject, &failure.cause);
    request.buffers.request.body = BodyLength::None;
    local::answer(request, Some(routed.reply_route()), &answer, &mut BodyReader::Done, info).await
}

/// Reads the ClientHello, which has to name the destination; it stays in the buffer. A destination that is an address has no name.
async fn check_hello(request: &mut ReceivedRequest<'_>, host: &OwnedHost) -> Result<(), ClientHelloError> {
    let ReceivedRequest { worker, conn, buffers, .. } = request;
    conn.timer.set(worker.limits.client_hello_timeout);
    let hello = poll_fn(|context| {
        poll_client_hello(&mut buffers.body_in, &conn.timer, context, |input, context| {
            conn.downstream.poll_read(context, input.room()).map(|read| match read {
                Ok(count) => {
                    input.fill(count);
                    count > 0
                }
                Err(_) => false,
            })
        })
    });
    let hello = hello.await.map_err(|(NoHello::Closed | NoHello::Late)| ClientHelloError::Silent)?;
    let Hello::Tls(hello) = hello else { return Err(ClientHelloError::NotTls) };
    match (hello.server_name, host) {
        (None, OwnedHost::Address(_)) => Ok(()),
        (None, OwnedHost::Name(_)) => Err(ClientHelloError::NoName),
        (Some(name), OwnedHost::Name(host)) if name.eq_ignore_ascii_case(host) => Ok(()),
        (Some(name), OwnedHost::Address(address)) if *name == address.to_string() => Ok(()),
        (Some(_), _) => Err(ClientHelloError::OtherName),
    }
}

/// Tells the client that its name was not accepted, as far as it reads.
async fn alert(conn: &mut ClientConnection) {
    let written = poll_fn(|context| {
        let written = conn.downstream.poll_write(context, &UNRECOGNIZED_NAME);
        if written.is_ready() || conn.timer.expired(context) { Poll::Ready(()) } else { Poll::Pending }
    });
    written.await;
    let _ = conn.downstream.shutdown_write();
}
