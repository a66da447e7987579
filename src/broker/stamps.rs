//! The counter of stamps. There is one, on the thread of the registry, the channels and the private messages. With the
//! Redis engine it follows the stamps of Redis, and takes none of its own.

use crate::protocol::ids::Stamp;
use crate::protocol::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's description. One thread counts, so that the order of the operations needs no synchronization.
#[derive(Debug, Default)]
pub struct Stamps {
    latest: AtomicU64,
    follows: bool,
}

impl Stamps {
    /// A counter of stamps that others take.
    pub fn following() -> Self {
        Self { latest: AtomicU64::new(0), follows: true }
    }

    /// Whether others take the stamps.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Everything up to this stamp was published and handled. Earlier stamps change nothing.
    pub fn follow(&self, stamp: Stamp) {
        self.latest.store(stamp.max(self.latest()).0, Ordering::Relaxed);
    }

    /// Takes the stamp of a publication at this time. It never goes back, although clocks do. A counter that follows returns
    /// the last stamp.
    pub fn next(&self, now: &Timestamp) -> Stamp {
        self.take(Stamp::at(now))
    }

    /// Takes a stamp that is later than every one so far, without a time.
    pub fn later(&self) -> Stamp {
        self.take(Stamp::default())
    }

    fn take(&self, earliest: Stamp) -> Stamp {
        if self.follows {
            return self.latest();
        }
        let next = earliest.max(Stamp(self.latest().0 + 1));
        self.latest.store(next.0, Ordering::Relaxed);
        next
    }

    /// The last stamp so far. Everything with this stamp or an earlier one was published.
    pub fn latest(&self) -> Stamp {
        Stamp(self.latest.load(Ordering::Relaxed))
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

    #[test]
    fn a_counter_that_follows_takes_no_stamps() {
        let stamps = Stamps::following();
        stamps.follow(Stamp(70));
        stamps.follow(Stamp(60));
        assert_eq!(
            (stamps.later(), stamps.next(&Timestamp::now()), stamps.latest()),
            (Stamp(70), Stamp(70), Stamp(70))
        );
    }
}
