//! Writing to a socket, directly or from the queue, and to many sockets in one turn.

use super::queue::Queued;
#[cfg(target_os = "linux")]
use super::ring::Ring;
use super::{PushResult, SendQueue, Sink};
use crate::clock;
use crate::protocol::frame_batch::FrameBatch;
use bytes::Bytes;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// The most frames per write call.
const MAX_SLICES: usize = 64;
/// The most calls per turn, and the bytes after which no further call is made. Otherwise a client that reads as fast as
/// the server writes would occupy the thread until its queue is empty.
const MAX_CALLS: usize = 16;
const TURN_BYTES: usize = 1 << 20;

/// The result of writing the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// The queue is empty.
    All,
    /// The socket accepts no more bytes.
    Full,
    /// The limit of one turn was reached; the session continues in its next turn.
    Turn,
}

impl Sink {
    /// Sends directly to the kernel. Tokio's readiness state is only needed, and only used, when the socket is full.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => SockRef::from(socket).send(bytes),
            // Collected frames are not written.
            Self::Response => Ok(0),
            Self::Body => Err(io::ErrorKind::WouldBlock.into()),
            #[cfg(test)]
            Self::Simulated(socket) => socket.take(&[IoSlice::new(bytes)]),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.try_write_vectored(slices),
            Self::Response => Ok(0),
            Self::Body => Err(io::ErrorKind::WouldBlock.into()),
            #[cfg(test)]
            Self::Simulated(socket) => socket.take(slices),
        }
    }
}

impl SendQueue {
    /// The address of the socket's peer. `None` if the queue has no socket.
    pub fn peer(&self) -> Option<IpAddr> {
        self.stream()?.peer_addr().ok().map(|peer| peer.ip().to_canonical())
    }

    /// Shuts down the sending direction: the client receives the end of the stream after everything sent. Reading
    /// continues.
    pub fn shutdown_write(&self) {
        if let Sink::Socket(socket) = &self.sink {
            // Fails when the client has disconnected, which reading detects as well.
            let _ = SockRef::from(socket).shutdown(Shutdown::Write);
        }
    }

    /// The socket, for reading. `None` if the queue has none.
    pub fn stream(&self) -> Option<&TcpStream> {
        match &self.sink {
            Sink::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    /// Writes as much as the socket accepts. Ready when nothing is waiting.
    ///
    /// # Errors
    /// The errors of the socket.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.stream() else { return Poll::Ready(Ok(())) };
        loop {
            match self.try_flush()? {
                Flushed::All => return Poll::Ready(Ok(())),
                Flushed::Full => {}
                Flushed::Turn => {
                    clock::yield_now(context);
                    return Poll::Pending;
                }
            }
            match socket.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A send of `batch` to a websocket with an empty queue and no send in progress; `None` in all other cases. The
    /// caller passes it to a [`super::FrameSender`] and its result to [`SendQueue::sent`] before anything else is
    /// pushed: with two sends in flight, the second could precede the rest of the first.
    pub fn ready<'a>(&'a self, batch: &'a FrameBatch) -> Option<Sending<'a>> {
        match &self.sink {
            Sink::Socket(socket)
                if !self.sealed.get()
                    && !self.sending.get()
                    && !self.held.get()
                    && self.queue.borrow().is_empty() =>
            {
                self.sending.set(true);
                Some(Sending { socket: socket.as_fd(), bytes: &batch.bytes })
            }
            _ => None,
        }
    }

    /// Handles the result of sending `batch`: bytes that the kernel did not accept wait in the queue.
    pub fn sent(&self, batch: &FrameBatch, taken: io::Result<usize>) -> PushResult {
        self.sending.set(false);
        self.note_ids(batch);
        let taken = match taken {
            Ok(taken) if taken == batch.bytes.len() => return PushResult::Accepted,
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return self.refuse(PushResult::Broken),
        };
        self.queue.borrow_mut().push_rest(batch, taken);
        self.wake();
        PushResult::Accepted
    }

    /// Sends the handshake response, before anything else. Bytes that the kernel does not accept wait in the queue.
    pub fn push_answer(&self, answer: &[u8]) -> PushResult {
        let taken = match self.send(answer) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return self.refuse(PushResult::Broken),
        };
        if taken < answer.len() {
            let bytes = Bytes::copy_from_slice(&answer[taken..]);
            self.queue.borrow_mut().push(Queued { is_partial: taken > 0, ..Queued::new(bytes, None) });
            self.wake();
        }
        PushResult::Accepted
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.get() { Err(io::ErrorKind::WouldBlock.into()) } else { self.sink.send(bytes) }
    }

    /// Records the cursor that an event stream has sent in ids, so that a heartbeat does not repeat it.
    fn note_ids(&self, batch: &FrameBatch) {
        if self.writes_events() {
            self.cover(batch.ids.covered);
        }
    }

    pub(super) fn push_batch(&self, batch: &FrameBatch) -> PushResult {
        if self.sealed.get() {
            return PushResult::Closed;
        }
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            drop(queue);
            return self.sent(batch, self.send(&batch.bytes));
        }
        if !queue.has_room(batch.bytes.len()) {
            drop(queue);
            return self.refuse(PushResult::Overflow);
        }
        queue.push_rest(batch, 0);
        drop(queue);
        self.note_ids(batch);
        self.wake();
        PushResult::Accepted
    }

    /// Writes until the queue is empty, the socket accepts no more, or the limit of one turn is reached.
    pub(super) fn try_flush(&self) -> io::Result<Flushed> {
        let mut queue = self.queue.borrow_mut();
        let mut bytes = 0;
        for _ in 0..MAX_CALLS {
            if queue.is_empty() {
                return Ok(Flushed::All);
            }
            if self.held.get() {
                return Ok(Flushed::Full);
            }
            if bytes >= TURN_BYTES {
                break;
            }
            let taken = {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
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

/// Below this, a call of the ring costs as much as the calls that it saves.
#[cfg(target_os = "linux")]
const MIN_RING_BATCH: usize = 2;

/// Bytes to send to a socket.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// The socket, in non-blocking mode.
    pub socket: BorrowedFd<'a>,
    pub bytes: &'a [u8],
}

/// Sends to many sockets: with one call through io_uring if it is available, otherwise with one call per socket.
#[derive(Debug, Default)]
pub struct FrameSender {
    #[cfg(target_os = "linux")]
    ring: Option<Ring>,
}

impl FrameSender {
    /// Creates a sender, with a ring if io_uring is available. Must be called on the thread that uses the sender.
    pub fn with_ring() -> Self {
        #[cfg(target_os = "linux")]
        match Ring::new() {
            Ok(ring) => return Self { ring: Some(ring) },
            // The kernel is older than 6.1, or the administrator or a container's filter forbids io_uring.
            Err(error) => log::info!("io_uring is not available, sending to each socket separately: {error}"),
        }
        Self::default()
    }

    /// Sends without waiting, and returns the number of bytes that the kernel accepted of each entry, in order.
    pub fn send(&mut self, batch: &[Sending<'_>]) -> Vec<io::Result<usize>> {
        let mut taken = Vec::with_capacity(batch.len());
        #[cfg(target_os = "linux")]
        if let Some(ring) = &mut self.ring
            && batch.len() >= MIN_RING_BATCH
            && let Err(error) = ring.send(batch, &mut taken)
        {
            log::warn!("io_uring no longer works, sending to each socket separately from now on: {error}");
            self.ring = None;
        }
        let rest = batch.iter().skip(taken.len());
        taken.extend(rest.map(|sending| SockRef::from(&sending.socket).send(sending.bytes)));
        taken
    }
}
