//! The pages for operators: health, metrics, what is served, and what is wrong.

use crate::operators::{self, OperatorLimits};
use crate::page;
use crate::pipeline::{Current, Shared};
use crate::process;
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use dataplane::{DataPlane, Inherited};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

/// Whether traffic may be sent here: both the process and its configuration have to be ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Readiness>);

#[derive(Debug, Default)]
struct Readiness {
    /// From the first configuration that serves until the process drains.
    process: AtomicBool,
    /// Whether the listeners that the configuration asks for are open.
    serving: AtomicBool,
}

impl Health {
    /// The process begins, or ceases, to want traffic.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.0.process.store(ready, Ordering::Release);
    }

    /// The configuration has a listener that serves, or asks for none.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.0.serving.store(serving, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.0.process.load(Ordering::Acquire) && self.0.serving.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Pages {
    shared: Shared,
    health: Health,
    data_plane: Arc<DataPlane>,
}

impl Pages {
    /// What is served, and what is known at this moment of the names of its endpoints.
    fn current(&self) -> Current {
        Current { unresolved: self.data_plane.unresolved(), ..self.shared.get() }
    }
}

/// Serves `/healthz/ready` where Istio has it.
pub(crate) fn serve_ready(listener: TcpListener, limits: OperatorLimits, health: Health) -> Result<JoinHandle<()>> {
    let pages = Router::new().route("/healthz/ready", get(ready)).route("/healthz/live", get(live)).with_state(health);
    operators::serve(listener, pages, limits)
}

/// Serves all pages.
pub(crate) fn serve_admin(
    listener: TcpListener,
    limits: OperatorLimits,
    shared: Shared,
    health: Health,
    data_plane: Arc<DataPlane>,
) -> Result<JoinHandle<()>> {
    let pages = Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/config", get(config))
        .route("/report", get(report))
        .with_state(Pages { shared, health: health.clone(), data_plane })
        .merge(Router::new().route("/healthz/ready", get(ready)).route("/healthz/live", get(live)).with_state(health))
        .layer(middleware::from_fn(known_host));
    operators::serve(listener, pages, limits)
}

/// The socket of an address that `flag` gives: one that is listened on already, or a new one.
pub(crate) fn listen(address: SocketAddr, flag: &str, inherited: &mut Inherited) -> Result<TcpListener> {
    if let Some(socket) = inherited.take(address).into_iter().next() {
        return Ok(socket);
    }
    let bind = || {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(socket)
    };
    bind().with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
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

async fn index(State(pages): State<Pages>) -> Html<String> {
    let current = pages.current();
    Html(page::index(&current, pages.health.is_ready(), &pages.data_plane.listening(), &pages.data_plane.generations()))
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let current = pages.shared.get();
    let mut text = process::metrics();
    text.push_str(
        "# HELP moongate_config_generation Generation of the configuration.\n# TYPE moongate_config_generation gauge\n",
    );
    text.push_str(&format!("moongate_config_generation {}\n", current.generation));
    text.push_str("# HELP moongate_config_source_errors Configured paths that cannot be listed or read now; what they held before serves.\n");
    text.push_str("# TYPE moongate_config_source_errors gauge\n");
    text.push_str(&format!("moongate_config_source_errors {}\n", current.unavailable));
    text.push_str("# HELP moongate_config_seconds Time that a stage of the last change took.\n# TYPE moongate_config_seconds gauge\n");
    let stages = current.stages;
    for (name, time) in
        [("parse", stages.parse), ("collect", stages.collect), ("compile", stages.compile), ("apply", stages.apply)]
    {
        text.push_str(&format!("moongate_config_seconds{{stage=\"{name}\"}} {:.6}\n", time.as_secs_f64()));
    }
    text.push_str(&current.certificates.metrics());
    text.push_str(&pages.data_plane.metrics());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

async fn config(State(pages): State<Pages>) -> Response {
    json(&*pages.shared.get().snapshot)
}

async fn report(
    State(pages): State<Pages>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let current = pages.current();
    let diagnostics = current.diagnostics();
    let accepts_text = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/plain"));
    if accepts_text || query.get("format").is_some_and(|format| format == "text") {
        if diagnostics.is_empty() {
            return "no findings\n".into_response();
        }
        let lines = diagnostics.iter().map(|one| resources::render::line(one) + "\n");
        return lines.collect::<String>().into_response();
    }
    json(&diagnostics)
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
