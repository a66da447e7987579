//! How many messages a second each secret may publish. Pure; told the time.
//!
//! A bucket that fills with the rate and holds what comes in a second. A request is taken while there is anything in
//! it, and may take more than there is: what it owes, those behind it wait for. So no request is too large for good, and
//! the rate holds in the mean.

use std::sync::atomic::{AtomicU64, Ordering};

const SECOND_US: u64 = 1_000_000;
/// Secrets beyond these share the buckets of others.
const BUCKETS: usize = 64;

/// A bucket for each secret.
#[derive(Debug)]
pub struct PublishRates {
    per_second: u64,
    /// When each bucket will be full again, in µs of the caller's clock.
    full_at_us: [AtomicU64; BUCKETS],
}

impl PublishRates {
    /// Full buckets; a rate of 0 is none.
    pub fn new(per_second: usize) -> Self {
        Self { per_second: per_second as u64, full_at_us: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    /// Whether there is any limit. Without one nobody need look at a clock.
    pub fn is_limited(&self) -> bool {
        self.per_second > 0
    }

    /// Takes so many messages out of the bucket of the secret with this number.
    ///
    /// # Errors
    /// It is empty; there is something in it again after so many seconds.
    pub fn take(&self, secret: usize, count: usize, now_us: u64) -> Result<(), u64> {
        if !self.is_limited() || count == 0 {
            return Ok(());
        }
        let bucket = &self.full_at_us[secret % BUCKETS];
        let price = (count as u64).saturating_mul(SECOND_US) / self.per_second;
        let taken = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let has_any = full_at.saturating_sub(now_us) < SECOND_US;
            has_any.then(|| full_at.max(now_us).saturating_add(price))
        });
        taken.map(drop).map_err(|full_at| {
            let wait_us = full_at.saturating_sub(now_us + SECOND_US) + 1;
            wait_us.div_ceil(SECOND_US)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_the_rate_goes_at_once_and_then_the_rate() {
        let rates = PublishRates::new(10);
        let taken = |now_us| (0..100).take_while(|_| rates.take(0, 1, now_us).is_ok()).count();
        assert_eq!(taken(7), 10);
        assert_eq!(taken(8), 1, "whoever has a part of the next one left may take it");
        assert_eq!([taken(100_007), taken(100_008), taken(500_008)], [0, 1, 4]);
        assert_eq!(taken(60 * SECOND_US), 10, "no more is saved up than comes in a second");
    }

    #[test]
    fn a_large_batch_passes_and_is_waited_for() {
        let rates = PublishRates::new(10);
        assert_eq!(rates.take(0, 45, 0), Ok(()));
        assert_eq!(rates.take(0, 1, 0), Err(4));
        assert_eq!(rates.take(0, 1, 3_400_000), Err(1));
        assert_eq!(rates.take(0, 1, 3_500_001), Ok(()));
        assert_eq!(rates.take(1, 45, 0), Ok(()), "each secret has its own");
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let rates = PublishRates::new(0);
        assert!(!rates.is_limited());
        assert_eq!(rates.take(0, usize::MAX, 0), Ok(()));
    }

    #[test]
    fn no_number_is_too_high_to_be_limited() {
        let rates = PublishRates::new(1);
        assert_eq!(rates.take(3 + BUCKETS, 5, 0), Ok(()));
        assert!(rates.take(3 + BUCKETS, 5, 0).is_err());
    }
}
