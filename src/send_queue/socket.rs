//! Writing to a socket: straight, or what waited.

use super::queue::Queued;
use super::{FrameBatch, PushResult, SendQueue, Sending, Sink};
use bytes::Bytes;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

/// Frames given to the kernel in one call at most.
const SLICES: usize = 64;
/// Calls, and bytes beyond which no further call is made, of one turn: a peer that reads as fast as we write would
/// otherwise have the thread for as long as something waits for it.
const CALLS: usize = 16;
const TURN_BYTES: usize = 1 << 20;

/// How far writing what waits has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing waits.
    All,
    /// The socket takes no more.
    Full,
    /// As much as one turn may write; the session goes on in its next turn.
    Turn,
}

impl Sink {
    /// Straight to the kernel: tokio's own record of the socket is only needed, and touched, when it is full.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => SockRef::from(socket).send(bytes),
            // Polls are asked for what they collected, never written to.
            Self::Poll => Ok(0),
            #[cfg(test)]
            Self::Simulated(socket) => socket.take(&[IoSlice::new(bytes)]),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.try_write_vectored(slices),
            Self::Poll => Ok(0),
            #[cfg(test)]
            Self::Simulated(socket) => socket.take(slices),
        }
    }
}

impl SendQueue {
    /// What would deliver `joined` to a websocket for which nothing waits and nothing is being sent; `None` for all
    /// others. The caller hands it to a [`super::Sender`] and what came of it to [`SendQueue::sent`], before anything else
    /// is pushed: of two that were under way, the second would follow what is left of the first.
    pub fn ready<'a>(&'a self, joined: &'a FrameBatch) -> Option<Sending<'a>> {
        match &self.sink {
            Sink::Socket(socket)
                if !self.sealed.get() && !self.sending.get() && self.queue.borrow().is_empty() =>
            {
                self.sending.set(true);
                Some(Sending { socket: socket.as_fd(), bytes: &joined.bytes })
            }
            _ => None,
        }
    }

    /// What came of sending `joined`: what the kernel did not take waits in the queue.
    pub fn sent(&self, joined: &FrameBatch, taken: io::Result<usize>) -> PushResult {
        self.sending.set(false);
        let taken = match taken {
            Ok(taken) if taken == joined.bytes.len() => return PushResult::Accepted,
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return self.refuse(PushResult::Broken),
        };
        self.queue.borrow_mut().push_rest(joined, taken);
        self.wake();
        PushResult::Accepted
    }

    /// Sends the answer to the handshake, before all else. What the kernel does not take of it waits.
    pub fn push_answer(&self, answer: &[u8]) -> PushResult {
        let taken = match self.sink.send(answer) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return self.refuse(PushResult::Broken),
        };
        if taken < answer.len() {
            let bytes = Bytes::copy_from_slice(&answer[taken..]);
            self.queue.borrow_mut().push(Queued { bytes, mark: None, begun: taken > 0 });
            self.wake();
        }
        PushResult::Accepted
    }

    pub(super) fn push_joined(&self, joined: &FrameBatch) -> PushResult {
        if self.sealed.get() {
            return PushResult::Sealed;
        }
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            drop(queue);
            return self.sent(joined, self.sink.send(&joined.bytes));
        }
        if !queue.has_room(joined.bytes.len()) {
            drop(queue);
            return self.refuse(PushResult::Overflow);
        }
        queue.push_rest(joined, 0);
        drop(queue);
        self.wake();
        PushResult::Accepted
    }

    /// Writes until nothing waits, the socket takes no more, or it has been enough for one turn.
    pub(super) fn try_flush(&self) -> io::Result<Flushed> {
        let mut queue = self.queue.borrow_mut();
        let mut bytes = 0;
        for _ in 0..CALLS {
            if queue.is_empty() {
                return Ok(Flushed::All);
            }
            if bytes >= TURN_BYTES {
                break;
            }
            let taken = {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let used = queue.fill(&mut slices);
                self.sink.try_write_vectored(&slices[..used])
            };
            match taken {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    queue.advance(taken);
                    bytes += taken;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Full),
                Err(error) => return Err(error),
            }
        }
        Ok(if queue.is_empty() { Flushed::All } else { Flushed::Turn })
    }
}
