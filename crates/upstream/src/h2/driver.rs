//! Drives an HTTP/2 connection to an endpoint: moves its frames, and detects with pings that the endpoint is lost.

use super::connection::H2Connection;
use super::outgoing::Outgoing;
use crate::coalesce::Coalesced;
use crate::connect::Stream;
use crate::watch::Watched;
use ::h2::client::Connection;
use ::h2::{Ping, PingPong};
use ir::KeepAlive;
use std::pin::pin;
use std::rc::Weak;

/// Drives a connection until it ends; it takes no streams afterwards.
pub(super) async fn drive(
    mut connection: Connection<Coalesced<Watched<Stream>>, Outgoing>,
    live: Weak<H2Connection>,
    keep_alive: Option<KeepAlive>,
) {
    let pings = keep_alive.and_then(|keep_alive| Some((connection.ping_pong()?, keep_alive)));
    let watched = live.clone();
    let lost = async move {
        match pings {
            Some((pings, keep_alive)) => lost(pings, keep_alive, &watched).await,
            None => std::future::pending().await,
        }
    };
    let (connection, lost) = (pin!(connection), pin!(lost));
    tokio::select! {
        _ = connection => {}
        () = lost => {}
    }
    if let Some(live) = live.upgrade() {
        live.closed.set(true);
        live.freed.notify_waiters();
    }
}

/// Returns when a ping has no answer (DR-23). No ping is sent while there is no stream.
async fn lost(mut pings: PingPong, keep_alive: KeepAlive, live: &Weak<H2Connection>) {
    loop {
        tokio::time::sleep(keep_alive.interval).await;
        if live.upgrade().is_none_or(|live| live.active.get() == 0) {
            continue;
        }
        let answered = tokio::time::timeout(keep_alive.timeout, pings.ping(Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}
