//! The real program as a child process, with every port it uses chosen by the test.

use crate::client;
use crate::ports;
use crate::wait::TIMEOUT;
use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How to start it.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The binary.
    pub program: &'a Path,
    /// What it reads.
    pub paths: Vec<PathBuf>,
    /// Ports that the configuration names; each is mapped to a free one.
    pub ports: Vec<u16>,
    /// Further arguments.
    pub args: Vec<String>,
}

/// A running gateway; it is killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    map: BTreeMap<u16, u16>,
    /// Where the admin pages are.
    pub admin: SocketAddr,
    /// Where readiness is asked for.
    pub ready: SocketAddr,
    folder: tempfile::TempDir,
}

impl Gateway {
    /// Starts the program and waits until it says that it is ready.
    pub fn start(start: &Start<'_>) -> Result<Self> {
        let gateway = Self::spawn(start)?;
        gateway.wait_ready()?;
        Ok(gateway)
    }

    /// Starts the program without waiting.
    pub fn spawn(start: &Start<'_>) -> Result<Self> {
        Self::spawn_with(start, &[])
    }

    /// The same with further variables in its environment.
    pub fn spawn_with(start: &Start<'_>, environment: &[(&str, &str)]) -> Result<Self> {
        let map: BTreeMap<u16, u16> = start.ports.iter().map(|port| (*port, ports::free())).collect();
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (admin, ready) = (local(ports::free()), local(ports::free()));
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(start.program);
        command.arg("run").args(&start.paths).args(["--admin", &admin.to_string(), "--ready", &ready.to_string()]);
        if !map.is_empty() {
            let text: Vec<_> = map.iter().map(|(from, to)| format!("{from}={to}")).collect();
            command.args(["--port-map", &text.join(",")]);
        }
        command.args(&start.args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(environment.iter().copied());
        let child = command.spawn().with_context(|| format!("cannot start {}", start.program.display()))?;
        Ok(Self { child, map, admin, ready, folder })
    }

    /// Waits until `/healthz/ready` answers 200.
    pub fn wait_ready(&self) -> Result<()> {
        let until = Instant::now() + TIMEOUT;
        while Instant::now() < until {
            if self.get(self.ready, "/healthz/ready").is_some_and(|(status, _)| status == 200) {
                return Ok(());
            }
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(5));
        }
        bail!("the gateway did not become ready; it said:\n{}", self.log())
    }

    /// Status and body of a page of the admin or ready address.
    pub fn get(&self, address: SocketAddr, target: &str) -> Option<(u16, String)> {
        let answer = client::get(address, &address.to_string(), target).ok()?;
        Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Where the server with this port number really listens.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.map.get(&port).copied().unwrap_or(port)))
    }

    /// All that the program has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as an orchestrator does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Waits for its end; the exit code, or `None` when it was killed by a signal.
    pub fn wait(&mut self) -> Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
