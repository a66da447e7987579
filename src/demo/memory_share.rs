//! What one socket holds of the memory that the demo's sockets have together.

use crate::telemetry::in_flight::BoundedCounter;
use std::sync::Arc;

/// A socket that holds no more than this is never asked to go.
const MODEST_BYTES: usize = 64 << 10;

/// One socket's share.
#[derive(Debug)]
pub struct MemoryShare {
    all: Arc<BoundedCounter>,
    held: usize,
}

impl MemoryShare {
    /// A share of what is counted in this gauge.
    pub fn of(all: Arc<BoundedCounter>) -> Self {
        Self { all, held: 0 }
    }

    /// Notes that so many bytes are held now. False if that is too much, because all sockets together hold too much.
    pub fn hold(&mut self, bytes: usize) -> bool {
        self.all.add(bytes);
        self.all.sub(self.held);
        self.held = bytes;
        bytes <= MODEST_BYTES || !self.all.is_full()
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
    fn the_large_must_go_when_all_is_full_and_the_modest_stay() {
        let all = Arc::new(BoundedCounter::new(1 << 20));
        let (mut large, mut modest) = (MemoryShare::of(all.clone()), MemoryShare::of(all.clone()));
        assert!(large.hold(1 << 19) && modest.hold(1 << 10));
        assert!(!large.hold(1 << 20));
        assert!(modest.hold(MODEST_BYTES));
        drop(large);
        assert_eq!(all.get(), MODEST_BYTES);
        assert!(modest.hold(MODEST_BYTES + 1));
        drop(modest);
        assert_eq!(all.get(), 0);
    }
}
