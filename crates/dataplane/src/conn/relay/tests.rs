use super::*;
use crate::conn::buffer::Memory;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::rc::Rc;
use tokio::net::TcpStream;

/// One end of a relay, by a script.
#[derive(Default)]
struct End {
    /// What reading gives, in this order; then nothing comes.
    reads: VecDeque<Result<&'static [u8], ErrorKind>>,
    /// What writing gives, in place of success.
    fails: Option<ErrorKind>,
    /// What the end has received, and how that ended.
    received: Vec<u8>,
    is_shut: bool,
    is_aborted: bool,
}

impl End {
    fn sending(reads: &[Result<&'static [u8], ErrorKind>]) -> Self {
        Self { reads: reads.iter().copied().collect(), ..Self::default() }
    }

    fn failing(self, kind: ErrorKind) -> Self {
        Self { fails: Some(kind), ..self }
    }

    fn outcome(&self) -> (&str, Got) {
        let got = match (self.is_shut, self.is_aborted) {
            (_, true) => Got::Reset,
            (true, false) => Got::End,
            (false, false) => Got::Nothing,
        };
        (std::str::from_utf8(&self.received).unwrap(), got)
    }
}

/// How an end learns that nothing more comes, before its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Nothing,
    End,
    Reset,
}

impl Duplex for End {
    fn poll_read(&mut self, _: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.reads.pop_front() {
            None => Poll::Pending,
            Some(Ok(octets)) => {
                room[..octets.len()].copy_from_slice(octets);
                Poll::Ready(Ok(octets.len()))
            }
            Some(Err(kind)) => Poll::Ready(Err(kind.into())),
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.fails {
            return Poll::Ready(Err(kind.into()));
        }
        self.received.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.is_shut = true;
        self.fails.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn abort(&mut self) {
        self.is_aborted = true;
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// Relays until nothing moves; whether the relay is over.
fn run(client: &mut End, backend: &mut End) -> bool {
    let memory = Rc::new(Memory::default());
    let (mut from_client, mut from_backend) = (Buffer::new(&memory), Buffer::new(&memory));
    let no_pipe = || None;
    let mut to_backend = Pump::new(&no_pipe, &mut from_client);
    let mut to_client = Pump::new(&no_pipe, &mut from_backend);
    let mut context = Context::from_waker(std::task::Waker::noop());
    loop {
        let moved = advance(&mut to_backend, &mut to_client, client, backend, &mut context)
            | advance(&mut to_client, &mut to_backend, backend, client, &mut context);
        if to_backend.is_over() && to_client.is_over() {
            assert_eq!(to_client.has_reset_sink(), client.is_aborted);
            return true;
        }
        if !moved {
            return false;
        }
    }
}

#[test]
fn s_125_an_end_is_reset_only_if_what_it_received_is_incomplete() {
    const END: Result<&[u8], ErrorKind> = Ok(b"");
    const RESET: Result<&[u8], ErrorKind> = Err(ErrorKind::ConnectionReset);
    // The name; the ends; whether the relay is over; what the client and the backend got.
    let cases = [
        ("nothing has ended", End::sending(&[Ok(b"a")]), End::sending(&[Ok(b"b")]), false, Got::Nothing, Got::Nothing),
        ("a half-close", End::sending(&[Ok(b"a"), END]), End::sending(&[Ok(b"b")]), false, Got::Nothing, Got::End),
        ("both have ended", End::sending(&[Ok(b"a"), END]), End::sending(&[Ok(b"b"), END]), true, Got::End, Got::End),
        ("the client resets", End::sending(&[Ok(b"a"), RESET]), End::sending(&[]), true, Got::Nothing, Got::Reset),
        ("the backend resets", End::sending(&[]), End::sending(&[Ok(b"b"), RESET]), true, Got::Reset, Got::Nothing),
        (
            "the client resets after its end",
            End::sending(&[Ok(b"a"), END]).failing(ErrorKind::BrokenPipe),
            End::sending(&[Ok(b"b")]),
            true,
            Got::Nothing,
            Got::End,
        ),
        (
            "the backend has closed after a whole response, and the client sends more",
            End::sending(&[Ok(b"a")]),
            End::sending(&[Ok(b"b"), END]).failing(ErrorKind::BrokenPipe),
            true,
            Got::End,
            Got::Nothing,
        ),
        (
            "the backend has reset in a response, which a write notices first",
            End::sending(&[Ok(b"a")]),
            End::sending(&[Ok(b"b"), END]).failing(ErrorKind::ConnectionReset),
            true,
            Got::Reset,
            Got::Nothing,
        ),
        (
            "TLS without close_notify",
            End::sending(&[Ok(b"a"), Err(ErrorKind::UnexpectedEof)]),
            End::sending(&[]),
            true,
            Got::Nothing,
            Got::Nothing,
        ),
    ];
    for (name, mut client, mut backend, over, at_client, at_backend) in cases {
        let sent = |end: &End| end.reads.iter().filter_map(|read| read.ok()).any(|octets| !octets.is_empty());
        let (from_client, from_backend) = (sent(&client), sent(&backend));
        assert_eq!(run(&mut client, &mut backend), over, "{name}");
        let all = |sent: bool, octets: &'static str, fails: bool| if sent && !fails { octets } else { "" };
        let to_backend = all(from_client, "a", backend.fails.is_some());
        let to_client = all(from_backend, "b", client.fails.is_some());
        assert_eq!((client.outcome(), backend.outcome()), ((to_client, at_client), (to_backend, at_backend)), "{name}");
    }
}
