//! How sessions are closed during the shutdown: a batch per tick, spread over a period. Pure.

use super::state::{Phase, RegistryState};
use crate::broker::drain::retry_ms;
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot};

/// The time after the last batch, in ms, for sessions that were being attached or taken over when their batch was due.
const SETTLE_MS: u64 = 100;

/// The connections whose sessions are still to be closed, and the time range.
#[derive(Debug)]
pub struct DrainSchedule {
    keys: Vec<ConnKey>,
    all: usize,
    begun: u64,
    spread: u64,
}

/// A session to close now.
#[derive(Debug, PartialEq, Eq)]
pub struct ClosingSession {
    /// The session.
    pub location: ConnectionSlot,
    /// The channels that it subscribes to.
    pub channels: Vec<ChannelId>,
}

impl DrainSchedule {
    /// Closes the sessions of these connections between `now` and `spread` ms later.
    pub fn new(keys: Vec<ConnKey>, now: u64, spread: u64) -> Self {
        Self { all: keys.len(), keys, begun: now, spread }
    }

    /// Removes and returns the connections that are due.
    pub fn due(&mut self, now: u64) -> Vec<ConnKey> {
        let elapsed = now.saturating_sub(self.begun).min(self.spread);
        let closed_by_now = match self.spread {
            0 => self.all,
            // Rounded up, so that the first session is closed early, and a single one immediately.
            spread => (self.all as u64 * elapsed).div_ceil(spread) as usize,
        };
        self.keys.split_off(self.all - closed_by_now.max(self.all - self.keys.len()))
    }

    /// Whether the last batch was closed [`SETTLE_MS`] ago. Any session left was being attached or taken over when its
    /// batch was due.
    pub fn is_over(&self, now: u64) -> bool {
        self.keys.is_empty() && now.saturating_sub(self.begun) >= self.spread + SETTLE_MS
    }

    /// See [`retry_ms`].
    pub fn retry_ms(&self) -> u16 {
        retry_ms(self.spread)
    }
}

impl RegistryState {
    /// The keys of all connections, for [`DrainSchedule`].
    pub fn keys(&self) -> Vec<ConnKey> {
        let key = |(index, connection): (usize, &super::state::ConnectionRecord)| ConnKey {
            index: index as u32,
            generation: connection.generation,
        };
        self.connections.iter().map(key).collect()
    }

    /// The session of a connection, if one is attached.
    pub fn closing_session(&self, key: ConnKey) -> Option<ClosingSession> {
        let connection = self.connections.get(key.index as usize)?;
        match connection.phase {
            Phase::Attached(location, _) if connection.generation == key.generation => {
                Some(ClosingSession { location, channels: connection.channels.to_vec() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(count: u32) -> Vec<ConnKey> {
        (0..count).map(|index| ConnKey { index, generation: 1 }).collect()
    }

    #[test]
    fn without_a_spread_all_sessions_are_closed_immediately() {
        let mut schedule = DrainSchedule::new(keys(3), 500, 0);
        assert_eq!(schedule.due(500).len(), 3);
        assert!(!schedule.is_over(599), "the last batch needs time");
        assert!(schedule.is_over(600));
        assert_eq!(schedule.retry_ms(), 0);
    }

    #[test]
    fn the_reconnect_delay_does_not_exceed_the_clients_own() {
        assert_eq!(DrainSchedule::new(Vec::new(), 0, 1_500).retry_ms(), 1_500);
        assert_eq!(DrainSchedule::new(Vec::new(), 0, 3_600_000).retry_ms(), 2_000);
    }

    proptest! {
        #[test]
        fn each_session_is_closed_once_and_evenly_over_time(count in 0_u32..500, spread in 0_u64..5_000, tick in 1_u64..400) {
            let mut schedule = DrainSchedule::new(keys(count), 1_000, spread);
            let (mut gone, mut now) = (Vec::new(), 1_000);
            while !schedule.is_over(now) {
                now += tick;
                gone.extend(schedule.due(now));
                let share = (u64::from(count) * (now - 1_000).min(spread)).div_ceil(spread.max(1));
                prop_assert!(spread == 0 || gone.len() as u64 == share, "{} of {share}", gone.len());
            }
            prop_assert!(now - 1_000 <= spread + SETTLE_MS + tick);
            gone.sort_unstable();
            prop_assert_eq!(gone, keys(count));
        }
    }
}
