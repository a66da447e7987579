//! How sessions are sent away when the server stops: a batch at each tick, spread over a time. Pure.

use super::state::{Phase, RegistryState};
use crate::protocol::ids::{ChannelId, ConnKey, ConnectionSlot};

/// Longest wait before coming back that a session is told, in ms: as long as clients of the original wait by themselves
/// after a first failure.
const RETRY_MS: u64 = 2_000;
/// How long after the last batch those may come who were just coming or being taken over when their turn was, in ms.
const MOMENT_MS: u64 = 100;

/// Who has to go, and when.
#[derive(Debug)]
pub struct DrainSchedule {
    keys: Vec<ConnKey>,
    all: usize,
    begun: u64,
    spread: u64,
}

/// A session that is to go now.
#[derive(Debug, PartialEq, Eq)]
pub struct Departing {
    /// Where it is.
    pub place: ConnectionSlot,
    /// What it listens to.
    pub channels: Vec<ChannelId>,
}

impl DrainSchedule {
    /// These connections' sessions go between `now` and `spread` ms later.
    pub fn new(keys: Vec<ConnKey>, now: u64, spread: u64) -> Self {
        Self { all: keys.len(), keys, begun: now, spread }
    }

    /// Those whose time has come.
    pub fn due(&mut self, now: u64) -> Vec<ConnKey> {
        let elapsed = now.saturating_sub(self.begun).min(self.spread);
        let gone_by_now = match self.spread {
            0 => self.all,
            // Rounded up: the first goes soon, and who is alone does not wait.
            spread => (self.all as u64 * elapsed).div_ceil(spread) as usize,
        };
        self.keys.split_off(self.all - gone_by_now.max(self.all - self.keys.len()))
    }

    /// Whether all were sent away a moment ago: who is left now was just coming, or being taken over, when his turn was.
    pub fn is_over(&self, now: u64) -> bool {
        self.keys.is_empty() && now.saturating_sub(self.begun) >= self.spread + MOMENT_MS
    }

    /// How long a session that goes is asked to stay away, in ms. All are asked for the same: they come back spread as
    /// they went, when this server has gone.
    pub fn retry_ms(&self) -> u16 {
        self.spread.min(RETRY_MS) as u16
    }
}

impl RegistryState {
    /// All connections, for [`DrainSchedule`].
    pub fn keys(&self) -> Vec<ConnKey> {
        let key = |(index, connection): (usize, &super::state::ConnectionRecord)| ConnKey {
            index: index as u32,
            generation: connection.generation,
        };
        self.connections.iter().map(key).collect()
    }

    /// The session of a connection, if it has one now.
    pub fn departing(&self, key: ConnKey) -> Option<Departing> {
        let connection = self.connections.get(key.index as usize)?;
        match connection.phase {
            Phase::Attached(place, _) if connection.generation == key.generation => {
                Some(Departing { place, channels: connection.channels.to_vec() })
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
    fn without_a_spread_all_go_at_once() {
        let mut departures = DrainSchedule::new(keys(3), 500, 0);
        assert_eq!(departures.due(500).len(), 3);
        assert!(!departures.is_over(599), "nobody overtakes them");
        assert!(departures.is_over(600));
        assert_eq!(departures.retry_ms(), 0);
    }

    #[test]
    fn nobody_waits_longer_than_clients_do_by_themselves() {
        assert_eq!(DrainSchedule::new(Vec::new(), 0, 1_500).retry_ms(), 1_500);
        assert_eq!(DrainSchedule::new(Vec::new(), 0, 3_600_000).retry_ms(), 2_000);
    }

    proptest! {
        #[test]
        fn everybody_goes_once_and_evenly(count in 0_u32..500, spread in 0_u64..5_000, tick in 1_u64..400) {
            let mut departures = DrainSchedule::new(keys(count), 1_000, spread);
            let (mut gone, mut now) = (Vec::new(), 1_000);
            while !departures.is_over(now) {
                now += tick;
                gone.extend(departures.due(now));
                let share = (u64::from(count) * (now - 1_000).min(spread)).div_ceil(spread.max(1));
                prop_assert!(spread == 0 || gone.len() as u64 == share, "{} of {share}", gone.len());
            }
            prop_assert!(now - 1_000 <= spread + MOMENT_MS + tick);
            gone.sort_unstable();
            prop_assert_eq!(gone, keys(count));
        }
    }
}
