//! A simulated socket with a configurable capacity, which behaves like the socket of a client that reads slowly.

use super::socket::Flushed;
use super::{QueueCapacity, SendQueue, Sink, Transport};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;

/// The state of a connection that the kernel would hold.
#[derive(Default)]
pub struct Socket {
    /// Bytes that it accepts before it is full.
    room: Cell<usize>,
    taken: RefCell<Vec<u8>>,
    broken: Cell<bool>,
}

impl Socket {
    /// The client has read: the socket accepts this many bytes.
    pub fn make_room(&self, bytes: usize) {
        self.room.set(bytes);
    }

    /// The client has disconnected without a close frame.
    pub fn break_down(&self) {
        self.broken.set(true);
    }

    /// The bytes accepted since the last call, for the client to read.
    pub fn received(&self) -> Vec<u8> {
        self.taken.take()
    }

    pub(super) fn take(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.broken.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = self.room.get();
        for slice in slices {
            let count = slice.len().min(self.room.get());
            self.taken.borrow_mut().extend_from_slice(&slice[..count]);
            self.room.set(self.room.get() - count);
        }
        match before - self.room.get() {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }
}

impl SendQueue {
    /// The send queue of a websocket on a simulated socket.
    pub fn simulated(socket: Rc<Socket>, max_queued: QueueCapacity) -> Self {
        Self::new(Transport::Websocket, Sink::Simulated(socket), max_queued, 0)
    }

    /// The same of an event stream.
    pub fn simulated_events(socket: Rc<Socket>, max_queued: QueueCapacity) -> Self {
        Self::new(Transport::Sse, Sink::Simulated(socket), max_queued, 0).positioned(true)
    }

    /// Flushes like a session whose socket is writable. True when nothing is waiting.
    pub fn flush_simulated(&self) -> bool {
        loop {
            match self.try_flush() {
                Ok(Flushed::Turn) => {}
                Ok(flushed) => return flushed == Flushed::All,
                Err(_) => return true,
            }
        }
    }
}
