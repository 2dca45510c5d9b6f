//! Hand-over of listening sockets: a new process receives them from its predecessor and reports when it serves, or gets them from the
//! system's service manager.
//!
//! The two talk over a Unix socket. The predecessor sends one octet with each group of sockets and another when that were all; the successor
//! answers with one octet once its first configuration serves. Whoever goes away before leaves everything as it was. Each side checks
//! that the other belongs to a user that it trusts, and the passing of the sockets has one time limit, however slowly the other sends.

use anyhow::{Context, Result, bail};
use dataplane::Inherited;
use listenfd::ListenFd;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::net::{recvmsg, sendmsg, sockopt};
use rustix::process::{Uid, geteuid};
use std::fs::Permissions;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Sockets in one message; the system takes some more.
const GROUP: usize = 64;
/// How long the passing of all sockets may take.
const PASSING: Duration = Duration::from_secs(10);
/// How long the successor may take for its first configuration; meanwhile no other can follow.
const FIRST_CONFIGURATION: Duration = Duration::from_secs(300);
/// The pause after an accept failed, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_secs(1);
/// Some more sockets follow in this message.
const MORE: u8 = b'S';
/// All sockets are sent.
const END: u8 = b'E';
/// The successor process serves.
const SERVING: u8 = b'R';

/// The process that this one replaces; it goes on serving until this one reports that it serves.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Reports that this process serves: the predecessor stops accepting, drains its connections and ends.
    pub(crate) fn report_serving(mut self) -> io::Result<()> {
        self.0.write_all(&[SERVING])
    }
}

/// Users whose processes may hand sockets to this process and take them from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrustedUsers {
    /// The user that this process runs as later on (`--user`), if it is another one.
    pub(crate) later: Option<Uid>,
}

impl TrustedUsers {
    /// Checks the process at the other end: this process's own user, root, or the user of `--user`.
    fn check(self, stream: &UnixStream) -> io::Result<()> {
        let peer = sockopt::socket_peercred(stream)?.uid;
        if peer == geteuid() || peer.is_root() || Some(peer) == self.later {
            return Ok(());
        }
        let message =
            format!("the process runs as user {}, which is neither this process's user nor root", peer.as_raw());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

/// What is listened on already: by the system's service manager for this process, and by the process that serves at `path`, if one
/// does.
pub(crate) fn inherit(path: Option<&Path>, users: TrustedUsers) -> Result<(Inherited, Option<Predecessor>)> {
    let mut inherited = Inherited::new(activated()?).context("a socket of the service manager cannot be used")?;
    let Some(path) = path else { return Ok((inherited, None)) };
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        bail!("{} exists and is not a socket; choose another path for --takeover", path.display());
    }
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        // There is no predecessor, or only the socket of one that has ended.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok((inherited, None));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot reach the process at {}", path.display())),
    };
    let received = users.check(&stream).and_then(|()| receive(&stream, PASSING));
    let sockets = received.with_context(|| format!("no sockets received from the process at {}", path.display()))?;
    inherited.extend(Inherited::new(sockets).context("a socket that was handed over cannot be used")?);
    Ok((inherited, Some(Predecessor(stream))))
}

/// Sockets that systemd, or what behaves like it, has opened for this process.
fn activated() -> Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..given.len() {
        let socket = given.take_tcp_listener(number);
        sockets.extend(socket.with_context(|| format!("socket {number} of the service manager is not a TCP socket"))?);
    }
    Ok(sockets)
}

/// What is left until a deadline; an error when it has passed.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn receive(stream: &UnixStream, limit: Duration) -> io::Result<Vec<TcpListener>> {
    let deadline = Instant::now() + limit;
    let mut sockets = Vec::new();
    loop {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        let mut octet = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(GROUP))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut octet)];
        let received = recvmsg(stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors.map(TcpListener::from));
            }
        }
        match (received.bytes, octet) {
            (1.., [MORE]) => {}
            (1.., [END]) => return Ok(sockets),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn send(stream: &UnixStream, sockets: &[TcpListener], limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    for group in sockets.chunks(GROUP) {
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        let descriptors: Vec<BorrowedFd<'_>> = group.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(GROUP))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(stream, &[IoSlice::new(&[MORE])], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    (&mut &*stream).write_all(&[END])
}

/// The Unix socket on which a successor process asks for the listening sockets.
#[derive(Debug)]
pub(crate) struct TakeoverSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl TakeoverSocket {
    /// Binds `path`, replacing a predecessor's socket; only the same user has access to it.
    pub(crate) fn bind(path: &Path) -> Result<Self> {
        let take = || {
            // Made beside and moved there, so that it is never without its permissions, and never missing.
            let mut begun = path.as_os_str().to_owned();
            begun.push(format!(".{}", std::process::id()));
            let _left_behind = std::fs::remove_file(&begun);
            let listener = UnixListener::bind(&begun)?;
            std::fs::set_permissions(&begun, Permissions::from_mode(0o600))?;
            std::fs::rename(&begun, path)?;
            Ok::<_, io::Error>(Self { listener, path: path.to_owned() })
        };
        take().with_context(|| format!("cannot open the take-over socket {}", path.display()))
    }

    /// Waits until a successor process of a trusted user has taken over and serves. `sockets` are what it gets.
    pub(crate) fn serve(&self, users: TrustedUsers, sockets: impl Fn() -> io::Result<Vec<TcpListener>>) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the take-over socket; trying again in a second");
                    std::thread::sleep(PAUSE);
                    continue;
                }
            };
            match users.check(&stream).and_then(|()| hand_over(stream, &sockets)) {
                Ok(true) => return,
                Ok(false) => tracing::warn!("the successor ended before it served; this process goes on serving"),
                Err(error) => {
                    tracing::warn!(%error, "the sockets could not be handed over; this process goes on serving")
                }
            }
        }
    }

    /// The path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the successor process serves now.
fn hand_over(mut stream: UnixStream, sockets: impl Fn() -> io::Result<Vec<TcpListener>>) -> io::Result<bool> {
    send(&stream, &sockets()?, PASSING)?;
    stream.set_read_timeout(Some(FIRST_CONFIGURATION))?;
    let mut octet = [0];
    let count = stream.read(&mut octet)?;
    Ok(count == 1 && octet == [SERVING])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_pass_by_the_hundred_with_what_waits_in_them() {
        let sockets: Vec<TcpListener> = (0..150).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let waiting = std::net::TcpStream::connect(addresses[149]).unwrap();
        let (predecessor, successor) = UnixStream::pair().unwrap();
        let sending = std::thread::spawn(move || send(&predecessor, &sockets, PASSING));
        let received = receive(&successor, PASSING).unwrap();
        sending.join().unwrap().unwrap();
        assert_eq!(received.iter().map(|socket| socket.local_addr().unwrap()).collect::<Vec<_>>(), addresses);
        assert_eq!(received[149].accept().unwrap().1, waiting.local_addr().unwrap());
    }

    #[test]
    fn the_passing_of_sockets_has_one_time_limit() {
        let (predecessor, successor) = UnixStream::pair().unwrap();
        // It sends for ever: each octet alone comes in time.
        let sending = std::thread::spawn(move || {
            let mut sent = 0_u64;
            while (&mut &predecessor).write_all(&[MORE]).is_ok() {
                sent += 1;
            }
            sent
        });
        let error = receive(&successor, Duration::from_millis(50)).unwrap_err();
        drop(successor);
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(sending.join().unwrap() > 0);
    }

    #[test]
    fn one_that_breaks_off_has_handed_nothing_over() {
        let (predecessor, successor) = UnixStream::pair().unwrap();
        (&mut &predecessor).write_all(&[MORE]).unwrap();
        drop(predecessor);
        assert!(receive(&successor, PASSING).is_err());
    }

    #[test]
    fn a_successor_that_fails_leaves_the_predecessor_serving() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover");
        let takeover_socket = TakeoverSocket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(takeover_socket.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let users = TrustedUsers { later: None };
        let predecessor = std::thread::spawn(move || takeover_socket.serve(users, || Ok(vec![socket.try_clone()?])));
        let (_, first) = inherit(Some(&path), users).unwrap();
        drop(first);
        let (mut inherited, second) = inherit(Some(&path), users).unwrap();
        assert_eq!(inherited.take(address).len(), 1);
        second.unwrap().report_serving().unwrap();
        predecessor.join().unwrap();
    }
}
