//! Connections that begin with a PROXY header (S-112), in which the proxy in front sends the client's address.

use super::{Accepted, poll_read, reject};
use crate::conn::{Buffer, Stage, Timer};
use crate::metrics::add;
use std::future::poll_fn;
use std::task::Poll;
use wire::proxy_protocol::{self, Header};

impl Accepted {
    /// Serves a connection that has to begin with a PROXY header. It is closed without one, or if the sender is not trusted.
    pub(super) async fn serve_behind_proxy(mut self) {
        let (mut input, timer) = (self.worker.buffer(), self.tracked.timer());
        timer.set(self.worker.limits.client_hello_timeout);
        self.tracked.wait(Stage::FirstBytes);
        let header = if self.is_trusted() { self.read_proxy_header(&mut input, &timer).await } else { None };
        let Some(header) = header else {
            return add(&self.worker.metrics.headers_refused);
        };
        input.consume(header.length);
        if let Some(ends) = header.ends {
            (self.remote, self.local) = (ends.source, Some(ends.destination));
        }
        let services = self.listener.services();
        // Limits apply to the client's address, not to the proxy's.
        match self.worker.addresses.admit(self.remote.ip(), &services.mesh_settings) {
            Ok(address) => self.tracked.set_address(address),
            Err(rejected) => return reject(&self.worker, rejected),
        }
        if services.servers.is_empty() {
            let plain = services.plain.clone();
            drop(services);
            self.serve_plaintext(plain, input, timer).await;
        } else {
            drop(services);
            self.detect_protocol(input, timer).await;
        }
    }

    fn is_trusted(&self) -> bool {
        let services = self.listener.services();
        services.mesh_settings.proxy_protocol.as_ref().is_none_or(|setting| setting.trusts(self.remote.ip()))
    }

    /// Reads the PROXY header; `None` if it is missing, invalid or late.
    async fn read_proxy_header(&mut self, input: &mut Buffer, timer: &Timer) -> Option<Header> {
        poll_fn(|context| {
            loop {
                match proxy_protocol::parse(input.filled()) {
                    Ok(None) => {}
                    parsed => return Poll::Ready(parsed.ok().flatten()),
                }
                match poll_read(&mut self.stream, input, context) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(None),
                    Poll::Pending if timer.expired(context) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}
