//! A network of a test's own: a network namespace in which the test, all that it starts, and Pods with addresses of their own are. Nothing of
//! it is seen outside, every port is free, and it is gone with the test.

use crate::debian;
use crate::not_run::not_run;
use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The address of the machine in the network of Pods, where that is of IPv4.
pub const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The networks of Pods, Services, and load balancers, where they are of IPv6; the last is a part of what documents use.
const OF_IPV6: [[u16; 3]; 3] = [[0xfd00, 0x10, 0x244], [0xfd00, 0x10, 0x96], [0x2001, 0xdb8, 0x2]];

/// The one family that the addresses of a network are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The address of the machine in the network of Pods.
    pub fn machine(self) -> IpAddr {
        self.pod(1)
    }

    /// The range of the addresses of Services.
    pub fn services(self) -> &'static str {
        match self {
            Self::V4 => "10.96.0.0/16",
            Self::V6 => "fd00:10:96::/112",
        }
    }

    /// Where Pods find the API server: the address of the Service `kubernetes`, the first of the range.
    pub fn api_server(self) -> IpAddr {
        self.service(1)
    }

    /// Where Pods ask for names; nothing answers.
    pub(crate) fn name_server(self) -> IpAddr {
        self.service(10)
    }

    fn service(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 96, 0, number).into(),
            Self::V6 => within_ipv6(OF_IPV6[1], number.into()),
        }
    }

    /// An address that a load balancer gives, one of 192.0.2.0/24 or 2001:db8:2::/112.
    pub fn balanced(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, number).into(),
            Self::V6 => within_ipv6(OF_IPV6[2], number.into()),
        }
    }

    fn pod(self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::V4 => Ipv4Addr::new(10, 244, high, low).into(),
            Self::V6 => within_ipv6(OF_IPV6[0], number),
        }
    }

    /// Ranges of which every address is the machine's: those of Services, and those that a load balancer gives.
    fn own(self) -> [&'static str; 2] {
        let balanced = match self {
            Self::V4 => "192.0.2.0/24",
            Self::V6 => "2001:db8:2::/112",
        };
        [self.services(), balanced]
    }

    /// How `ip` adds an address of the network of Pods to a device. One of IPv6 is used without a look whether others have it.
    fn add(self, address: IpAddr, device: &str) -> String {
        match self {
            Self::V4 => format!("addr add {address}/16 dev {device}"),
            Self::V6 => format!("addr add {address}/112 dev {device} nodad"),
        }
    }
}

fn within_ipv6([one, two, three]: [u16; 3], number: u16) -> IpAddr {
    Ipv6Addr::new(one, two, three, 0, 0, 0, 0, number).into()
}

/// A network with a bridge for Pods.
#[derive(Debug, Clone)]
pub struct Network {
    /// What its addresses are of.
    pub family: Family,
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
    pub address: IpAddr,
    space: Space,
}

/// Runs a test in a network of its own, of IPv4; threads and processes that it starts are there, too. Without the rights or programs for it one line says that
/// the test did not run; in CI that is a failure.
///
/// # Panics
/// If the test does, or if there is no network in CI.
pub fn within(test: impl FnOnce(&Network) + Send) {
    within_family(Family::V4, test);
}

/// The same with addresses of one family.
///
/// # Panics
/// As [`within`].
#[allow(clippy::panic, reason = "a test that cannot go on fails")]
pub fn within_family(family: Family, test: impl FnOnce(&Network) + Send) {
    let network = match Network::new(family) {
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
    fn new(family: Family) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "network namespaces are made by root");
        for program in ["ip", "unshare", "nsenter"] {
            ensure!(debian::installed(program).is_some(), "there is no `{program}` (Debian: iproute2, util-linux)");
        }
        let space = Space::new()?;
        let mut lines = vec![
            "link set lo up".to_owned(),
            "link add pods type bridge".to_owned(),
            family.add(family.machine(), "pods"),
            "link set pods up".to_owned(),
        ];
        lines.extend(family.own().map(|range| format!("route add local {range} dev lo")));
        space.ip(&lines)?;
        if family == Family::V6 {
            // Addresses of a local route are bound without being asked for in IPv4 alone.
            space.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind"], "")?;
        }
        Ok(Self { family, space: Arc::new(space), hosts: Arc::new(AtomicU16::new(2)) })
    }

    /// A new host on the bridge.
    pub fn host(&self) -> Result<Host> {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        let address = self.family.pod(number);
        let space = Space::new()?;
        let pid = space.child.id();
        self.space.ip(&[
            format!("link add pod{number} type veth peer name eth0 netns {pid}"),
            format!("link set pod{number} master pods up"),
        ])?;
        space.ip(&[
            "link set lo up".to_owned(),
            self.family.add(address, "eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {}", self.family.machine()),
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
        self.run(&["ip", "-batch", "-"], &(lines.join("\n") + "\n"))
    }

    /// Runs a program there, with its input.
    fn run(&self, program: &[&str], input: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).args(program);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("nsenter does not run")?;
        if let Some(mut standard_input) = child.stdin.take() {
            standard_input.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{program:?} says: {}", String::from_utf8_lossy(&output.stderr).trim());
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
            assert_eq!((text.as_str(), peer.ip()), ("hello\n", host.address));
            assert!(sender.wait().unwrap().success());
            assert!(TcpStream::connect(("198.51.100.1", 80)).is_err(), "there is no way out");
        });
    }
}
