//! Bound signatures that have been used: none is good twice.

use super::signing::request_signature::WINDOW_S;
use std::collections::{BTreeMap, HashSet};

/// What is remembered of one second's signatures. Who can make none cannot put anything in here: the standard hasher,
/// whose seed nobody knows, is for those whose secret is not theirs alone.
type Second = HashSet<u128>;

/// Remembers every signature for as long as it could be good, and no more of them than it has room for.
///
/// What is dropped is never taken for new: if the clock goes back, signatures older than that are refused until it is
/// where it was.
#[derive(Debug)]
pub struct Replays {
    seconds: BTreeMap<u64, Second>,
    used: usize,
    room: usize,
    /// Signatures of earlier seconds are not remembered any more.
    from: u64,
}

/// What is to be done about a signature whose mac is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new, and remembered from now on.
    New,
    /// It has been used, or could have been.
    Before,
    /// There is no room to remember it; it may come again a little later.
    NoRoom,
}

impl Replays {
    /// Room for so many signatures; some forty bytes each, taken when they come.
    pub fn new(room: usize) -> Self {
        Self { seconds: BTreeMap::new(), used: 0, room, from: 0 }
    }

    /// Looks a signature up, and remembers it.
    pub fn see(&mut self, timestamp: u64, identity: u128, now_unix: u64) -> Seen {
        self.forget(now_unix);
        if timestamp < self.from
            || self.seconds.get(&timestamp).is_some_and(|second| second.contains(&identity))
        {
            return Seen::Before;
        }
        if self.used >= self.room {
            return Seen::NoRoom;
        }
        self.used += 1;
        self.seconds.entry(timestamp).or_default().insert(identity);
        Seen::New
    }

    /// Drops what is too old to be good.
    fn forget(&mut self, now_unix: u64) {
        self.from = self.from.max(now_unix.saturating_sub(WINDOW_S));
        while let Some(first) = self.seconds.first_entry().filter(|first| *first.key() < self.from) {
            self.used -= first.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn a_signature_is_new_once() {
        let mut replays = Replays::new(10);
        for now in [NOW, NOW + 30] {
            let expected = if now == NOW { Seen::New } else { Seen::Before };
            assert_eq!(replays.see(NOW, 1, now), expected);
            assert_eq!(
                replays.see(NOW + 60, 1, now),
                expected,
                "the same mac at another time is another one"
            );
        }
        assert_eq!(replays.see(NOW, 2, NOW + 60), Seen::New);
        assert_eq!(replays.see(NOW, 1, NOW + 60), Seen::Before);
    }

    #[test]
    fn without_room_none_is_forgotten() {
        let mut replays = Replays::new(2);
        assert_eq!((replays.see(NOW, 1, NOW), replays.see(NOW + 1, 2, NOW)), (Seen::New, Seen::New));
        assert_eq!(replays.see(NOW, 3, NOW), Seen::NoRoom);
        assert_eq!(replays.see(NOW, 1, NOW), Seen::Before);
        assert_eq!(replays.see(NOW + 61, 3, NOW + 61), Seen::New, "the first one is too old by now");
        assert_eq!(replays.see(NOW + 61, 4, NOW + 61), Seen::NoRoom);
        assert_eq!(replays.used, 2);
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing_back() {
        let mut replays = Replays::new(10);
        assert_eq!(replays.see(NOW, 1, NOW), Seen::New);
        assert_eq!(replays.see(NOW + 1_000, 2, NOW + 1_000), Seen::New);
        assert_eq!(replays.see(NOW, 1, NOW), Seen::Before);
        assert_eq!(replays.see(NOW + 1_000, 2, NOW), Seen::Before);
    }

    proptest! {
        #[test]
        fn none_is_good_twice(steps in prop::collection::vec((0u64..200, 0u64..400, 0u128..6), 1..200), room in 1usize..20) {
            let (mut replays, mut good) = (Replays::new(room), HashSet::new());
            for (timestamp, now, identity) in steps {
                let seen = replays.see(timestamp, identity, now);
                prop_assert!(seen != Seen::New || good.insert((timestamp, identity)));
                let held: usize = replays.seconds.values().map(HashSet::len).sum();
                prop_assert!(held == replays.used && held <= room);
            }
        }
    }
}
