//! What a request's body gives to its copies: pieces in a bounded queue each, so that a copy that is slow falls behind and is given up,
//! and the request never waits for it.

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The queue of one copy.
#[derive(Debug)]
pub(in crate::http) struct Feed {
    state: RefCell<State>,
    /// Bytes that this queue may hold, and those that all queues of the worker hold and may.
    limit: usize,
    all: Rc<Cell<usize>>,
    limit_of_all: usize,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    held: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

/// How a body ended.
#[derive(Debug)]
enum End {
    Whole(Option<HeaderMap>),
    Broken,
}

/// What comes next for a copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Some of the body.
    Data(Bytes),
    /// Its end.
    End(Option<HeaderMap>),
    /// Nothing: the body broke off, or the copy is too far behind.
    Broken,
}

impl Feed {
    pub(super) fn new(limit: usize, all: &Rc<Cell<usize>>, limit_of_all: usize) -> Rc<Self> {
        Rc::new(Self { state: RefCell::default(), limit, all: Rc::clone(all), limit_of_all })
    }

    /// The next piece.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.state.borrow_mut();
        if let Some(piece) = state.pieces.pop_front() {
            state.held -= piece.len();
            self.all.set(self.all.get() - piece.len());
            return Poll::Ready(Next::Data(piece));
        }
        match &mut state.end {
            Some(End::Whole(trailers)) => Poll::Ready(Next::End(trailers.take())),
            Some(End::Broken) => Poll::Ready(Next::Broken),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes no more: the copy has come to its end.
    pub(super) fn close(&self) {
        self.finish(End::Broken);
        self.clear(&mut self.state.borrow_mut());
    }

    fn push(&self, piece: Bytes) {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() || piece.is_empty() {
            return;
        }
        let all = self.all.get() + piece.len();
        if state.held + piece.len() > self.limit || all > self.limit_of_all {
            self.clear(&mut state);
            state.end = Some(End::Broken);
        } else {
            self.all.set(all);
            state.held += piece.len();
            state.pieces.push_back(piece);
        }
        wake(state);
    }

    fn finish(&self, end: End) {
        let mut state = self.state.borrow_mut();
        if state.end.is_none() {
            state.end = Some(end);
            wake(state);
        }
    }

    fn clear(&self, state: &mut State) {
        self.all.set(self.all.get() - std::mem::take(&mut state.held));
        state.pieces.clear();
    }
}

fn wake(mut state: std::cell::RefMut<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The queues of all copies of one request.
#[derive(Debug, Default)]
pub(in crate::http) struct Taps(SmallVec<[Rc<Feed>; 1]>);

impl Taps {
    pub(super) fn add(&mut self, feed: Rc<Feed>) {
        self.0.push(feed);
    }

    /// Whether nobody copies.
    pub(in crate::http) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a piece of the body.
    pub(in crate::http) fn push(&self, data: &[u8]) {
        if !self.is_empty() {
            let piece = Bytes::copy_from_slice(data);
            self.0.iter().for_each(|feed| feed.push(piece.clone()));
        }
    }

    /// Gives the end of the body. `trailers` is asked when somebody copies.
    pub(in crate::http) fn end(&self, trailers: impl FnOnce() -> Option<HeaderMap>) {
        if !self.is_empty() {
            let trailers = trailers();
            self.0.iter().for_each(|feed| feed.finish(End::Whole(trailers.clone())));
        }
    }
}

impl Drop for Taps {
    /// A body that did not come to its end broke off.
    fn drop(&mut self) {
        self.0.iter().for_each(|feed| feed.finish(End::Broken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(feed: &Feed) -> Option<Next> {
        match feed.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    #[test]
    fn vs_45_pieces_come_in_order_and_then_the_end() {
        let all = Rc::default();
        let feed = Feed::new(10, &all, 100);
        let mut taps = Taps::default();
        taps.add(Rc::clone(&feed));
        assert_eq!(next(&feed), None);
        taps.push(b"ab");
        taps.push(b"cde");
        assert_eq!(all.get(), 5);
        assert_eq!(next(&feed), Some(Next::Data("ab".into())));
        taps.end(|| None);
        drop(taps);
        assert_eq!([next(&feed), next(&feed)], [Some(Next::Data("cde".into())), Some(Next::End(None))]);
        assert_eq!(all.get(), 0);
    }

    #[test]
    fn vs_45_who_is_too_far_behind_or_left_without_an_end_is_given_up() {
        let all = Rc::default();
        let [slow, other, third] = [(4, 100), (100, 100), (100, 12)].map(|(own, of_all)| Feed::new(own, &all, of_all));
        let mut taps = Taps::default();
        [&slow, &other, &third].iter().for_each(|feed| taps.add(Rc::clone(feed)));
        taps.push(b"abc");
        taps.push(b"de");
        assert_eq!(next(&slow), Some(Next::Broken));
        assert_eq!(next(&other), Some(Next::Data("abc".into())));
        assert_eq!(next(&third), Some(Next::Data("abc".into())));
        taps.push(b"abcdefgh");
        assert_eq!(next(&third), Some(Next::Broken));
        drop(taps);
        assert_eq!([next(&other), next(&other)], [Some(Next::Data("de".into())), Some(Next::Data("abcdefgh".into()))]);
        assert_eq!(next(&other), Some(Next::Broken));
        assert_eq!(all.get(), 0);
    }
}
