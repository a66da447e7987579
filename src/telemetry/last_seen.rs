//! When counters grew last: found by looking at them again and again, so that counting stays as cheap as it is. Pure;
//! told the time.

use std::collections::HashMap;

/// Counters by name, and when each was seen to have grown.
#[derive(Debug, Default)]
pub struct LastSeen(HashMap<&'static str, Growth>);

#[derive(Clone, Copy, Debug)]
struct Growth {
    count: u64,
    at_unix: u64,
}

impl LastSeen {
    /// Looks at the counters. What has grown since the last look did so now.
    pub fn look(&mut self, counters: impl Iterator<Item = (&'static str, u64)>, now_unix: u64) {
        for (name, count) in counters {
            let known = self.0.get(name).map_or(0, |growth| growth.count);
            if count > known {
                self.0.insert(name, Growth { count, at_unix: now_unix });
            }
        }
    }

    /// When this counter grew last, in Unix seconds; none if it never did.
    pub fn of(&self, name: &str) -> Option<u64> {
        self.0.get(name).map(|growth| growth.at_unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_as_late_as_its_last_growth() {
        let mut latest = LastSeen::default();
        latest.look([("a", 0), ("b", 2)].into_iter(), 100);
        latest.look([("a", 1), ("b", 2)].into_iter(), 101);
        latest.look([("a", 1), ("b", 2)].into_iter(), 102);
        assert_eq!([latest.of("a"), latest.of("b"), latest.of("c")], [Some(101), Some(100), None]);
        latest.look([("b", 3)].into_iter(), 103);
        assert_eq!([latest.of("a"), latest.of("b")], [Some(101), Some(103)]);
    }
}
