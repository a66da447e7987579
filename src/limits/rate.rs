//! Limits how many messages per second each secret may publish. Pure: the caller passes the time. Each of several nodes
//! allows its share of the rate.
//!
//! A token bucket that fills at the rate and holds the tokens of one second. A request is accepted while the bucket is not
//! empty, and may take more tokens than it holds; later requests then wait until it has filled up again. So no request is
//! too large forever, and the average rate is kept.

use std::sync::atomic::{AtomicU64, Ordering};

const SECOND_US: u64 = 1_000_000;
/// If there are more secrets, they share buckets.
const BUCKETS: usize = 64;

/// A bucket for each secret.
#[derive(Debug)]
pub struct PublishRates {
    per_second: u64,
    /// The nodes that share the rate.
    nodes: AtomicU64,
    /// The time at which each bucket is full again, in µs of the caller's clock.
    full_at_us: [AtomicU64; BUCKETS],
}

impl PublishRates {
    /// Starts with full buckets. A rate of 0 means no limit.
    pub fn new(per_second: usize) -> Self {
        let nodes = AtomicU64::new(1);
        Self { per_second: per_second as u64, nodes, full_at_us: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    /// Whether there is a limit. Without one the caller does not need to read the clock.
    pub fn is_limited(&self) -> bool {
        self.per_second > 0
    }

    /// Sets how many nodes share the rate.
    pub fn share(&self, nodes: usize) {
        self.nodes.store(nodes.max(1) as u64, Ordering::Relaxed);
    }

    /// Takes a token for each message from the bucket of the secret with this number.
    ///
    /// # Errors
    /// The bucket is empty. The error is the number of seconds until it is not.
    pub fn take(&self, secret: usize, count: usize, now_us: u64) -> Result<(), u64> {
        if !self.is_limited() || count == 0 {
            return Ok(());
        }
        let bucket = &self.full_at_us[secret % BUCKETS];
        let nodes = self.nodes.load(Ordering::Relaxed);
        let price = (count as u64).saturating_mul(SECOND_US).saturating_mul(nodes) / self.per_second;
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
    fn a_burst_of_one_second_is_allowed_and_then_the_rate() {
        let rates = PublishRates::new(10);
        let taken = |now_us| (0..100).take_while(|_| rates.take(0, 1, now_us).is_ok()).count();
        assert_eq!(taken(7), 10);
        assert_eq!(taken(8), 1, "a part of a token is enough");
        assert_eq!([taken(100_007), taken(100_008), taken(500_008)], [0, 1, 4]);
        assert_eq!(taken(60 * SECOND_US), 10, "the bucket holds the tokens of one second at most");
    }

    #[test]
    fn a_large_batch_passes_and_delays_later_requests() {
        let rates = PublishRates::new(10);
        assert_eq!(rates.take(0, 45, 0), Ok(()));
        assert_eq!(rates.take(0, 1, 0), Err(4));
        assert_eq!(rates.take(0, 1, 3_400_000), Err(1));
        assert_eq!(rates.take(0, 1, 3_500_001), Ok(()));
        assert_eq!(rates.take(1, 45, 0), Ok(()), "each secret has its own bucket");
    }

    #[test]
    fn nodes_share_the_rate() {
        let rates = PublishRates::new(10);
        rates.share(2);
        let taken = |now_us| (0..100).take_while(|_| rates.take(0, 1, now_us).is_ok()).count();
        assert_eq!([taken(0), taken(200_000), taken(60 * SECOND_US)], [5, 1, 5]);
        rates.share(0);
        assert_eq!(taken(90 * SECOND_US), 10, "a node has the whole rate before it knows others");
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let rates = PublishRates::new(0);
        assert!(!rates.is_limited());
        assert_eq!(rates.take(0, usize::MAX, 0), Ok(()));
    }

    #[test]
    fn secrets_with_high_numbers_are_limited() {
        let rates = PublishRates::new(1);
        assert_eq!(rates.take(3 + BUCKETS, 5, 0), Ok(()));
        assert!(rates.take(3 + BUCKETS, 5, 0).is_err());
    }
}
