//! Listening sockets, one per worker and listener.

use crate::limits::BACKLOG;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// What a socket is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Whether it accepts connections to addresses that are not this machine's (`TPROXY`), for which the process needs `CAP_NET_ADMIN`.
    pub(super) is_transparent: bool,
}

/// Sockets for an address, one per worker; the kernel shares connections out among them.
///
/// A port in use is an error: `SO_REUSEPORT` alone would silently share the port with another process of the same user, so a plain bind probes
/// it first. `ours` skips the probe, for an address that this process has just closed.
pub(super) fn bind(address: SocketAddr, workers: usize, ours: bool, kind: Kind) -> io::Result<Vec<TcpListener>> {
    of_either_family(address, |address| bind_as(address, workers, ours, kind))
}

/// One socket that no other process can share, for what is not a server of a Gateway: the ports of operators. `[::]` is every address, also
/// those of IPv4, and also where a system has no IPv6.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    of_either_family(address, |address| {
        let socket = socket(address, false, Kind { is_transparent: false })?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    })
}

/// A system without IPv6 still has every address of IPv4.
fn of_either_family<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && lacks_ipv6(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        result => result,
    }
}

/// Sockets that were opened elsewhere, for at least as many workers: each of those that are too few is one of their own beside them
/// or, where the system does not let them share the port, a second name of one of them. Where they are too many, none is left out, since
/// connections queue in each.
pub(super) fn share(mut sockets: Vec<TcpListener>, workers: usize, kind: Kind) -> io::Result<Vec<TcpListener>> {
    let opened = sockets.len();
    for number in opened..workers {
        let Some(one) = sockets.get(number % opened) else { break };
        let beside =
            socket(one.local_addr()?, true, kind).and_then(|socket| socket.listen(BACKLOG).map(|()| socket.into()));
        let next = beside.or_else(|_| one.try_clone())?;
        sockets.push(next);
    }
    Ok(sockets)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}

fn bind_as(address: SocketAddr, workers: usize, ours: bool, kind: Kind) -> io::Result<Vec<TcpListener>> {
    if !ours && address.port() != 0 {
        socket(address, false, kind)?;
    }
    let mut sockets = Vec::with_capacity(workers);
    let mut address = address;
    for _ in 0..workers.max(1) {
        let socket = socket(address, true, kind)?;
        socket.listen(BACKLOG)?;
        let listener: TcpListener = socket.into();
        // Port 0 is any port, and the same for all of them.
        address = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, shared: bool, kind: Kind) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if kind.is_transparent {
        let set =
            if address.is_ipv6() { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) };
        set.map_err(|error| {
            io::Error::new(error.kind(), format!("TPROXY needs the capability CAP_NET_ADMIN: {error}"))
        })?;
    }
    socket.set_nonblocking(true)?;
    // Connections inherit it, which saves each of them a call: without it small answers wait for acknowledgements.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv6Addr, TcpStream};

    #[test]
    fn every_address_is_listened_on_with_the_families_that_there_are() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let socket = listen(any).unwrap();
        let port = socket.local_addr().unwrap().port();
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        // No other socket shares the port.
        let error = listen(SocketAddr::new(any.ip(), port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_system_without_ipv6_has_every_address_of_ipv4() {
        let lacks = |code: i32| {
            move |address: SocketAddr| match address.ip() {
                IpAddr::V6(_) => Err(io::Error::from_raw_os_error(code)),
                IpAddr::V4(ip) => Ok((ip, address.port())),
            }
        };
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
        for code in [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL] {
            let bound = of_either_family(any, lacks(code.raw_os_error())).unwrap();
            assert_eq!(bound, (Ipv4Addr::UNSPECIFIED, 80));
        }
        // What fails for another reason fails, and so does an address that was meant.
        assert!(of_either_family(any, lacks(rustix::io::Errno::ADDRINUSE.raw_os_error())).is_err());
        let one = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
        assert!(of_either_family(one, lacks(rustix::io::Errno::AFNOSUPPORT.raw_os_error())).is_err());
    }
}
