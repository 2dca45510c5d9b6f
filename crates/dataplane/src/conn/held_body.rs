//! The body of a request, as far as it was received before the request was forwarded. A filter that needs the body holds it; the exchange then
//! sends the held octets before it receives the rest.

use super::budget::{BudgetExceeded, Charge};
use crate::limits::STREAM_READ;
use bytes::Bytes;
use http::HeaderMap;
use wire::h1::BodyReader;

/// The least room that is charged for at a time.
const STEP: usize = 4 << 10;

/// The held octets, and the state of the body behind them.
#[derive(Debug)]
pub(crate) struct HeldBody {
    octets: Bytes,
    trailers: Option<Box<HeaderMap>>,
    /// Held until all octets were sent.
    _charge: Charge,
}

/// A body while it is received.
#[derive(Debug)]
pub(crate) struct HeldBodyBuffer {
    octets: Vec<u8>,
    charge: Charge,
}

/// The next octets that were held.
#[derive(Debug)]
pub(crate) struct HeldPiece {
    /// The octets.
    pub(crate) octets: Bytes,
    /// The trailers of a stream, if nothing else was held.
    pub(crate) trailers: Option<Box<HeaderMap>>,
}

impl HeldBodyBuffer {
    /// Nothing yet. `charge` is a charge of nothing.
    pub(crate) fn new(charge: Charge) -> Self {
        Self { octets: Vec::new(), charge }
    }

    /// What is held.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Appends octets, if the budget allows it.
    pub(crate) fn push(&mut self, octets: &[u8]) -> Result<(), BudgetExceeded> {
        let length = self.octets.len() + octets.len();
        if length > self.octets.capacity() {
            let grown = length.max(STEP).max(self.octets.len() + self.octets.len() / 2);
            self.charge.resize(grown)?;
            self.octets.reserve_exact(grown - self.octets.len());
        }
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    /// The body, to be sent. `trailers` are those of a stream whose end was received.
    pub(crate) fn into_body(self, trailers: Option<Box<HeaderMap>>) -> HeldBody {
        HeldBody { octets: self.octets.into(), trailers, _charge: self.charge }
    }
}

impl HeldBody {
    /// All octets that are held.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Takes the next octets of what is held; `None` once nothing is held. The last piece is empty if an empty body was held.
pub(crate) fn take_held(held: &mut Option<Box<HeldBody>>) -> Option<HeldPiece> {
    let body = held.as_mut()?;
    let octets = body.octets.split_to(body.octets.len().min(STREAM_READ));
    let trailers = body.octets.is_empty().then(|| held.take()).flatten().and_then(|body| body.trailers);
    Some(HeldPiece { octets, trailers })
}

/// The state of a body of which a part may be held.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    /// What is held, and has to be sent first.
    pub(crate) held: Option<Box<HeldBody>>,
    /// Decodes the rest.
    pub(crate) reader: BodyReader,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Budget;
    use crate::limits::BudgetLimits;
    use std::sync::Arc;

    #[test]
    fn octets_are_charged_until_the_last_was_taken() {
        let limits = BudgetLimits { connection: 200_000, worker: 1 << 20, process: 1 << 20 };
        let account = Budget::new(limits, Arc::default(), Arc::default()).account();
        let mut octets = HeldBodyBuffer::new(account.nothing());
        octets.push(&[1; 100_000]).unwrap();
        assert_eq!(octets.push(&[2; 150_000]), Err(BudgetExceeded::Connection));
        assert_eq!((octets.octets().len(), account.room()), (100_000, 100_000));
        let mut held = Some(Box::new(octets.into_body(Some(Box::default()))));
        let pieces: Vec<HeldPiece> = std::iter::from_fn(|| take_held(&mut held)).collect();
        let lengths: Vec<(usize, bool)> =
            pieces.iter().map(|piece| (piece.octets.len(), piece.trailers.is_some())).collect();
        assert_eq!(lengths, [(STREAM_READ, false), (100_000 - STREAM_READ, true)]);
        assert_eq!(account.room(), 200_000);
        let mut held = Some(Box::new(HeldBodyBuffer::new(account.nothing()).into_body(None)));
        assert_eq!(take_held(&mut held).unwrap().octets.len(), 0);
        assert!(take_held(&mut held).is_none());
    }
}
