//! Sockets of a demo, which move to other ports where theirs are taken.

use crate::cli::{IstioPorts, ServeArgs};
use anyhow::{Context, Result};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

/// The sockets of the pages for operators, and notes of those whose ports are replaced.
pub(super) struct Pages {
    pub(super) bound: Vec<TcpListener>,
    pub(super) notes: Vec<String>,
}

impl Pages {
    /// Binds the addresses of `serve` and writes back those that are bound. The demo runs beside whatever else does: its pages go elsewhere when
    /// their ports cannot be bound. The sockets stay open from here on, so that no other process gets these ports.
    pub(super) fn bind(serve: &mut ServeArgs) -> Result<Self> {
        let mut pages = Self { bound: Vec::new(), notes: Vec::new() };
        serve.admin = pages.keep(serve.admin, "admin pages", "--admin")?;
        serve.ready = pages.keep(serve.ready, "readiness", "--ready")?;
        if let Some(IstioPorts { agent, proxy }) = &mut serve.istio_ports {
            *agent = pages.keep(*agent, "metrics", "--istio-ports")?;
            *proxy = pages.keep(*proxy, "metrics", "--istio-ports")?;
        }
        Ok(pages)
    }

    fn keep(&mut self, address: SocketAddr, what: &str, flag: &str) -> Result<SocketAddr> {
        let (socket, note) = listen(address, what, flag)?;
        let address = socket.local_addr()?;
        self.bound.push(socket);
        self.notes.extend(note);
        Ok(address)
    }
}

/// A socket for this address or, where the port cannot be bound, for a free one, with a note of it.
pub(super) fn listen(address: SocketAddr, what: &str, flag: &str) -> Result<(TcpListener, Option<String>)> {
    let error = match dataplane::listen(address) {
        Ok(listener) => return Ok((listener, None)),
        Err(error) => error,
    };
    let why = cause(&format!("port {} of {}", address.port(), address.ip()), &error);
    let other = dataplane::listen(SocketAddr::new(address.ip(), 0))
        .with_context(|| format!("{why}, and no other port of it can be; choose another address with {flag}"))?;
    let note = format!("{why}, {what} on {}", other.local_addr()?.port());
    Ok((other, Some(note)))
}

/// Why a port cannot be bound.
pub(super) fn cause(port: &str, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!("{port} is already in use"),
        ErrorKind::PermissionDenied => format!("{port} cannot be bound by this user (permission denied)"),
        _ => format!("{port} cannot be bound ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_another_cause_than_one_that_may_not_be_bound() {
        let of = |kind: ErrorKind| cause("port 80", &kind.into());
        assert_eq!(of(ErrorKind::AddrInUse), "port 80 is already in use");
        assert_eq!(of(ErrorKind::PermissionDenied), "port 80 cannot be bound by this user (permission denied)");
        assert_eq!(of(ErrorKind::AddrNotAvailable), "port 80 cannot be bound (address not available)");
    }
}
