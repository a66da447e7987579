//! The time of the last increase of each counter. The counters are compared at intervals, so that counting itself stays
//! cheap. Pure; the time is passed in.

use std::collections::HashMap;

/// Counters by name, with the time at which each was last seen to increase.
#[derive(Debug, Default)]
pub struct LastSeen(HashMap<&'static str, Growth>);

#[derive(Clone, Copy, Debug)]
struct Growth {
    count: u64,
    at_unix: u64,
}

impl LastSeen {
    /// Compares the counters. Those that have increased since the last call get the current time.
    pub fn look(&mut self, counters: impl Iterator<Item = (&'static str, u64)>, now_unix: u64) {
        for (name, count) in counters {
            let known = self.0.get(name).map_or(0, |growth| growth.count);
            if count > known {
                self.0.insert(name, Growth { count, at_unix: now_unix });
            }
        }
    }

    /// The time of this counter's last increase, in Unix seconds; `None` if it never increased.
    pub fn of(&self, name: &str) -> Option<u64> {
        self.0.get(name).map(|growth| growth.at_unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_the_time_of_its_last_increase() {
        let mut latest = LastSeen::default();
        latest.look([("a", 0), ("b", 2)].into_iter(), 100);
        latest.look([("a", 1), ("b", 2)].into_iter(), 101);
        latest.look([("a", 1), ("b", 2)].into_iter(), 102);
        assert_eq!([latest.of("a"), latest.of("b"), latest.of("c")], [Some(101), Some(100), None]);
        latest.look([("b", 3)].into_iter(), 103);
        assert_eq!([latest.of("a"), latest.of("b")], [Some(101), Some(103)]);
    }
}
