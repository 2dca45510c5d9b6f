//! A backend in HTTP/2 whose frames a test writes by hand.

use crate::backend::{Backend, Side};
pub(crate) use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RESET, SETTINGS, WINDOW_UPDATE,
};
use crate::gateway::{Gateway, Setup, forward};
use dataplane::Limits;

/// `:status: 200` in HPACK.
pub(crate) const OK: &[u8] = &[0x88];

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    crate::frames::frame(&mut frame, kind, flags, stream, content);
    frame
}

/// A whole header block in one frame.
pub(crate) fn head(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, block)
}

/// A field as a literal that does not enter the table of HPACK.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// A response with this body, without a length.
pub(crate) fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    [head(0, stream, OK), frame(DATA, END_STREAM, stream, body)].concat()
}

/// The backend's side of a connection that has begun.
pub(crate) struct Raw<'a> {
    pub(crate) side: &'a mut Side,
    /// The number of requests before that of the script.
    pub(crate) count: usize,
}

impl Raw<'_> {
    /// Writes; `false` when the gateway has closed the connection.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.side.send(bytes)
    }

    /// The stream of the next frame of a kind; `None` when the gateway has closed the connection, or has sent GOAWAY with an error.
    pub(crate) fn next(&mut self, wanted: u8) -> Option<u32> {
        loop {
            let header = self.side.exactly(9)?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let content = self.side.exactly(length)?;
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            match header[3] {
                kind if kind == wanted => return Some(stream),
                SETTINGS if header[4] == 0 => drop(self.send(frame(SETTINGS, 1, 0, b""))),
                GOAWAY if content[7] != 0 => return None,
                _ => {}
            }
        }
    }
}

/// Runs a script for each request, which is given its stream.
pub(crate) fn backend(script: impl Fn(&mut Raw<'_>, u32) + Send + Sync + 'static) -> Backend {
    Backend::start(move |side| {
        if side.exactly(24).is_none() || !side.send(frame(SETTINGS, 0, 0, b"")) {
            return;
        }
        let mut raw = Raw { side, count: 0 };
        while let Some(stream) = raw.next(HEADERS) {
            script(&mut raw, stream);
            raw.count += 1;
        }
    })
}

/// A gateway in front of the backend.
pub(crate) fn gateway(backend: &Backend, limits: Limits) -> Gateway {
    let gateway = Gateway::start(1, limits, None);
    gateway.apply(&Setup::default().host("*", forward("c", None)).cluster("c", &[backend.address]).http2("c"));
    gateway
}
