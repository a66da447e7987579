//! Tapes for a few subjects, each bounded in bytes. Pure; time is passed in.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Subjects recorded at once. One more takes the place of the one that was not asked for longest.
pub const MAX_TAPES: usize = 16;
/// Entries read at once.
const MAX_READ: usize = 500;

/// How much memory an event takes.
pub trait Weigh {
    /// In bytes, with what it owns elsewhere.
    fn weight(&self) -> usize;
}

/// An event on a tape.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEntry<E> {
    /// Its number, from 1 and without gaps.
    pub number: u64,
    /// When it was, in Unix ms.
    pub at_ms: u64,
    /// What it was.
    pub event: E,
}

/// A part of a tape.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingPage<E> {
    /// Oldest first.
    pub entries: Vec<RecordedEntry<E>>,
    /// Events that are newer than asked for and no longer there.
    pub missed: u64,
    /// When the recording began, in Unix ms.
    pub since_ms: u64,
}

#[derive(Debug)]
struct Tape<E> {
    entries: VecDeque<RecordedEntry<E>>,
    bytes: usize,
    recorded: u64,
    since_ms: u64,
    asked_ms: u64,
}

/// Tapes by subject.
#[derive(Debug)]
pub struct RecordingBuffer<K, E> {
    tapes: HashMap<K, Tape<E>>,
    bytes_per_tape: usize,
    forget_ms: u64,
}

impl<K: Copy + Eq + Hash, E: Weigh + Clone> RecordingBuffer<K, E> {
    /// No tapes yet; all together will take this many bytes at most. One that nobody has asked for as long as
    /// `forget_ms` is thrown away.
    pub fn new(bytes: usize, forget_ms: u64) -> Self {
        Self { tapes: HashMap::new(), bytes_per_tape: bytes / MAX_TAPES, forget_ms }
    }

    /// How many subjects are recorded.
    pub fn count(&self) -> usize {
        self.tapes.len()
    }

    /// Whether a subject is recorded.
    pub fn has(&self, key: K) -> bool {
        self.tapes.contains_key(&key)
    }

    /// Records a subject from now on; one that is recorded already goes on.
    pub fn arm(&mut self, key: K, now_ms: u64) {
        if let Some(tape) = self.tapes.get_mut(&key) {
            tape.asked_ms = now_ms;
            return;
        }
        if self.tapes.len() >= MAX_TAPES
            && let Some(oldest) = self.tapes.iter().min_by_key(|(_, tape)| tape.asked_ms).map(|(key, _)| *key)
        {
            self.tapes.remove(&oldest);
        }
        let tape =
            Tape { entries: VecDeque::new(), bytes: 0, recorded: 0, since_ms: now_ms, asked_ms: now_ms };
        self.tapes.insert(key, tape);
    }

    /// Records a subject no longer, and throws its tape away.
    pub fn disarm(&mut self, key: K) {
        self.tapes.remove(&key);
    }

    /// Throws away what nobody has asked for.
    pub fn forget(&mut self, now_ms: u64) {
        self.tapes.retain(|_, tape| now_ms.saturating_sub(tape.asked_ms) < self.forget_ms);
    }

    /// Writes an event down; false if nobody wants to know.
    pub fn record(&mut self, key: K, at_ms: u64, event: E) -> bool {
        let Some(tape) = self.tapes.get_mut(&key) else { return false };
        tape.recorded += 1;
        tape.bytes += weight(&event);
        tape.entries.push_back(RecordedEntry { number: tape.recorded, at_ms, event });
        while tape.bytes > self.bytes_per_tape
            && let Some(entry) = tape.entries.pop_front()
        {
            tape.bytes -= weight(&entry.event);
        }
        true
    }

    /// What is newer than number `after`, the oldest of it first. None: not recorded.
    pub fn read(&mut self, key: K, after: u64, now_ms: u64) -> Option<RecordingPage<E>> {
        let tape = self.tapes.get_mut(&key)?;
        tape.asked_ms = now_ms;
        let oldest = tape.recorded - tape.entries.len() as u64;
        // A number that is yet to come is from an earlier tape: all of this one is new.
        let after = if after > tape.recorded { 0 } else { after };
        let skip = after.saturating_sub(oldest) as usize;
        let entries = tape.entries.iter().skip(skip).take(MAX_READ).cloned().collect();
        Some(RecordingPage { entries, missed: oldest.saturating_sub(after), since_ms: tape.since_ms })
    }
}

fn weight<E: Weigh>(event: &E) -> usize {
    size_of::<RecordedEntry<E>>() + event.weight()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORGET_MS: u64 = 1_000;

    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[derive(Clone, Debug)]
    enum RecordedStep {
        Arm(u8),
        Disarm(u8),
        Record(u8, usize),
        Forget,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = RecordedStep> {
        prop_oneof![
            (0_u8..24).prop_map(RecordedStep::Arm),
            (0_u8..24).prop_map(RecordedStep::Disarm),
            (0_u8..24, 0_usize..400).prop_map(|(key, weight)| RecordedStep::Record(key, weight)),
            Just(RecordedStep::Forget),
            (0_u64..FORGET_MS).prop_map(RecordedStep::Wait),
        ]
    }

    proptest! {
        #[test]
        fn tapes_stay_small_and_tell_what_is_missing(steps in proptest::collection::vec(step(), 0..300)) {
            const BYTES: usize = 16 * 1_000;
            let mut reel: RecordingBuffer<u8, usize> = RecordingBuffer::new(BYTES, FORGET_MS);
            // All that was ever recorded, since the subject was armed.
            let mut truth: HashMap<u8, Vec<usize>> = HashMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    RecordedStep::Arm(key) => reel.arm(key, now),
                    RecordedStep::Disarm(key) => reel.disarm(key),
                    RecordedStep::Record(key, event) => {
                        let recorded = reel.record(key, now, event);
                        prop_assert_eq!(recorded, reel.has(key));
                        if recorded {
                            truth.entry(key).or_default().push(event);
                        }
                    }
                    RecordedStep::Forget => reel.forget(now),
                    RecordedStep::Wait(ms) => now += ms,
                }
                truth.retain(|key, _| reel.has(*key));
                prop_assert!(reel.count() <= MAX_TAPES);
                let bytes: usize = reel.tapes.values().flat_map(|tape| &tape.entries).map(|e| weight(&e.event)).sum();
                prop_assert!(bytes <= BYTES);
            }
            for (key, events) in truth {
                for after in 0..=events.len() as u64 + 1 {
                    let excerpt = reel.read(key, after, now).unwrap();
                    let known = if after > events.len() as u64 { 0 } else { after };
                    let newer: Vec<usize> = events[known as usize..].to_vec();
                    let found: Vec<usize> = excerpt.entries.iter().map(|entry| entry.event).collect();
                    prop_assert_eq!(found.len() as u64 + excerpt.missed, newer.len() as u64);
                    prop_assert_eq!(&found[..], &newer[excerpt.missed as usize..]);
                    let numbers = excerpt.entries.iter().map(|entry| entry.number);
                    prop_assert!(numbers.eq(known + excerpt.missed + 1..=events.len() as u64));
                }
            }
        }
    }

    #[test]
    fn the_one_not_asked_for_longest_makes_room() {
        let mut reel: RecordingBuffer<usize, usize> = RecordingBuffer::new(1_000_000, FORGET_MS);
        (0..MAX_TAPES).for_each(|key| reel.arm(key, key as u64));
        assert!(reel.read(0, 0, 100).is_some());
        reel.arm(99, 101);
        assert!(reel.has(0) && !reel.has(1) && reel.has(99));
        reel.forget(FORGET_MS + 100);
        assert_eq!((reel.count(), reel.has(99)), (1, true));
    }

    #[test]
    fn much_is_read_in_parts() {
        let mut reel: RecordingBuffer<u8, usize> = RecordingBuffer::new(100_000_000, FORGET_MS);
        reel.arm(1, 0);
        (0..1_200).for_each(|event| assert!(reel.record(1, 0, event)));
        let mut read = 0;
        while let Some(last) = reel.read(1, read, 0).unwrap().entries.last() {
            assert!(last.number - read <= MAX_READ as u64);
            read = last.number;
        }
        assert_eq!(read, 1_200);
    }
}
