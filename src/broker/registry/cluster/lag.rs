//! How long entries take from Redis to this node. Pure.
//!
//! Stamps are times of Redis, whose clock may differ from that of this node. The beats show the difference: the least one
//! between the time here and the stamp of a beat, which was on its way for a moment as well.

use crate::protocol::ids::Stamp;

/// How far the clocks may drift apart from beat to beat, in µs.
const DRIFT_US: i64 = 1_000;

/// The difference of the clocks, in µs, as the beats have shown it. `None` before the first one.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryLag(Option<i64>);

impl DeliveryLag {
    /// A beat with this stamp was answered. `now` is the time here in ms, from any beginning.
    pub fn beat(&mut self, stamp: Stamp, now: u64) {
        let difference = difference(stamp, now);
        self.0 = Some(self.0.map_or(difference, |least| difference.min(least.saturating_add(DRIFT_US))));
    }

    /// How long an entry with this stamp was on its way, in ms. `None` before the first beat.
    pub fn of(&self, stamp: Stamp, now: u64) -> Option<u64> {
        let late = difference(stamp, now).saturating_sub(self.0?);
        Some(u64::try_from(late / 1_000).unwrap_or(0))
    }
}

fn difference(stamp: Stamp, now: u64) -> i64 {
    let now = i64::try_from(now.saturating_mul(1_000)).unwrap_or(i64::MAX);
    now.saturating_sub(i64::try_from(stamp.0).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_may_differ() {
        const REDIS_US: u64 = 1_700_000_000_000_000;
        let mut lag = DeliveryLag::default();
        assert_eq!(lag.of(Stamp(REDIS_US), 100), None);
        lag.beat(Stamp(REDIS_US), 100);
        assert_eq!(lag.of(Stamp(REDIS_US + 50_000), 150), Some(0));
        assert_eq!(lag.of(Stamp(REDIS_US + 50_000), 157), Some(7));
        // A late beat changes little, an early one corrects the difference.
        lag.beat(Stamp(REDIS_US + 1_000_000), 1_600);
        assert_eq!(lag.of(Stamp(REDIS_US + 1_000_000), 1_120), Some(19));
        lag.beat(Stamp(REDIS_US + 2_000_000), 2_090);
        assert_eq!(lag.of(Stamp(REDIS_US + 2_000_000), 2_100), Some(10));
        assert_eq!(lag.of(Stamp(u64::MAX), 0), Some(0));
    }
}
