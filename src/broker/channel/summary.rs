//! The figures of a channel that the registry and the console read without asking its actor.

use super::state::ChannelState;
use crate::protocol::time::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// The figures of a channel. Only the channel writes them, with every message; any thread reads them. Neither side
/// waits.
#[derive(Debug)]
pub struct Summary {
    /// Connections in the upper half, users in the lower half, so that both are read at one moment.
    present: AtomicU64,
    history: AtomicU32,
    frames: AtomicU64,
    rate: Rate,
    /// In microseconds since 1970.
    last_active: AtomicI64,
}

/// The recent frame rate: the frames in the current time window and in the one before it. Written by one thread.
#[derive(Debug, Default)]
struct Rate {
    window: AtomicU64,
    current: AtomicU32,
    previous: AtomicU32,
}

const WINDOW_MS: u64 = 10_000;

impl Rate {
    /// The frames in this window and in the one before it.
    fn at(&self, window: u64) -> (u32, u32) {
        let current = self.current.load(Ordering::Relaxed);
        match window.saturating_sub(self.window.load(Ordering::Relaxed)) {
            0 => (current, self.previous.load(Ordering::Relaxed)),
            1 => (0, current),
            _ => (0, 0),
        }
    }

    fn count(&self, frames: u32, now_ms: u64) {
        let window = now_ms / WINDOW_MS;
        let (current, previous) = self.at(window);
        self.window.store(window, Ordering::Relaxed);
        self.previous.store(previous, Ordering::Relaxed);
        self.current.store(current.saturating_add(frames), Ordering::Relaxed);
    }

    /// Frames per 1000 seconds. Of the previous window, the part counts that is less than a window ago.
    fn per_second(&self, now_ms: u64) -> u64 {
        let (current, previous) = self.at(now_ms / WINDOW_MS);
        let left_ms = WINDOW_MS - now_ms % WINDOW_MS;
        (u64::from(current) * WINDOW_MS + u64::from(previous) * left_ms) * 1_000
            / WINDOW_MS
            / (WINDOW_MS / 1_000)
    }
}

impl Summary {
    pub fn new(now: Timestamp) -> Self {
        Self {
            present: AtomicU64::new(0),
            history: AtomicU32::new(0),
            frames: AtomicU64::new(0),
            rate: Rate::default(),
            last_active: AtomicI64::new(now.unix_micros()),
        }
    }

    /// Updates the figures.
    pub fn update(&self, state: &ChannelState) {
        let (connections, users, history) = state.counts();
        self.present.store(u64::from(connections) << 32 | u64::from(users), Ordering::Relaxed);
        self.history.store(history, Ordering::Relaxed);
        let frames = state.position().offset;
        let new = frames.saturating_sub(self.frames.load(Ordering::Relaxed));
        if new == 0 {
            return;
        }
        let now = state.last_active();
        self.frames.store(frames, Ordering::Relaxed);
        self.rate.count(new.try_into().unwrap_or(u32::MAX), now.unix_ms());
        self.last_active.store(now.unix_micros(), Ordering::Relaxed);
    }

    /// Present connections and present users.
    pub fn present(&self) -> (u32, u32) {
        let present = self.present.load(Ordering::Relaxed);
        ((present >> 32) as u32, present as u32)
    }

    /// The number of present connections.
    pub fn connections(&self) -> u32 {
        self.present().0
    }

    /// The number of present users.
    pub fn users(&self) -> u32 {
        self.present().1
    }

    /// The number of stored messages.
    pub fn history(&self) -> u32 {
        self.history.load(Ordering::Relaxed)
    }

    /// The number of frames sent so far: messages and events.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// The recent rate, in frames per 1000 seconds.
    pub fn frames_per_1000_s(&self, now: &Timestamp) -> u64 {
        self.rate.per_second(now.unix_ms())
    }

    /// The time of the last message or event.
    pub fn last_active(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.last_active.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{PLENTY, channel, conn, time, view};
    use crate::protocol::settings::ChannelSettings;
    use proptest::prelude::*;

    #[test]
    fn it_equals_the_channels_counts() {
        let mut state = channel(ChannelSettings { notify_presence: true, ..Default::default() }, PLENTY);
        let summary = Summary::new(time(5));
        assert_eq!((summary.present(), summary.history(), summary.last_active()), ((0, 0), 0, time(5)));
        let now = Timestamp::now();
        for (index, user) in [(1, 1), (2, 1), (3, 2)] {
            state.join(conn(index), view(user), None, &now, &mut Vec::new());
        }
        summary.update(&state);
        assert_eq!((summary.present(), summary.frames()), ((3, 2), 2));
        assert_eq!(*summary.last_active().frame(), *now.frame());
    }

    #[test]
    fn the_rate_covers_the_last_seconds() {
        let rate = Rate::default();
        let start = 1_700_000_000_000 / WINDOW_MS * WINDOW_MS;
        (0..100).for_each(|n| rate.count(5, start + n * 100));
        assert_eq!(rate.per_second(start + 9_999), 50_000);
        assert_eq!(rate.per_second(start + WINDOW_MS), 50_000);
        assert_eq!(rate.per_second(start + WINDOW_MS + 5_000), 25_000);
        assert_eq!(rate.per_second(start + 2 * WINDOW_MS), 0);
        rate.count(10, start + 3 * WINDOW_MS);
        assert_eq!(rate.per_second(start + 3 * WINDOW_MS), 1_000);
    }

    proptest! {
        #[test]
        fn a_steady_rate_is_measured(every_ms in 20_u64..1_000, moment in 0_u64..100_000) {
            let (rate, now) = (Rate::default(), 50_000 + moment);
            (0..=now / every_ms).for_each(|n| rate.count(1, n * every_ms));
            let (expected, found) = (1_000_000 / every_ms, rate.per_second(now));
            // Each of the two windows may contain one frame more or less.
            prop_assert!(found.abs_diff(expected) <= 250, "{} instead of {}", found, expected);
        }
    }
}
