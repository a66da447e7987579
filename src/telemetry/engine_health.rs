//! Whether a node works with Redis. The link to Redis sets it, the health paths read it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Redis answers.
const ANSWERS: u64 = u64::MAX;

/// The state of a node's link. The times are passed in.
#[derive(Debug)]
pub struct EngineHealth {
    started: Instant,
    /// Since when Redis has not answered, in ms after the start.
    silent_since: AtomicU64,
    has_joined: AtomicBool,
}

impl Default for EngineHealth {
    /// A node that has not been connected since now.
    fn default() -> Self {
        Self { started: Instant::now(), silent_since: AtomicU64::new(0), has_joined: AtomicBool::new(false) }
    }
}

impl EngineHealth {
    /// The node has a connection again.
    pub fn connected(&self) {
        self.silent_since.store(ANSWERS, Ordering::Relaxed);
    }

    /// The node has lost its connection.
    pub fn lost(&self, now: Instant) {
        self.silent_since.store(self.ms(now), Ordering::Relaxed);
    }

    /// Redis has answered what the node states first: the other nodes know this one, and it serves clients.
    pub fn joined(&self) {
        self.has_joined.store(true, Ordering::Relaxed);
    }

    /// Whether the node has ever joined the others.
    pub fn has_joined(&self) -> bool {
        self.has_joined.load(Ordering::Relaxed)
    }

    /// How long Redis has not answered.
    pub fn silence(&self, now: Instant) -> Duration {
        match self.silent_since.load(Ordering::Relaxed) {
            ANSWERS => Duration::ZERO,
            since => Duration::from_millis(self.ms(now).saturating_sub(since)),
        }
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(ANSWERS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_from_the_loss_to_the_next_connection() {
        let health = EngineHealth::default();
        let at = |ms| health.started + Duration::from_millis(ms);
        let silence = |ms| health.silence(at(ms)).as_millis();
        assert_eq!((silence(0), silence(500)), (0, 500), "there is no connection at the start");
        health.connected();
        assert_eq!(silence(9_000), 0);
        health.lost(at(10_000));
        assert_eq!((silence(9_999), silence(10_000), silence(13_000)), (0, 0, 3_000));
        health.connected();
        assert_eq!(silence(20_000), 0);
    }

    #[test]
    fn a_node_that_has_joined_stays_joined() {
        let health = EngineHealth::default();
        health.connected();
        assert!(!health.has_joined());
        health.joined();
        health.lost(health.started);
        assert!(health.has_joined());
    }
}
