//! A data plane with a snapshot that a test writes by hand.

mod actions;
mod setup;
mod snapshot;

pub(crate) use actions::{forward, mirroring, respond, retrying};
pub(crate) use setup::Setup;
pub(crate) use snapshot::{id, listener_id};

use crate::client::Client;
use dataplane::{ApplyOutcome, DataPlane, Inherited, Limits, LogTarget, Options, ReasonHeader, TrustedProxies};
use ir::{Delta, LogFormat};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
pub(crate) use testkit::wait::{TIMEOUT, until};
use tokio::runtime::Runtime;
use upstream::{Blocked, UpstreamStore};

/// The seed of random choices, so that each run makes the same ones.
const SEED: u64 = 1;

/// Any port of this machine.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running data plane.
pub(crate) struct Gateway {
    pub(crate) plane: DataPlane,
    runtime: Runtime,
}

impl Gateway {
    /// One listener whose only host, `*`, sends everything to this endpoint.
    pub(crate) fn to(endpoint: SocketAddr) -> Self {
        Self::serving(&Setup::default().host("*", forward("c", None)).cluster("c", &[endpoint]))
    }

    /// The same, with other limits.
    pub(crate) fn with_limits(endpoint: SocketAddr, limits: Limits) -> Self {
        let gateway = Self::start(1, limits, None);
        gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[endpoint]));
        gateway
    }

    pub(crate) fn serving(setup: &Setup) -> Self {
        let gateway = Self::start(1, Limits::default(), None);
        let outcome = gateway.apply(setup);
        assert_eq!(outcome.problems, []);
        gateway
    }

    pub(crate) fn start(workers: usize, limits: Limits, access_log: Option<(LogTarget, LogFormat)>) -> Self {
        Self::start_with(Options { workers, limits, access_log, ..Self::options() })
    }

    /// One worker, and these proxies in front.
    pub(crate) fn trusting(trusted_proxies: TrustedProxies, limits: Limits) -> Self {
        Self::start_with(Options { limits, trusted_proxies, ..Self::options() })
    }

    fn options() -> Options {
        Options {
            decision_log: None,
            workers: 1,
            limits: Limits::default(),
            trusted_proxies: TrustedProxies::default(),
            access_log: None,
            reasons: ReasonHeader::OnRequest,
            inherited: Inherited::default(),
            handover: false,
            seed: Some(SEED),
        }
    }

    fn start_with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = upstream::Settings { blocked: Blocked::of([]), ..upstream::Settings::default() };
        let upstream = UpstreamStore::new(&settings, runtime.handle().clone());
        Self { plane: DataPlane::start(options, upstream).unwrap(), runtime }
    }

    /// Applies a snapshot, and waits until every worker serves it.
    pub(crate) fn apply(&self, setup: &Setup) -> ApplyOutcome {
        let outcome = self.plane.apply(&setup.snapshot(), &Delta::default());
        assert!(self.plane.wait_applied(outcome.generation, TIMEOUT), "a worker does not serve the snapshot");
        outcome
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.plane.listening().into_iter().map(|(_, address)| address).collect()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addresses()[0])
    }

    /// Drains, and returns when that is done.
    pub(crate) fn drain(&self, grace: Duration) {
        self.runtime.block_on(self.plane.drain(grace));
    }

    /// All metrics as OpenMetrics text.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.plane.metrics()).unwrap();
        text
    }

    /// Waits until a line of the metrics contains this text: requests are counted after the client has the response.
    pub(crate) fn has_counted(&self, part: &str) {
        until(part, || self.metrics().contains(part));
    }

    /// The value of the first metric whose line begins so.
    pub(crate) fn metric(&self, beginning: &str) -> Option<f64> {
        let text = self.metrics();
        let line = text.lines().find(|line| line.starts_with(beginning))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}
