//! What is sent on a stream of HTTP/2, with whom it is charged to until the library has written it or given it up. Both sides of the gateway
//! send it: the library asks for one type.

use bytes::{Buf, Bytes};
use std::io::IoSlice;
use std::rc::Rc;

/// Keeps count of octets that wait to be written.
pub trait Holder: std::fmt::Debug {
    /// So many octets wait no longer.
    fn release(&self, octets: usize);
}

/// A piece of a body.
#[derive(Debug)]
pub struct Outgoing {
    data: Bytes,
    octets: usize,
    holder: Option<Rc<dyn Holder>>,
}

impl Outgoing {
    /// A piece that `holder` has counted.
    pub fn held(data: Bytes, holder: Rc<dyn Holder>) -> Self {
        Self { octets: data.len(), data, holder: Some(holder) }
    }
}

impl From<Bytes> for Outgoing {
    /// A piece that is not counted.
    fn from(data: Bytes) -> Self {
        Self { data, octets: 0, holder: None }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(holder) = &self.holder {
            holder.release(self.octets);
        }
    }
}
