//! Recordings of a few subjects, each limited in bytes. Pure; the time is passed in.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Maximum number of subjects recorded concurrently. A further one replaces the recording that was read least recently.
pub const MAX_RECORDINGS: usize = 16;
/// Maximum number of entries returned by one read.
const MAX_READ: usize = 500;

pub trait Weigh {
    /// The memory that the event uses, including its heap data, in bytes.
    fn weight(&self) -> usize;
}

/// An event of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEntry<E> {
    /// Its number. Numbers start at 1 and have no gaps.
    pub number: u64,
    /// The time of the event, in Unix ms.
    pub at_ms: u64,
    pub event: E,
}

/// Part of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingPage<E> {
    /// Oldest first.
    pub entries: Vec<RecordedEntry<E>>,
    /// The number of requested events that are no longer available.
    pub missed: u64,
    /// The start of the recording, in Unix ms.
    pub since_ms: u64,
}

#[derive(Debug)]
struct Recording<E> {
    entries: VecDeque<RecordedEntry<E>>,
    bytes: usize,
    recorded: u64,
    since_ms: u64,
    read_ms: u64,
}

#[derive(Debug)]
pub struct RecordingBuffer<K, E> {
    recordings: HashMap<K, Recording<E>>,
    bytes_per_recording: usize,
    forget_ms: u64,
}

impl<K: Copy + Eq + Hash, E: Weigh + Clone> RecordingBuffer<K, E> {
    /// Creates an empty buffer for at most this many bytes. A recording that is not read for `forget_ms` is removed.
    pub fn new(bytes: usize, forget_ms: u64) -> Self {
        Self { recordings: HashMap::new(), bytes_per_recording: bytes / MAX_RECORDINGS, forget_ms }
    }

    /// How many subjects are recorded.
    pub fn count(&self) -> usize {
        self.recordings.len()
    }

    /// Whether a subject is recorded.
    pub fn has(&self, key: K) -> bool {
        self.recordings.contains_key(&key)
    }

    /// Starts recording a subject, or continues an existing recording.
    pub fn start(&mut self, key: K, now_ms: u64) {
        if let Some(recording) = self.recordings.get_mut(&key) {
            recording.read_ms = now_ms;
            return;
        }
        if self.recordings.len() >= MAX_RECORDINGS
            && let Some(oldest) =
                self.recordings.iter().min_by_key(|(_, recording)| recording.read_ms).map(|(key, _)| *key)
        {
            self.recordings.remove(&oldest);
        }
        let recording =
            Recording { entries: VecDeque::new(), bytes: 0, recorded: 0, since_ms: now_ms, read_ms: now_ms };
        self.recordings.insert(key, recording);
    }

    /// Stops recording a subject and removes its recording.
    pub fn stop(&mut self, key: K) {
        self.recordings.remove(&key);
    }

    /// Removes the recordings that were not read for `forget_ms`.
    pub fn forget(&mut self, now_ms: u64) {
        self.recordings.retain(|_, recording| now_ms.saturating_sub(recording.read_ms) < self.forget_ms);
    }

    /// Records an event. Returns false if the subject is not recorded.
    pub fn record(&mut self, key: K, at_ms: u64, event: E) -> bool {
        let Some(recording) = self.recordings.get_mut(&key) else { return false };
        recording.recorded += 1;
        recording.bytes += weight(&event);
        recording.entries.push_back(RecordedEntry { number: recording.recorded, at_ms, event });
        while recording.bytes > self.bytes_per_recording
            && let Some(entry) = recording.entries.pop_front()
        {
            recording.bytes -= weight(&entry.event);
        }
        true
    }

    /// The events after number `after`, oldest first; `None` if the subject is not recorded.
    pub fn read(&mut self, key: K, after: u64, now_ms: u64) -> Option<RecordingPage<E>> {
        let recording = self.recordings.get_mut(&key)?;
        recording.read_ms = now_ms;
        let oldest = recording.recorded - recording.entries.len() as u64;
        // A number in the future comes from an earlier recording: every event of this one is new.
        let after = if after > recording.recorded { 0 } else { after };
        let skip = after.saturating_sub(oldest) as usize;
        let entries = recording.entries.iter().skip(skip).take(MAX_READ).cloned().collect();
        Some(RecordingPage { entries, missed: oldest.saturating_sub(after), since_ms: recording.since_ms })
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
        fn recordings_stay_within_their_limit_and_report_missing_events(steps in proptest::collection::vec(step(), 0..300)) {
            const BYTES: usize = 16 * 1_000;
            let mut reel: RecordingBuffer<u8, usize> = RecordingBuffer::new(BYTES, FORGET_MS);
            // All events recorded since the recording began.
            let mut truth: HashMap<u8, Vec<usize>> = HashMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    RecordedStep::Arm(key) => reel.start(key, now),
                    RecordedStep::Disarm(key) => reel.stop(key),
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
                prop_assert!(reel.count() <= MAX_RECORDINGS);
                let bytes: usize = reel.recordings.values().flat_map(|recording| &recording.entries).map(|e| weight(&e.event)).sum();
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
    fn the_recording_read_least_recently_is_replaced() {
        let mut reel: RecordingBuffer<usize, usize> = RecordingBuffer::new(1_000_000, FORGET_MS);
        (0..MAX_RECORDINGS).for_each(|key| reel.start(key, key as u64));
        assert!(reel.read(0, 0, 100).is_some());
        reel.start(99, 101);
        assert!(reel.has(0) && !reel.has(1) && reel.has(99));
        reel.forget(FORGET_MS + 100);
        assert_eq!((reel.count(), reel.has(99)), (1, true));
    }

    #[test]
    fn long_recordings_are_read_in_pages() {
        let mut reel: RecordingBuffer<u8, usize> = RecordingBuffer::new(100_000_000, FORGET_MS);
        reel.start(1, 0);
        (0..1_200).for_each(|event| assert!(reel.record(1, 0, event)));
        let mut read = 0;
        while let Some(last) = reel.read(1, read, 0).unwrap().entries.last() {
            assert!(last.number - read <= MAX_READ as u64);
            read = last.number;
        }
        assert_eq!(read, 1_200);
    }
}
