//! Stores the bound signatures that have been used, so that each of them is valid only once.

use super::signing::request_signature::WINDOW_S;
use std::collections::{BTreeMap, HashSet};

/// The identities of the signatures of one second. Only clients that have a secret can insert one. The standard hasher
/// with its random seed protects against those of them that share the secret with others and try to cause collisions.
type Identities = HashSet<u128>;

/// Stores every signature for as long as it could be valid, up to a fixed number.
///
/// An expired signature never counts as new. If the clock goes back, older signatures are refused until the clock reaches
/// its former time.
#[derive(Debug)]
pub struct Replays {
    seconds: BTreeMap<u64, Identities>,
    stored: usize,
    capacity: usize,
    /// Signatures with an earlier timestamp have been removed.
    oldest: u64,
}

/// The result of the check of a signature whose MAC is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayCheck {
    /// The signature is new, and is stored now.
    New,
    /// The signature has been used, or could have been.
    Used,
    /// There is no room to store it; the client can send it again a little later.
    Full,
}

impl Replays {
    /// Stores at most this many signatures, which take about forty bytes each. Memory is allocated when they arrive.
    pub fn new(capacity: usize) -> Self {
        Self { seconds: BTreeMap::new(), stored: 0, capacity, oldest: 0 }
    }

    /// Looks a signature up and stores it.
    pub fn check(&mut self, timestamp: u64, identity: u128, now_unix: u64) -> ReplayCheck {
        self.remove_expired(now_unix);
        if timestamp < self.oldest
            || self.seconds.get(&timestamp).is_some_and(|second| second.contains(&identity))
        {
            return ReplayCheck::Used;
        }
        if self.stored >= self.capacity {
            return ReplayCheck::Full;
        }
        self.stored += 1;
        self.seconds.entry(timestamp).or_default().insert(identity);
        ReplayCheck::New
    }

    fn remove_expired(&mut self, now_unix: u64) {
        self.oldest = self.oldest.max(now_unix.saturating_sub(WINDOW_S));
        while let Some(first) = self.seconds.first_entry().filter(|first| *first.key() < self.oldest) {
            self.stored -= first.remove().len();
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
            let expected = if now == NOW { ReplayCheck::New } else { ReplayCheck::Used };
            assert_eq!(replays.check(NOW, 1, now), expected);
            assert_eq!(
                replays.check(NOW + 60, 1, now),
                expected,
                "the same MAC with another time is another signature"
            );
        }
        assert_eq!(replays.check(NOW, 2, NOW + 60), ReplayCheck::New);
        assert_eq!(replays.check(NOW, 1, NOW + 60), ReplayCheck::Used);
    }

    #[test]
    fn a_full_store_refuses_new_signatures_and_keeps_the_others() {
        let mut replays = Replays::new(2);
        assert_eq!(
            (replays.check(NOW, 1, NOW), replays.check(NOW + 1, 2, NOW)),
            (ReplayCheck::New, ReplayCheck::New)
        );
        assert_eq!(replays.check(NOW, 3, NOW), ReplayCheck::Full);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::Used);
        assert_eq!(replays.check(NOW + 61, 3, NOW + 61), ReplayCheck::New, "the first one has expired");
        assert_eq!(replays.check(NOW + 61, 4, NOW + 61), ReplayCheck::Full);
        assert_eq!(replays.stored, 2);
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_signature_valid_again() {
        let mut replays = Replays::new(10);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::New);
        assert_eq!(replays.check(NOW + 1_000, 2, NOW + 1_000), ReplayCheck::New);
        assert_eq!(replays.check(NOW, 1, NOW), ReplayCheck::Used);
        assert_eq!(replays.check(NOW + 1_000, 2, NOW), ReplayCheck::Used);
    }

    proptest! {
        #[test]
        fn no_signature_is_accepted_twice(steps in prop::collection::vec((0u64..200, 0u64..400, 0u128..6), 1..200), capacity in 1usize..20) {
            let (mut replays, mut accepted) = (Replays::new(capacity), HashSet::new());
            for (timestamp, now, identity) in steps {
                let result = replays.check(timestamp, identity, now);
                prop_assert!(result != ReplayCheck::New || accepted.insert((timestamp, identity)));
                let held: usize = replays.seconds.values().map(HashSet::len).sum();
                prop_assert!(held == replays.stored && held <= capacity);
            }
        }
    }
}
