//! What waits for one peer: shared bytes with their place in a stream, counted and bounded.

use super::FrameBatch;
use crate::protocol::ids::{Offset, Stream};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Which frame of which stream some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The stream.
    pub stream: Stream,
    /// Its position there.
    pub offset: Offset,
}

/// One frame, or what is left of it.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The bytes still to go.
    pub bytes: Bytes,
    /// None for control frames, and for what goes on with the item before it (a poll's catch-up).
    pub mark: Option<Mark>,
    /// Part of it is out already.
    pub begun: bool,
}

thread_local! {
    /// Bytes in all queues of this thread: kept here, for a way to a common counter would cost every queue its room.
    static QUEUED_HERE: Cell<usize> = const { Cell::new(0) };
    /// The frames that they are, or parts of them.
    static FRAMES_HERE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that wait in all queues of this thread.
pub fn queued_here() -> usize {
    QUEUED_HERE.get()
}

/// Frames, and parts of frames, that wait in all queues of this thread.
pub fn frames_here() -> usize {
    FRAMES_HERE.get()
}

/// How much may wait for one peer. Small, for every session has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCapacity {
    bytes: u32,
    frames: u32,
}

impl QueueCapacity {
    /// So many bytes and so many frames.
    pub fn new(bytes: usize, frames: usize) -> Self {
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self { bytes: small(bytes), frames: small(frames) }
    }
}

/// The queue of one send queue. Nearly all are empty, so what a queue holds has a box of its own.
#[derive(Debug)]
pub struct Queue {
    /// Never without an item.
    waiting: Option<Box<QueuedFrames>>,
    max: QueueCapacity,
}

#[derive(Debug, Default)]
struct QueuedFrames {
    items: VecDeque<Queued>,
    bytes: usize,
    /// Bytes that do not count against the bound: a catch-up.
    free: usize,
}

impl QueuedFrames {
    fn push(&mut self, item: Queued) {
        self.bytes += item.bytes.len();
        QUEUED_HERE.set(QUEUED_HERE.get() + item.bytes.len());
        FRAMES_HERE.set(FRAMES_HERE.get() + 1);
        self.items.push_back(item);
    }

    fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        QUEUED_HERE.set(QUEUED_HERE.get().saturating_sub(bytes));
    }

    /// Removes bytes from the front; false when nothing is left.
    fn advance(&mut self, mut taken: usize) -> bool {
        self.remove(taken.min(self.bytes));
        while let Some(item) = self.items.front_mut() {
            if item.bytes.len() > taken {
                if taken > 0 {
                    item.bytes = item.bytes.slice(taken..);
                    item.begun = true;
                }
                return true;
            }
            taken -= item.bytes.len();
            self.items.pop_front();
            FRAMES_HERE.set(FRAMES_HERE.get().saturating_sub(1));
        }
        false
    }
}

impl Drop for QueuedFrames {
    fn drop(&mut self) {
        self.remove(self.bytes);
        FRAMES_HERE.set(FRAMES_HERE.get().saturating_sub(self.items.len()));
    }
}

impl Queue {
    /// An empty queue with a bound.
    pub fn new(max: QueueCapacity) -> Self {
        Self { waiting: None, max }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether so many bytes more stay within the bound.
    pub fn has_room(&self, bytes: usize) -> bool {
        let free = self.waiting.as_ref().map_or(0, |waiting| waiting.free);
        let room = (self.max.bytes as usize).saturating_add(free);
        self.bytes().saturating_add(bytes) <= room && !self.has_all_frames()
    }

    /// Whether as many frames wait as may; those of a catch-up do not count.
    pub fn has_all_frames(&self) -> bool {
        let frames = self.max.frames as usize;
        self.waiting.as_ref().is_some_and(|waiting| waiting.free == 0 && waiting.items.len() >= frames)
    }

    /// Appends.
    pub fn push(&mut self, item: Queued) {
        self.waiting.get_or_insert_default().push(item);
    }

    /// Appends something that does not count against the bound.
    pub fn push_free(&mut self, item: Queued) {
        let waiting = self.waiting.get_or_insert_default();
        waiting.free += item.bytes.len();
        waiting.push(item);
    }

    /// Appends the frames of `joined` that lie beyond the first `taken` bytes.
    pub fn push_rest(&mut self, joined: &FrameBatch, taken: usize) {
        let mut start = 0;
        for &(end, offset) in &joined.ends {
            if end > taken {
                let from = start.max(taken);
                self.push(Queued {
                    bytes: joined.bytes.slice(from..end),
                    mark: Some(Mark { stream: joined.stream, offset }),
                    begun: from > start,
                });
            }
            start = end;
        }
    }

    fn first(&mut self) -> Option<&mut Queued> {
        self.waiting.as_mut()?.items.front_mut()
    }

    fn items(&self) -> impl Iterator<Item = &Queued> {
        self.waiting.iter().flat_map(|waiting| &waiting.items)
    }

    /// Drops everything; tells whether the stream of bytes ended between two frames.
    pub fn clear(&mut self) -> bool {
        let clean = self.first().is_none_or(|item| !item.begun);
        self.waiting = None;
        clean
    }

    /// Takes the mark from a frame of which part is out.
    pub fn count_begun(&mut self) {
        if let Some(item) = self.first().filter(|item| item.begun) {
            item.mark = None;
        }
    }

    /// Drops everything but a frame of which part is out.
    pub fn keep_begun(&mut self) {
        let begun = self.first().filter(|item| item.begun).cloned();
        self.clear();
        begun.into_iter().for_each(|item| self.push(item));
    }

    /// The offset of the first waiting frame of each stream. One pass, for there may be as many streams as frames.
    pub fn first_offsets(&self) -> FxHashMap<Stream, Offset> {
        let mut first = FxHashMap::default();
        for mark in self.items().filter_map(|item| item.mark) {
            first.entry(mark.stream).or_insert(mark.offset);
        }
        first
    }

    /// Offset of the first waiting frame of a stream.
    #[cfg(test)]
    pub fn first_offset(&self, stream: Stream) -> Option<Offset> {
        self.first_offsets().get(&stream).copied()
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.items.len())
    }

    /// The item at this place.
    pub fn get(&self, index: usize) -> Option<&Queued> {
        self.waiting.as_ref()?.items.get(index)
    }

    /// Fills `slices` from the front; returns how many are filled.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, item) in slices.iter_mut().zip(self.items()) {
            *slice = IoSlice::new(&item.bytes);
            used += 1;
        }
        used
    }

    /// Removes so many bytes from the front: the kernel has them. An idle connection holds no buffer, and a finished
    /// catch-up no longer widens the bound.
    pub fn advance(&mut self, taken: usize) {
        if self.waiting.as_mut().is_some_and(|waiting| !waiting.advance(taken)) {
            self.waiting = None;
        }
    }
}

#[cfg(test)]
#[path = "queue_model_tests.rs"]
mod model_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::ChannelId;
    use proptest::prelude::*;

    const STREAM: Stream = Stream::Channel(ChannelId(1));

    fn joined(lengths: &[usize]) -> FrameBatch {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for (index, length) in lengths.iter().enumerate() {
            bytes.extend(std::iter::repeat_n(index as u8, *length));
            ends.push((bytes.len(), index as Offset + 1));
        }
        FrameBatch::of(STREAM, ends, bytes.into())
    }

    #[test]
    fn the_rest_of_a_short_write_keeps_its_marks() {
        let mut queue = Queue::new(QueueCapacity::new(100, 100));
        queue.push_rest(&joined(&[3, 3, 3]), 4);
        assert_eq!(queue.first_offset(STREAM), Some(2));
        assert_eq!(queue.bytes(), 5);
        assert!(!queue.clear(), "half of frame 2 is out");
    }

    #[test]
    fn catchup_widens_the_bound_until_it_is_out() {
        let mut queue = Queue::new(QueueCapacity::new(10, 100));
        queue.push_free(Queued { bytes: Bytes::from(vec![0; 50]), mark: None, begun: false });
        assert!(queue.has_room(10) && !queue.has_room(11));
        queue.advance(50);
        assert!(!queue.has_room(11));
    }

    #[test]
    fn so_many_frames_wait_at_most() {
        let mut queue = Queue::new(QueueCapacity::new(1_000, 3));
        queue.push_rest(&joined(&[3, 3]), 0);
        assert!(queue.has_room(3));
        queue.push_rest(&joined(&[3]), 0);
        assert!(!queue.has_room(3) && queue.has_all_frames());
        queue.advance(3);
        assert!(queue.has_room(3));
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            lengths in proptest::collection::vec(1usize..20, 1..20),
            first in 0usize..200,
            steps in proptest::collection::vec(1usize..30, 0..60),
        ) {
            let all = joined(&lengths);
            let first = first.min(all.bytes.len());
            let mut queue = Queue::new(QueueCapacity::new(usize::MAX, usize::MAX));
            queue.push_rest(&all, first);
            let mut out = all.bytes[..first].to_vec();
            for step in steps {
                let mut slices = [IoSlice::new(&[]); 4];
                let used = queue.fill(&mut slices);
                let mut take: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
                take.truncate(step);
                out.extend_from_slice(&take);
                queue.advance(take.len());
                // Every frame before the first waiting one is out completely.
                let whole = queue.first_offset(STREAM).map_or(lengths.len(), |offset| offset as usize - 1);
                prop_assert!(out.len() >= lengths[..whole].iter().sum::<usize>());
                prop_assert_eq!(out.len() + queue.bytes(), all.bytes.len());
                prop_assert_eq!(queued_here(), queue.bytes());
                prop_assert_eq!(frames_here(), queue.items().count());
            }
            prop_assert_eq!(&out[..], &all.bytes[..out.len()]);
            drop(queue);
            prop_assert_eq!((queued_here(), frames_here()), (0, 0));
        }
    }
}
