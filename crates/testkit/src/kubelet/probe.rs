//! Probes: whether a container is ready, alive, or has started.

use crate::kube_api::{list, number, text};
use anyhow::{Result, bail};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// What a probe asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Start,
    Life,
    Readiness,
}

/// A probe, with Kubernetes' defaults.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    address: SocketAddr,
    /// What is sent, in HTTP; otherwise a connection is all that is asked for.
    request: Option<String>,
    delay: Duration,
    period: Duration,
    longest: Duration,
    successes: u64,
    failures: u64,
}

impl Probe {
    /// A probe of a container; `field` is `readinessProbe`, say.
    pub(super) fn read(container: &Value, field: &str, address: IpAddr) -> Result<Option<Self>> {
        let Some(probe) = container.get(field) else { return Ok(None) };
        let action = probe.get("httpGet").or_else(|| probe.get("tcpSocket"));
        let Some(action) = action else { bail!("{field} is neither httpGet nor tcpSocket") };
        let port = match action.get("port") {
            Some(Value::String(name)) => list(container, "/ports")
                .iter()
                .find(|port| text(port, "/name") == name)
                .map(|port| number(port, "/containerPort", 0)),
            Some(port) => port.as_u64(),
            None => None,
        };
        let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { bail!("{field} has no port") };
        let address = SocketAddr::from((address, port));
        let request = match probe.get("httpGet") {
            None => None,
            Some(get) if text(get, "/scheme") == "HTTPS" => bail!("{field} asks by HTTPS"),
            Some(get) => {
                let path = get.get("path").and_then(Value::as_str).unwrap_or("/");
                let headers: String = list(get, "/httpHeaders")
                    .iter()
                    .map(|header| format!("{}: {}\r\n", text(header, "/name"), text(header, "/value")))
                    .collect();
                Some(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}connection: close\r\n\r\n"))
            }
        };
        let seconds = |field: &str, otherwise: u64| Duration::from_secs(number(probe, field, otherwise));
        Ok(Some(Self {
            address,
            request,
            delay: seconds("/initialDelaySeconds", 0),
            period: seconds("/periodSeconds", 10),
            longest: seconds("/timeoutSeconds", 1),
            successes: number(probe, "/successThreshold", 1),
            failures: number(probe, "/failureThreshold", 3),
        }))
    }

    /// Asks again and again, and tells each new result; of a start only that it is over.
    pub(super) async fn run(self, purpose: Purpose, out: Sender<(Purpose, bool)>) {
        sleep(self.delay).await;
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_well = None;
        let (mut good, mut bad) = (0, 0);
        loop {
            ticks.tick().await;
            if matches!(timeout(self.longest, self.ask()).await, Ok(Some(()))) {
                (good, bad) = (good + 1, 0);
            } else {
                (good, bad) = (0, bad + 1);
            }
            let now = if good >= self.successes {
                true
            } else if bad >= self.failures {
                false
            } else {
                continue;
            };
            if is_well == Some(now) {
                continue;
            }
            is_well = Some(now);
            if out.send((purpose, now)).await.is_err() || (purpose, now) == (Purpose::Start, true) {
                return;
            }
        }
    }

    async fn ask(&self) -> Option<()> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let Some(request) = &self.request else { return Some(()) };
        stream.write_all(request.as_bytes()).await.ok()?;
        // `HTTP/1.1 200`
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.ok()?;
        let status: u16 = std::str::from_utf8(start.get(9..)?).ok()?.parse().ok()?;
        (200..400).contains(&status).then_some(())
    }
}
