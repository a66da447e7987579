//! A timer wheel: thousands of deadlines with one periodic tick.

/// Deadlines in ticks, each with an entry. Pure; the hub advances it.
#[derive(Debug)]
pub struct Wheel<T> {
    buckets: Vec<Vec<(u64, T)>>,
    now: u64,
}

impl<T> Wheel<T> {
    /// Creates a wheel with this many buckets, at tick `now`.
    pub fn new(buckets: usize, now: u64) -> Self {
        Self { buckets: (0..buckets.max(1)).map(|_| Vec::new()).collect(), now }
    }

    /// Adds an entry that is due at tick `at`. An overdue entry is returned with the next tick.
    pub fn insert(&mut self, at: u64, entry: T) {
        let at = at.max(self.now + 1);
        let bucket = (at % self.buckets.len() as u64) as usize;
        self.buckets[bucket].push((at, entry));
    }

    /// Advances to tick `now` and returns the due entries. Visits each bucket at most once.
    pub fn advance(&mut self, now: u64) -> Vec<T> {
        let mut due = Vec::new();
        let count = self.buckets.len() as u64;
        let steps = now.saturating_sub(self.now).min(count);
        for step in 1..=steps {
            let bucket = &mut self.buckets[((now - steps + step) % count) as usize];
            let mut index = 0;
            while index < bucket.len() {
                if bucket[index].0 <= now {
                    due.push(bucket.swap_remove(index).1);
                } else {
                    index += 1;
                }
            }
            if bucket.is_empty() && bucket.capacity() > 1024 {
                *bucket = Vec::new();
            }
        }
        self.now = self.now.max(now);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_entry_is_returned_once_and_in_its_tick(
            deadlines in proptest::collection::vec(0u64..500, 0..100),
            jumps in proptest::collection::vec(1u64..90, 1..60),
        ) {
            let mut wheel = Wheel::new(32, 0);
            for at in &deadlines {
                wheel.insert(*at, *at);
            }
            let mut now = 0;
            let mut seen = Vec::new();
            for jump in jumps {
                let before = now;
                now += jump;
                for at in wheel.advance(now) {
                    prop_assert!(at <= now && (at > before || at == 0));
                    seen.push(at);
                }
            }
            let mut expected: Vec<_> = deadlines.into_iter().filter(|at| *at <= now).collect();
            expected.sort();
            seen.sort();
            prop_assert_eq!(seen, expected);
        }
    }
}
