//! Listening sockets that pass from process to process: a new one takes them over from the one it follows and tells it when it serves, or
//! finds them where the system's service manager has opened them.
//!
//! The two talk over a Unix socket. The elder sends one octet with each group of sockets and another when that were all; the younger
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
/// How long the younger may take for its first configuration; meanwhile no other can follow.
const FIRST_CONFIGURATION: Duration = Duration::from_secs(300);
/// How long nobody is met after the system refused it, for want of files.
const PAUSE: Duration = Duration::from_secs(1);
/// Some more sockets follow in this message.
const MORE: u8 = b'S';
/// That were all.
const END: u8 = b'E';
/// The younger process serves.
const SERVING: u8 = b'R';

/// The process that this one follows; it goes on serving until it is told otherwise.
#[derive(Debug)]
pub(crate) struct Elder(UnixStream);

impl Elder {
    /// Tells it that this process serves: it takes no further connections from now on, and ends when those that it has have ended.
    pub(crate) fn relieve(mut self) -> io::Result<()> {
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
        let message = format!("it runs as user {}, which is neither this process's user nor root", peer.as_raw());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

/// What is listened on already: by the system's service manager for this process, and by the process that serves at `path`, if one
/// does.
pub(crate) fn inherit(path: Option<&Path>, users: TrustedUsers) -> Result<(Inherited, Option<Elder>)> {
    let mut inherited = Inherited::new(activated()?).context("a socket of the service manager cannot be used")?;
    let Some(path) = path else { return Ok((inherited, None)) };
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        bail!("{} is there and no socket; give --takeover a path of its own", path.display());
    }
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        // Nobody is there yet, or was left behind by one that is gone.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok((inherited, None));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot reach the process at {}", path.display())),
    };
    let received = users.check(&stream).and_then(|()| receive(&stream, PASSING));
    let sockets = received.with_context(|| format!("no sockets received from the process at {}", path.display()))?;
    inherited.extend(Inherited::new(sockets).context("a socket that was handed over cannot be used")?);
    Ok((inherited, Some(Elder(stream))))
}

/// Sockets that systemd, or what behaves like it, has opened for this process.
fn activated() -> Result<Vec<TcpListener>> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..given.len() {
        let socket = given.take_tcp_listener(number);
        sockets.extend(socket.with_context(|| format!("socket {number} of the service manager is none of TCP"))?);
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

/// Where a younger process finds this one.
#[derive(Debug)]
pub(crate) struct Meeting {
    listener: UnixListener,
    path: PathBuf,
}

impl Meeting {
    /// Takes the place at `path`, from an elder process too; only the same user has access to it.
    pub(crate) fn at(path: &Path) -> Result<Self> {
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
        take().with_context(|| format!("no process that follows can be met at {}", path.display()))
    }

    /// Waits until a younger process of a trusted user has taken over and serves. `sockets` are what it gets.
    pub(crate) fn wait(&self, users: TrustedUsers, sockets: impl Fn() -> io::Result<Vec<TcpListener>>) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a process that is to follow cannot be met for a moment");
                    std::thread::sleep(PAUSE);
                    continue;
                }
            };
            match users.check(&stream).and_then(|()| hand_over(stream, &sockets)) {
                Ok(true) => return,
                Ok(false) => tracing::warn!("a process that was to follow is gone before it served; this one goes on"),
                Err(error) => tracing::warn!(%error, "sockets could not be handed over; this process goes on"),
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the younger process serves now.
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
        let (elder, younger) = UnixStream::pair().unwrap();
        let sending = std::thread::spawn(move || send(&elder, &sockets, PASSING));
        let received = receive(&younger, PASSING).unwrap();
        sending.join().unwrap().unwrap();
        assert_eq!(received.iter().map(|socket| socket.local_addr().unwrap()).collect::<Vec<_>>(), addresses);
        assert_eq!(received[149].accept().unwrap().1, waiting.local_addr().unwrap());
    }

    #[test]
    fn the_passing_of_sockets_has_one_time_limit() {
        let (elder, younger) = UnixStream::pair().unwrap();
        // It sends for ever: each octet alone comes in time.
        let sending = std::thread::spawn(move || {
            let mut sent = 0_u64;
            while (&mut &elder).write_all(&[MORE]).is_ok() {
                sent += 1;
            }
            sent
        });
        let error = receive(&younger, Duration::from_millis(50)).unwrap_err();
        drop(younger);
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(sending.join().unwrap() > 0);
    }

    #[test]
    fn one_that_breaks_off_has_handed_nothing_over() {
        let (elder, younger) = UnixStream::pair().unwrap();
        (&mut &elder).write_all(&[MORE]).unwrap();
        drop(elder);
        assert!(receive(&younger, PASSING).is_err());
    }

    #[test]
    fn a_younger_process_that_fails_leaves_the_elder_waiting_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover");
        let meeting = Meeting::at(&path).unwrap();
        assert_eq!(std::fs::metadata(meeting.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let users = TrustedUsers { later: None };
        let elder = std::thread::spawn(move || meeting.wait(users, || Ok(vec![socket.try_clone()?])));
        let (_, first) = inherit(Some(&path), users).unwrap();
        drop(first);
        let (mut inherited, second) = inherit(Some(&path), users).unwrap();
        assert_eq!(inherited.take(address).len(), 1);
        second.unwrap().relieve().unwrap();
        elder.join().unwrap();
    }
}
