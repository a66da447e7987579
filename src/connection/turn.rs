//! The turns of a connection's task: how much of what a client sent is served before others have theirs.
//!
//! A client may send many requests at once. They are served one after the other; after a few of them the task waits until
//! the thread's other tasks and its I/O driver have run.

use super::deadline::ConnectionDeadline;
use crate::clock::yield_now;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Requests of a turn at most. Publishes that are pipelined go to the registry together.
const REQUESTS: u32 = 16;
/// No further request is begun when a turn has taken so long.
const TIME: Duration = Duration::from_micros(250);
/// Bytes that are read in a turn at most.
const BYTES: usize = 64 << 10;
/// Bytes of responses that are written in a turn at most, give or take a piece: a client that reads as fast as we write
/// would otherwise have the thread for as long as its response lasts.
const WRITTEN: usize = 256 << 10;

/// What a turn has done, and whether another one is due.
#[derive(Debug, Default)]
pub struct ConnectionTurn {
    goes_on: Cell<bool>,
    requests: Cell<u32>,
    bytes: Cell<usize>,
    written: Cell<usize>,
    begun: Cell<Option<Instant>>,
    is_over: Cell<bool>,
}

impl ConnectionTurn {
    /// There is more to do, and nothing else will wake the task for it.
    pub(crate) fn go_on(&self) {
        self.goes_on.set(true);
    }

    /// Bytes of the client were taken.
    pub(crate) fn took(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// Bytes of a response were written.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes);
    }

    /// Whether more bytes may be written.
    pub(crate) fn may_write(&self) -> bool {
        self.written.get() < WRITTEN
    }

    /// Whether more bytes may be taken.
    pub(crate) fn may_read(&self) -> bool {
        self.bytes.get() < BYTES
    }

    /// Whether another request may follow.
    pub(crate) fn may_serve(&self) -> bool {
        self.requests.get() < REQUESTS && self.may_read() && !self.is_over.get()
    }

    fn begin(&self) {
        self.goes_on.set(false);
        self.requests.set(1);
        self.bytes.set(0);
        self.written.set(0);
        self.begun.set(None);
        self.is_over.set(false);
    }

    /// Begins the next request, if it is served in this turn.
    fn next(&self) -> bool {
        match self.begun.get() {
            Some(begun) => self.is_over.set(begun.elapsed() >= TIME),
            None => self.begun.set(Some(Instant::now())),
        }
        self.goes_on.set(false);
        self.requests.set(self.requests.get() + 1);
        self.may_read() && !self.is_over.get()
    }
}

/// Serves a connection by the stack's future, in turns.
pub(crate) async fn in_turns<F: Future + Unpin>(mut served: F, watch: Rc<ConnectionDeadline>) -> F::Output {
    let turn = &watch.turn;
    std::future::poll_fn(|context| {
        watch.runs_as(context);
        turn.begin();
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut served).poll(context) {
                return Poll::Ready(ended);
            }
            if !turn.goes_on.get() {
                return Poll::Pending;
            }
            if !turn.may_serve() || !turn.next() {
                yield_now(context);
                return Poll::Pending;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_an_end() {
        let turn = ConnectionTurn::default();
        turn.begin();
        let served = 1 + std::iter::from_fn(|| (turn.may_serve() && turn.next()).then_some(())).count();
        assert!((2..=REQUESTS as usize).contains(&served), "{served}");
        turn.begin();
        turn.took(BYTES);
        assert!(!turn.may_read() && !turn.next());
        turn.begin();
        turn.begun.set(Some(Instant::now() - TIME));
        assert!(turn.may_read() && !turn.next() && !turn.may_serve());
        turn.begin();
        turn.wrote(WRITTEN);
        assert!(!turn.may_write());
        turn.begin();
        assert!(turn.may_write());
    }
}
