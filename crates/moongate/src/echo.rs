//! `moongate echo`: a small backend that answers with what it received, as JSON.

use crate::cli::EchoArgs;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Serves until the process is asked to end.
pub(crate) fn serve(args: &EchoArgs) -> Result<()> {
    let runtime = crate::process::control_runtime()?;
    runtime.block_on(async {
        let mut ending = crate::signals::EndingSignals::install()?;
        let listen = args.listen;
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let mut tasks = JoinSet::new();
        let address = start(&mut tasks, listener, &args.name)?;
        crate::output::print(&format!("{} listens on http://{address}/\n", args.name))?;
        ending.next().await;
        Ok(())
    })
}

/// Starts a backend as one of `tasks`, on the present runtime; the address that it listens on.
pub(crate) fn start(tasks: &mut JoinSet<()>, listener: TcpListener, name: &str) -> Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let backend = answers(name, Map::new());
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, backend).await {
            tracing::error!(%error, "the echo service stopped");
        }
    });
    Ok(address)
}

/// The answers of a backend of this name, with what is known of the connection beside the request.
pub(crate) fn answers(name: &str, connection: Map<String, Value>) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Echo { name: name.to_owned(), connection }))
}

#[derive(Debug)]
struct Echo {
    name: String,
    connection: Map<String, Value>,
}

async fn answer(State(echo): State<Arc<Echo>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut seen = Map::new();
    for header in headers.keys() {
        let values: Vec<String> = headers
            .get_all(header)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        seen.insert(header.to_string(), values.join(",").into());
    }
    let mut told = serde_json::json!({
        "backend": echo.name,
        "method": method.as_str(),
        "path": uri.to_string(),
        "headers": seen,
        "body": String::from_utf8_lossy(&body),
    });
    if let Value::Object(told) = &mut told {
        told.extend(echo.connection.clone());
    }
    let text = serde_json::to_string_pretty(&told).unwrap_or_default() + "\n";
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
