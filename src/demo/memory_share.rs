//! The part of the demo's common memory that one socket holds.

use crate::telemetry::in_flight::BoundedCounter;
use std::sync::Arc;

/// A socket that holds at most this many bytes is never closed to free memory.
const SMALL_SOCKET_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub struct MemoryShare {
    all: Arc<BoundedCounter>,
    held: usize,
}

impl MemoryShare {
    /// Creates a share of the memory counted in `all`.
    pub fn of(all: Arc<BoundedCounter>) -> Self {
        Self { all, held: 0 }
    }

    /// Records that the socket now holds this many bytes. Returns false if it must be closed, because all sockets
    /// together hold too much.
    pub fn hold(&mut self, bytes: usize) -> bool {
        self.all.add(bytes);
        self.all.sub(self.held);
        self.held = bytes;
        bytes <= SMALL_SOCKET_BYTES || !self.all.is_full()
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.all.sub(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_sockets_are_closed_when_memory_is_full() {
        let all = Arc::new(BoundedCounter::new(1 << 20));
        let (mut large, mut modest) = (MemoryShare::of(all.clone()), MemoryShare::of(all.clone()));
        assert!(large.hold(1 << 19) && modest.hold(1 << 10));
        assert!(!large.hold(1 << 20));
        assert!(modest.hold(SMALL_SOCKET_BYTES));
        drop(large);
        assert_eq!(all.get(), SMALL_SOCKET_BYTES);
        assert!(modest.hold(SMALL_SOCKET_BYTES + 1));
        drop(modest);
        assert_eq!(all.get(), 0);
    }
}
