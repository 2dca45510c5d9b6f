//! The body of a request for its mirrors: a bounded queue for each. A slow mirror overflows its queue and is aborted; the request never waits.

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The queue of one mirror request.
#[derive(Debug)]
pub(super) struct BodyQueue {
    state: RefCell<QueueState>,
    /// The limit of this queue; the octets in all queues of the worker, and their limit.
    limit: usize,
    total: Rc<Cell<usize>>,
    total_limit: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    pieces: VecDeque<Bytes>,
    held: usize,
    end: Option<BodyEnd>,
    waker: Option<Waker>,
}

/// How a body ended.
#[derive(Debug)]
enum BodyEnd {
    Whole(Option<HeaderMap>),
    Broken,
}

/// The next item of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueItem {
    /// A piece of the body.
    Data(Bytes),
    /// Its end.
    End(Option<HeaderMap>),
    /// The body was aborted, or the queue overflowed.
    Broken,
}

impl BodyQueue {
    pub(super) fn new(limit: usize, total: &Rc<Cell<usize>>, total_limit: usize) -> Rc<Self> {
        Rc::new(Self { state: RefCell::default(), limit, total: Rc::clone(total), total_limit })
    }

    /// The next piece.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<QueueItem> {
        let mut state = self.state.borrow_mut();
        if let Some(piece) = state.pieces.pop_front() {
            state.held -= piece.len();
            self.total.set(self.total.get() - piece.len());
            return Poll::Ready(QueueItem::Data(piece));
        }
        match &mut state.end {
            Some(BodyEnd::Whole(trailers)) => Poll::Ready(QueueItem::End(trailers.take())),
            Some(BodyEnd::Broken) => Poll::Ready(QueueItem::Broken),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Closes the queue: the mirror request has ended.
    pub(super) fn close(&self) {
        self.finish(BodyEnd::Broken);
        self.clear(&mut self.state.borrow_mut());
    }

    fn push(&self, piece: Bytes) {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() || piece.is_empty() {
            return;
        }
        let total = self.total.get() + piece.len();
        if state.held + piece.len() > self.limit || total > self.total_limit {
            self.clear(&mut state);
            state.end = Some(BodyEnd::Broken);
        } else {
            self.total.set(total);
            state.held += piece.len();
            state.pieces.push_back(piece);
        }
        wake(state);
    }

    fn finish(&self, end: BodyEnd) {
        let mut state = self.state.borrow_mut();
        if state.end.is_none() {
            state.end = Some(end);
            wake(state);
        }
    }

    fn clear(&self, state: &mut QueueState) {
        self.total.set(self.total.get() - std::mem::take(&mut state.held));
        state.pieces.clear();
    }
}

fn wake(mut state: std::cell::RefMut<'_, QueueState>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The queues of all mirrors of one request.
#[derive(Debug, Default)]
pub(super) struct MirrorSinks(SmallVec<[Rc<BodyQueue>; 1]>);

impl MirrorSinks {
    pub(super) fn add(&mut self, queue: Rc<BodyQueue>) {
        self.0.push(queue);
    }

    /// Whether there are no mirrors.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Pushes a piece of the body.
    pub(super) fn push(&self, data: &[u8]) {
        if !self.is_empty() {
            let piece = Bytes::copy_from_slice(data);
            self.0.iter().for_each(|queue| queue.push(piece.clone()));
        }
    }

    /// Pushes the end of the body. `trailers` is called only if there are mirrors.
    pub(super) fn end(&self, trailers: impl FnOnce() -> Option<HeaderMap>) {
        if !self.is_empty() {
            let trailers = trailers();
            self.0.iter().for_each(|queue| queue.finish(BodyEnd::Whole(trailers.clone())));
        }
    }
}

impl Drop for MirrorSinks {
    /// Without an end, the body was aborted.
    fn drop(&mut self) {
        self.0.iter().for_each(|queue| queue.finish(BodyEnd::Broken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(queue: &BodyQueue) -> Option<QueueItem> {
        match queue.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    #[test]
    fn vs_45_pieces_come_in_order_and_then_the_end() {
        let total = Rc::default();
        let queue = BodyQueue::new(10, &total, 100);
        let mut sinks = MirrorSinks::default();
        sinks.add(Rc::clone(&queue));
        assert_eq!(next(&queue), None);
        sinks.push(b"ab");
        sinks.push(b"cde");
        assert_eq!(total.get(), 5);
        assert_eq!(next(&queue), Some(QueueItem::Data("ab".into())));
        sinks.end(|| None);
        drop(sinks);
        assert_eq!([next(&queue), next(&queue)], [Some(QueueItem::Data("cde".into())), Some(QueueItem::End(None))]);
        assert_eq!(total.get(), 0);
    }

    #[test]
    fn vs_45_who_is_too_far_behind_or_left_without_an_end_is_given_up() {
        let total = Rc::default();
        let [slow, other, third] =
            [(4, 100), (100, 100), (100, 12)].map(|(own, of_all)| BodyQueue::new(own, &total, of_all));
        let mut sinks = MirrorSinks::default();
        [&slow, &other, &third].iter().for_each(|queue| sinks.add(Rc::clone(queue)));
        sinks.push(b"abc");
        sinks.push(b"de");
        assert_eq!(next(&slow), Some(QueueItem::Broken));
        assert_eq!(next(&other), Some(QueueItem::Data("abc".into())));
        assert_eq!(next(&third), Some(QueueItem::Data("abc".into())));
        sinks.push(b"abcdefgh");
        assert_eq!(next(&third), Some(QueueItem::Broken));
        drop(sinks);
        assert_eq!(
            [next(&other), next(&other)],
            [Some(QueueItem::Data("de".into())), Some(QueueItem::Data("abcdefgh".into()))]
        );
        assert_eq!(next(&other), Some(QueueItem::Broken));
        assert_eq!(total.get(), 0);
    }
}
