//! The pages for operators: health, metrics, what is served, and what is wrong.

use crate::accept::{MediaType, preference};
use crate::cli::ServeArgs;
use crate::current::{Current, Shared};
use crate::gateway_services::{self, Open};
use crate::get::OBJECTS;
use crate::metrics::{self, Format};
use crate::operators::{self, OperatorLimits};
use crate::page;
use crate::readiness::Health;
use crate::written;
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use compiler::Workload;
use dataplane::{DataPlane, Inherited};
use ir::ListenerId;
use resources::api::{ALL, ApiResource};
use resources::key::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The path of readiness, as with Istio's agent.
pub(crate) const READINESS: &str = "/healthz/ready";
/// The path of the metrics where Istio's scrapers look.
pub(crate) const SCRAPED_METRICS: &str = "/stats/prometheus";

const TEXT: MediaType = MediaType { main: "text", sub: "plain", version: None };
const JSON: MediaType = MediaType { main: "application", sub: "json", version: None };

#[derive(Clone)]
struct Pages {
    shared: Shared,
    health: Health,
    data_plane: Arc<DataPlane>,
    /// Those whose Services are shown although they may be no objects: none in a cluster, which has its own.
    without_services: Arc<[Workload]>,
    ready_at: SocketAddr,
}

impl Pages {
    /// What is served, and what is known at this moment of the names of its endpoints and the keys of its issuers.
    fn current(&self) -> Current {
        let (unresolved, keys_unavailable) = (self.data_plane.unresolved(), self.data_plane.keys_unavailable());
        Current { unresolved, keys_unavailable, ..self.shared.get() }
    }
}

/// The sockets of the ports for operators.
pub(crate) struct Sockets {
    ready: TcpListener,
    admin: TcpListener,
    /// Those of `--istio-ports`: the agent's and the proxy's.
    istio: Option<(TcpListener, TcpListener)>,
}

/// The bound addresses of the ports for operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorAddresses {
    pub(crate) admin: SocketAddr,
    pub(crate) ready: SocketAddr,
    /// Those of `--istio-ports`: the agent's and the proxy's.
    pub(crate) istio: Option<(SocketAddr, SocketAddr)>,
}

impl Sockets {
    /// Opens them, or takes those that are listened on already.
    pub(crate) fn open(args: &ServeArgs, inherited: &mut Inherited) -> Result<Self> {
        let mut listen = |address, flag| listen(address, flag, inherited);
        let ready = listen(args.ready, "--ready")?;
        let admin = listen(args.admin, "--admin")?;
        let istio = match args.istio_ports {
            Some(ports) => Some((listen(ports.agent, "--istio-ports")?, listen(ports.proxy, "--istio-ports")?)),
            None => None,
        };
        Ok(Self { ready, admin, istio })
    }

    /// The addresses that they are bound to.
    pub(crate) fn addresses(&self) -> io::Result<OperatorAddresses> {
        let istio = match &self.istio {
            Some((agent, proxy)) => Some((agent.local_addr()?, proxy.local_addr()?)),
            None => None,
        };
        Ok(OperatorAddresses { admin: self.admin.local_addr()?, ready: self.ready.local_addr()?, istio })
    }

    /// The same sockets once more, for a process that follows.
    pub(crate) fn to_hand_over(&self) -> io::Result<Vec<TcpListener>> {
        let of_istio = self.istio.iter().flat_map(|(agent, proxy)| [agent, proxy]);
        [&self.ready, &self.admin].into_iter().chain(of_istio).map(TcpListener::try_clone).collect()
    }

    /// Serves the pages of each port, each in a task. Aborting them closes the ports; connections that there are then go on.
    /// `without_services`: workloads whose Services are shown although they may be no objects.
    pub(crate) fn serve(
        self,
        limits: OperatorLimits,
        shared: Shared,
        health: Health,
        data_plane: Arc<DataPlane>,
        without_services: Arc<[Workload]>,
    ) -> Result<JoinSet<()>> {
        let ready_at = self.ready.local_addr()?;
        let pages = Pages { shared, health: health.clone(), data_plane, without_services, ready_at };
        let health_pages = || {
            let pages = Router::new().route(READINESS, get(ready)).route("/healthz/live", get(live));
            pages.with_state(health.clone())
        };
        let admin = Router::new()
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/config", get(config))
            .route("/report", get(report))
            .route(OBJECTS, get(objects))
            .with_state(pages.clone())
            .merge(health_pages())
            .layer(middleware::from_fn(known_host));
        let mut ports = vec![(self.ready, health_pages()), (self.admin, admin)];
        if let Some((agent, proxy)) = self.istio {
            // No `known_host` here: scrapers name a Pod or a Service, and the operator has opened these ports to the network. They show
            // no more than the metrics.
            let scraped = Router::new().route(SCRAPED_METRICS, get(metrics)).with_state(pages);
            let ready = Router::new().route(READINESS, get(ready)).with_state(health);
            ports.extend([(agent, scraped.clone().merge(ready)), (proxy, scraped)]);
        }
        let mut tasks = JoinSet::new();
        for (socket, pages) in ports {
            operators::serve(&mut tasks, socket, pages, limits)?;
        }
        Ok(tasks)
    }
}

/// The socket of an address that `flag` gives: one that is listened on already, or a new one.
fn listen(address: SocketAddr, flag: &str, inherited: &mut Inherited) -> Result<TcpListener> {
    if let Some(socket) = inherited.take(address).into_iter().next() {
        return Ok(socket);
    }
    dataplane::listen(address)
        .with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

/// A page of the web that resolves its own name to this address may not read these pages: the Host has to be an address or
/// a name of this machine.
async fn known_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if address || name == "localhost" {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "These pages are served to addresses and to localhost alone.\n").into_response()
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn index(State(pages): State<Pages>) -> Response {
    let page = move || {
        let current = pages.current();
        page::index(&current, pages.health.is_ready(), &pages.data_plane.listening(), &pages.data_plane.generations())
    };
    made(page).await.map(Html).into_response()
}

/// What `make` makes, on a thread that may wait for files.
async fn made<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Result<T, (StatusCode, &'static str)> {
    let failed = |_| (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.\n");
    tokio::task::spawn_blocking(make).await.map_err(failed)
}

async fn metrics(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let format = Format::of(&headers);
    let text = metrics::render(&metrics::registry(&pages.shared.get(), &pages.data_plane), format);
    ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")], text).into_response()
}

async fn config(State(pages): State<Pages>) -> Response {
    json(&*pages.shared.get().snapshot)
}

async fn report(
    State(pages): State<Pages>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let as_text = preference(&headers, TEXT) > preference(&headers, JSON)
        || query.get("format").is_some_and(|format| format == "text");
    let report = move || {
        let current = pages.current();
        let mut diagnostics = current.diagnostics();
        current.locate(&mut diagnostics);
        if !as_text {
            return json(&diagnostics);
        }
        if diagnostics.is_empty() {
            return "no findings\n".into_response();
        }
        let lines = diagnostics.iter().map(|one| resources::render::line(one) + "\n");
        lines.collect::<String>().into_response()
    };
    made(report).await.into_response()
}

/// The objects of the kinds that are asked for, all without any, as a list; values of Secrets are left out.
async fn objects(State(pages): State<Pages>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let list = move || {
        let named = query.get("kinds").map(|kinds| kinds.split(',').collect::<Vec<_>>());
        let is_asked = |one: &&ApiResource| named.as_ref().is_none_or(|named| named.contains(&one.singular));
        let kinds: BTreeSet<Kind> = ALL.iter().filter(is_asked).map(|one| one.kind).collect();
        let current = pages.shared.get();
        let mut all = written::objects(&current.set, &current.streams, &kinds);
        if kinds.contains(&Kind::Service) {
            let open = |workload: &Workload| open(&current, workload, pages.ready_at);
            gateway_services::add(&mut all, &current.set, &pages.without_services, Some(&open));
        }
        all.iter_mut().for_each(|(object, value)| written::redact(object, value));
        let items: Vec<_> = all.into_iter().map(|(_, value)| value).collect();
        json(
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}),
        )
    };
    made(list).await.into_response()
}

/// What a workload listens on.
fn open(current: &Current, workload: &Workload, ready: SocketAddr) -> Open {
    let of_workload = current.listening.iter().filter(|(id, _)| id.workload == workload.name);
    let server =
        |(id, address): &(ListenerId, SocketAddr)| Some((current.snapshot.listeners.get(id)?.server_port, *address));
    Open { servers: of_workload.filter_map(server).collect(), ready: Some(ready) }
}

fn json<T: serde::Serialize>(value: &T) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
