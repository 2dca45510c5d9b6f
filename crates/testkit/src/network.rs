//! A network of a test's own: a network namespace in which the test, all that it starts, and Pods with addresses of their own are. Nothing of
//! it is seen outside, every port is free, and it is gone with the test.

use crate::debian;
use crate::not_run::not_run;
use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The address of the machine in the network of Pods, 10.244.0.0/16.
pub const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Ranges of which every address is the machine's: those of Services, and those that a load balancer gives.
const OWN: [&str; 2] = ["10.96.0.0/16", "192.0.2.0/24"];

/// A network with a bridge for Pods.
#[derive(Debug, Clone)]
pub struct Network {
    space: Arc<Space>,
    hosts: Arc<AtomicU16>,
}

/// A network namespace, which lives as long as a child that waits in it for the end of its input, and so no longer than the test.
#[derive(Debug)]
struct Space {
    child: Child,
}

/// A host on the bridge, with a namespace of its own.
#[derive(Debug)]
pub struct Host {
    /// Its address.
    pub address: Ipv4Addr,
    space: Space,
}

/// Runs a test in a network of its own; threads and processes that it starts are there, too. Without the rights or programs for it one line says that
/// the test did not run; in CI that is a failure.
///
/// # Panics
/// If the test does, or if there is no network in CI.
#[allow(clippy::panic, reason = "a test that cannot go on fails")]
pub fn within(test: impl FnOnce(&Network) + Send) {
    let network = match Network::new() {
        Ok(network) => network,
        Err(error) => match not_run(&format!("no network of the test's own: {error:#}")) {
            Ok(()) => return,
            Err(error) => panic!("{error:#}"),
        },
    };
    // A thread that has moved stays there.
    let ended = std::thread::scope(|scope| {
        let moved = || network.space.enter().map(|()| test(&network));
        scope.spawn(moved).join()
    });
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("cannot move into a network namespace: {error:#}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Network {
    fn new() -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "network namespaces are made by root");
        for program in ["ip", "unshare", "nsenter"] {
            ensure!(debian::installed(program).is_some(), "there is no `{program}` (Debian: iproute2, util-linux)");
        }
        let space = Space::new()?;
        let mut lines = vec![
            "link set lo up".to_owned(),
            "link add pods type bridge".to_owned(),
            format!("addr add {MACHINE}/16 dev pods"),
            "link set pods up".to_owned(),
        ];
        lines.extend(OWN.map(|range| format!("route add local {range} dev lo")));
        space.ip(&lines)?;
        Ok(Self { space: Arc::new(space), hosts: Arc::new(AtomicU16::new(2)) })
    }

    /// A new host on the bridge.
    pub fn host(&self) -> Result<Host> {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(10, 244, high, low);
        let space = Space::new()?;
        let pid = space.child.id();
        self.space.ip(&[
            format!("link add pod{number} type veth peer name eth0 netns {pid}"),
            format!("link set pod{number} master pods up"),
        ])?;
        space.ip(&[
            "link set lo up".to_owned(),
            format!("addr add {address}/16 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {MACHINE}"),
        ])?;
        Ok(Host { address, space })
    }
}

impl Host {
    /// The path of its namespace, for `nsenter --net=`.
    pub fn namespace(&self) -> String {
        self.space.path()
    }
}

impl Space {
    fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo made; read wait"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("unshare does not run")?;
        let mut made = String::new();
        let told = child.stdout.take().map(|output| BufReader::new(output).read_line(&mut made));
        let space = Self { child };
        ensure!(matches!(told, Some(Ok(5))), "no network namespace is made: {made}");
        Ok(space)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.child.id())
    }

    fn enter(&self) -> Result<()> {
        let file = File::open(self.path())?;
        Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Runs commands of `ip` there.
    fn ip(&self, lines: &[String]) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).args(["ip", "-batch", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("nsenter does not run")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all((lines.join("\n") + "\n").as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip says: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn hosts_reach_the_machine_and_nothing_is_outside() {
        within(|network| {
            let host = network.host().unwrap();
            // An address of a load balancer, and a port that is free in no other network for sure.
            let listener = TcpListener::bind(("192.0.2.7", 80)).unwrap();
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", host.namespace())).args([
                "bash",
                "-c",
                "echo hello > /dev/tcp/192.0.2.7/80",
            ]);
            let mut sender = command.spawn().unwrap();
            let (mut stream, peer) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), peer.ip()), ("hello\n", host.address.into()));
            assert!(sender.wait().unwrap().success());
            assert!(TcpStream::connect(("198.51.100.1", 80)).is_err(), "there is no way out");
        });
    }
}
