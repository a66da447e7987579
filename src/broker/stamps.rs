//! The counter of stamps. There is one, on the thread of the registry, the channels and the private messages.

use crate::protocol::ids::Stamp;
use crate::protocol::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's description. One thread counts, so that the order of the operations needs no synchronization.
#[derive(Debug, Default)]
pub struct Stamps(AtomicU64);

impl Stamps {
    /// Takes the stamp of a publication at this time. It never goes back, although clocks do.
    pub fn next(&self, now: &Timestamp) -> Stamp {
        self.take(Stamp::at(now))
    }

    /// Takes a stamp that is later than every one so far, without a time.
    pub fn later(&self) -> Stamp {
        self.take(Stamp::default())
    }

    fn take(&self, earliest: Stamp) -> Stamp {
        let next = earliest.max(Stamp(self.latest().0 + 1));
        self.0.store(next.0, Ordering::Relaxed);
        next
    }

    /// The last stamp so far. Everything with this stamp or an earlier one was published.
    pub fn latest(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_follow_the_clock_and_never_go_back() {
        let stamps = Stamps::default();
        let at = |micros| stamps.next(&Timestamp::from_unix_micros(micros)).0;
        assert_eq!([at(500), at(900), at(400), at(901), at(2_000)], [500, 900, 901, 902, 2_000]);
        assert_eq!((stamps.latest().0, at(-5)), (2_000, 2_001));
        assert_eq!((stamps.later().0, at(2_002), stamps.latest().0), (2_002, 2_003, 2_003));
    }
}
