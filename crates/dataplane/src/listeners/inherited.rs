//! Listening sockets that another process opened: the predecessor, or the system's service manager.

use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Sockets without a listener yet. Connections queue in them meanwhile.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes over sockets; an error if one of them is not TCP.
    pub fn new(sockets: impl IntoIterator<Item = TcpListener>) -> io::Result<Self> {
        let with_address = |socket: TcpListener| {
            socket.set_nonblocking(true)?;
            // As sockets of this process have it, so that connections inherit it.
            SockRef::from(&socket).set_tcp_nodelay(true)?;
            Ok((socket.local_addr()?, socket))
        };
        sockets.into_iter().map(with_address).collect::<io::Result<Vec<_>>>().map(Self)
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Removes and returns the sockets of an address; the unspecified addresses of both families are equal.
    pub fn take(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let any = |one: SocketAddr| one.ip().is_unspecified();
        let same = |one: SocketAddr| one == address || (one.port() == address.port() && any(one) && any(address));
        self.0.extract_if(.., |(one, _)| same(*one)).map(|(_, socket)| socket).collect()
    }

    /// Closes the unused sockets; returns their addresses.
    pub(crate) fn close(&mut self) -> Vec<SocketAddr> {
        self.0.drain(..).map(|(address, _)| address).collect()
    }
}
