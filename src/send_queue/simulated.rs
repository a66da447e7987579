//! A socket without a kernel: it takes what it has room for, and the rest comes back, as from a peer that reads slowly.

use super::socket::Flushed;
use super::{QueueCapacity, SendQueue, Sink};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;

/// What the kernel would hold of a connection.
#[derive(Default)]
pub struct Socket {
    /// Bytes it takes before it is full.
    room: Cell<usize>,
    taken: RefCell<Vec<u8>>,
    broken: Cell<bool>,
}

impl Socket {
    /// The peer has read: there is room for so many bytes.
    pub fn make_room(&self, bytes: usize) {
        self.room.set(bytes);
    }

    /// The peer is gone without a word.
    pub fn break_down(&self) {
        self.broken.set(true);
    }

    /// What was taken so far, for the peer to read.
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
    /// The send queue of a websocket whose kernel is this one.
    pub fn simulated(socket: Rc<Socket>, max_queued: QueueCapacity) -> Self {
        Self::new(Sink::Simulated(socket), max_queued, 0)
    }

    /// What the session does when its socket is writable: true when nothing waits.
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
