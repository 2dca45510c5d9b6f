//! `moongate echo`: a small backend that answers with what it received, as JSON.

use crate::cli::EchoArgs;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
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
    let backend = Router::new().fallback(answer).with_state(Arc::<str>::from(name));
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, backend).await {
            tracing::error!(%error, "the echo service stopped");
        }
    });
    Ok(address)
}

async fn answer(State(name): State<Arc<str>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut seen = serde_json::Map::new();
    for header in headers.keys() {
        let values: Vec<String> = headers
            .get_all(header)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        seen.insert(header.to_string(), values.join(",").into());
    }
    let echo = serde_json::json!({
        "backend": &*name,
        "method": method.as_str(),
        "path": uri.to_string(),
        "headers": seen,
        "body": String::from_utf8_lossy(&body),
    });
    let text = serde_json::to_string_pretty(&echo).unwrap_or_default() + "\n";
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
