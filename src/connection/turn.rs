//! The turns of a connection's task: a limit for the work that it does before other tasks run.
//!
//! A client may send many requests without waiting for answers. They are served one after the other; after a few of them
//! the task waits until the thread's other tasks and its I/O driver have run.

use super::deadline::ConnectionDeadline;
use crate::clock::yield_now;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The most requests in a turn. Publishes that are pipelined go to the registry together.
const MAX_REQUESTS: u32 = 16;
/// No further request is started in a turn that has taken this long.
const MAX_TIME: Duration = Duration::from_micros(250);
/// The most bytes that are read in a turn.
const MAX_READ: usize = 64 << 10;
/// The most bytes of responses that are written in a turn, apart from the last piece. Otherwise a client that reads as fast
/// as the server writes would occupy the thread until its response ends.
const MAX_WRITTEN: usize = 256 << 10;

/// The work done in a turn, and whether another turn must follow.
#[derive(Debug, Default)]
pub struct ConnectionTurn {
    has_more: Cell<bool>,
    requests: Cell<u32>,
    read: Cell<usize>,
    written: Cell<usize>,
    started: Cell<Option<Instant>>,
    is_over: Cell<bool>,
}

impl ConnectionTurn {
    /// There is more to do, and nothing else will wake the task for it.
    pub(crate) fn set_more(&self) {
        self.has_more.set(true);
    }

    /// Counts bytes that the client sent.
    pub(crate) fn count_read(&self, bytes: usize) {
        self.read.set(self.read.get() + bytes);
    }

    /// Counts written bytes of a response.
    pub(crate) fn count_written(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes);
    }

    pub(crate) fn may_write(&self) -> bool {
        self.written.get() < MAX_WRITTEN
    }

    pub(crate) fn may_read(&self) -> bool {
        self.read.get() < MAX_READ
    }

    /// Whether another request may follow.
    pub(crate) fn may_serve(&self) -> bool {
        self.requests.get() < MAX_REQUESTS && self.may_read() && !self.is_over.get()
    }

    fn start(&self) {
        self.has_more.set(false);
        self.requests.set(1);
        self.read.set(0);
        self.written.set(0);
        self.started.set(None);
        self.is_over.set(false);
    }

    /// Starts the next request. Returns whether it is served in this turn.
    fn next(&self) -> bool {
        match self.started.get() {
            Some(started) => self.is_over.set(started.elapsed() >= MAX_TIME),
            None => self.started.set(Some(Instant::now())),
        }
        self.has_more.set(false);
        self.requests.set(self.requests.get() + 1);
        self.may_read() && !self.is_over.get()
    }
}

/// Runs the HTTP stack's future of a connection, in turns.
pub(crate) async fn in_turns<F: Future + Unpin>(
    mut served: F,
    deadline: Rc<ConnectionDeadline>,
) -> F::Output {
    let turn = &deadline.turn;
    std::future::poll_fn(|context| {
        deadline.set_task(context);
        turn.start();
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut served).poll(context) {
                return Poll::Ready(ended);
            }
            if !turn.has_more.get() {
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
    fn a_turn_is_limited() {
        let turn = ConnectionTurn::default();
        turn.start();
        let served = 1 + std::iter::from_fn(|| (turn.may_serve() && turn.next()).then_some(())).count();
        assert!((2..=MAX_REQUESTS as usize).contains(&served), "{served}");
        turn.start();
        turn.count_read(MAX_READ);
        assert!(!turn.may_read() && !turn.next());
        turn.start();
        turn.started.set(Some(Instant::now() - MAX_TIME));
        assert!(turn.may_read() && !turn.next() && !turn.may_serve());
        turn.start();
        turn.count_written(MAX_WRITTEN);
        assert!(!turn.may_write());
        turn.start();
        assert!(turn.may_write());
    }
}
