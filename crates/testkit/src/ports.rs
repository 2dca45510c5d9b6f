//! Ports for tests: free now, and below the range that the system hands to outgoing connections, so that a port on which
//! nobody is to listen stays that way while a test runs.

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const LAST: u16 = 31_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 and of every other address that nothing is bound to. Each call gives another one.
///
/// # Panics
/// When the whole range is taken.
#[allow(clippy::panic, reason = "a test cannot go on without a port")]
pub fn free() -> u16 {
    for _ in 0..(LAST - FIRST) {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Test binaries that run at the same time begin at different places.
        let start = (std::process::id().wrapping_mul(97) % u32::from(LAST - FIRST)) as u16;
        let port = FIRST + (u32::from(start) + u32::from(step)).rem_euclid(u32::from(LAST - FIRST)) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between {FIRST} and {LAST} is free")
}

/// An address of 127.0.0.1 that refuses connections until the process ends: a socket that does not listen is bound to it, so that no test
/// that runs at the same time is given its port.
///
/// # Panics
/// If the system has no port left.
#[allow(clippy::expect_used, reason = "a test cannot go on without a port")]
pub fn refusing() -> SocketAddr {
    static KEPT: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let address =
        socket.local_addr().ok().and_then(|address| address.as_socket()).expect("the address of a bound socket");
    KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(socket);
    address
}
