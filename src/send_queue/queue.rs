//! The data waiting for one client: shared bytes with their position in a stream, counted and bounded.

use crate::protocol::frame_batch::FrameBatch;
use crate::protocol::ids::{Offset, Stream};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;

/// The frame and the stream to which bytes belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub stream: Stream,
    /// The offset of the frame in the stream.
    pub offset: Offset,
}

/// A frame, or its unsent rest.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The unsent bytes.
    pub bytes: Bytes,
    /// `None` for data outside the streams, and for the rest of the previous item.
    pub mark: Option<Mark>,
    /// Continues the previous item (in the response of a poll).
    pub is_rest: bool,
    /// Part of the frame was already sent.
    pub is_partial: bool,
}

impl Queued {
    pub fn new(bytes: Bytes, mark: Option<Mark>) -> Self {
        Self { bytes, mark, is_rest: false, is_partial: false }
    }

    /// The rest of the previous item.
    pub fn rest(bytes: Bytes) -> Self {
        Self { is_rest: true, ..Self::new(bytes, None) }
    }
}

thread_local! {
    /// Bytes in all queues of this thread. Thread-local, because a reference to a shared counter would enlarge every
    /// queue.
    static QUEUED_HERE: Cell<usize> = const { Cell::new(0) };
    /// Frames, and parts of frames, in all queues of this thread.
    static FRAMES_HERE: Cell<usize> = const { Cell::new(0) };
}

/// The bytes waiting in all queues of this thread.
pub fn queued_here() -> usize {
    QUEUED_HERE.get()
}

/// The frames, and parts of frames, waiting in all queues of this thread.
pub fn frames_here() -> usize {
    FRAMES_HERE.get()
}

/// How much may wait for one client. Small, because every session has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCapacity {
    bytes: u32,
    frames: u32,
}

impl QueueCapacity {
    pub fn new(bytes: usize, frames: usize) -> Self {
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self { bytes: small(bytes), frames: small(frames) }
    }
}

/// The contents of one send queue. Boxed, because nearly all queues are empty.
#[derive(Debug)]
pub struct Queue {
    /// Never an empty list.
    waiting: Option<Box<QueuedFrames>>,
    max: QueueCapacity,
}

#[derive(Debug, Default)]
struct QueuedFrames {
    items: VecDeque<Queued>,
    bytes: usize,
    /// Bytes that do not count against the capacity: a catch-up.
    exempt: usize,
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

    /// Removes bytes from the front. False when nothing is left.
    fn advance(&mut self, mut taken: usize) -> bool {
        self.remove(taken.min(self.bytes));
        while let Some(item) = self.items.front_mut() {
            if item.bytes.len() > taken {
                if taken > 0 {
                    item.bytes = item.bytes.slice(taken..);
                    item.is_partial = true;
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
    /// An empty queue with this capacity.
    pub fn new(max: QueueCapacity) -> Self {
        Self { waiting: None, max }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// The number of waiting bytes.
    pub fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether this many more bytes stay within the capacity.
    pub fn has_room(&self, bytes: usize) -> bool {
        let exempt = self.waiting.as_ref().map_or(0, |waiting| waiting.exempt);
        let room = (self.max.bytes as usize).saturating_add(exempt);
        self.bytes().saturating_add(bytes) <= room && !self.has_max_frames()
    }

    /// Whether the maximum number of frames is waiting. Frames of a catch-up do not count.
    pub fn has_max_frames(&self) -> bool {
        let frames = self.max.frames as usize;
        self.waiting.as_ref().is_some_and(|waiting| waiting.exempt == 0 && waiting.items.len() >= frames)
    }

    pub fn push(&mut self, item: Queued) {
        self.waiting.get_or_insert_default().push(item);
    }

    /// Puts bytes in front of everything, before any of it is sent. They do not count against the capacity.
    pub fn push_front(&mut self, bytes: Bytes) {
        self.push_exempt(Queued::new(bytes, None));
        if let Some(waiting) = &mut self.waiting {
            waiting.items.rotate_right(1);
        }
    }

    /// Appends an item that does not count against the capacity.
    pub fn push_exempt(&mut self, item: Queued) {
        let waiting = self.waiting.get_or_insert_default();
        waiting.exempt += item.bytes.len();
        waiting.push(item);
    }

    /// Appends the frames of `batch` that lie beyond the first `taken` bytes.
    pub fn push_rest(&mut self, batch: &FrameBatch, taken: usize) {
        let mut start = 0;
        for &(end, offset) in &batch.ends {
            if end > taken {
                let from = start.max(taken);
                let mark = Some(Mark { stream: batch.stream, offset });
                let item = Queued::new(batch.bytes.slice(from..end), mark);
                self.push(Queued { is_partial: from > start, ..item });
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

    /// Drops everything. True if the sent bytes end between two frames.
    pub fn clear(&mut self) -> bool {
        let clean = self.first().is_none_or(|item| !item.is_partial);
        self.waiting = None;
        clean
    }

    /// Removes the mark of a partly sent frame, so that the frame counts as delivered.
    pub fn count_partial_as_delivered(&mut self) {
        if let Some(item) = self.first().filter(|item| item.is_partial) {
            item.mark = None;
        }
    }

    /// Drops everything but a partly sent frame.
    pub fn keep_partial(&mut self) {
        let partial = self.first().filter(|item| item.is_partial).cloned();
        self.clear();
        partial.into_iter().for_each(|item| self.push(item));
    }

    /// The offset of the first waiting frame of each stream. One pass, because there may be as many streams as frames.
    pub fn first_offsets(&self) -> FxHashMap<Stream, Offset> {
        let mut first = FxHashMap::default();
        for mark in self.items().filter_map(|item| item.mark) {
            first.entry(mark.stream).or_insert(mark.offset);
        }
        first
    }

    /// The offset of the first waiting frame of a stream.
    #[cfg(test)]
    pub fn first_offset(&self, stream: Stream) -> Option<Offset> {
        self.first_offsets().get(&stream).copied()
    }

    /// Whether frames of a stream are waiting.
    pub fn has_frames(&self) -> bool {
        self.items().any(|item| item.mark.is_some())
    }

    /// The number of waiting items.
    pub fn len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.items.len())
    }

    /// The item at this position.
    pub fn get(&self, index: usize) -> Option<&Queued> {
        self.waiting.as_ref()?.items.get(index)
    }

    /// Fills `slices` from the front. Returns the number of filled slices.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, item) in slices.iter_mut().zip(self.items()) {
            *slice = IoSlice::new(&item.bytes);
            used += 1;
        }
        used
    }

    /// Removes bytes from the front that the kernel has accepted. An idle connection holds no buffer, and a finished
    /// catch-up no longer extends the capacity.
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
    use crate::protocol::frame_batch::IdBase;
    use crate::protocol::ids::{ChannelId, Stamp};
    use proptest::prelude::*;

    const STREAM: Stream = Stream::Channel(ChannelId(1));

    fn batch(lengths: &[usize]) -> FrameBatch {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for (index, length) in lengths.iter().enumerate() {
            bytes.extend(std::iter::repeat_n(index as u8, *length));
            ends.push((bytes.len(), index as Offset + 1));
        }
        FrameBatch::of(STREAM, IdBase::at(Stamp::default()), ends, bytes.into())
    }

    #[test]
    fn the_rest_of_a_short_write_keeps_its_marks() {
        let mut queue = Queue::new(QueueCapacity::new(100, 100));
        queue.push_rest(&batch(&[3, 3, 3]), 4);
        assert_eq!(queue.first_offset(STREAM), Some(2));
        assert_eq!(queue.bytes(), 5);
        assert!(!queue.clear(), "part of frame 2 was sent");
    }

    #[test]
    fn a_catch_up_extends_the_capacity_until_it_is_sent() {
        let mut queue = Queue::new(QueueCapacity::new(10, 100));
        queue.push_exempt(Queued::new(Bytes::from(vec![0; 50]), None));
        assert!(queue.has_room(10) && !queue.has_room(11));
        queue.advance(50);
        assert!(!queue.has_room(11));
    }

    #[test]
    fn the_number_of_waiting_frames_is_limited() {
        let mut queue = Queue::new(QueueCapacity::new(1_000, 3));
        queue.push_rest(&batch(&[3, 3]), 0);
        assert!(queue.has_room(3));
        queue.push_rest(&batch(&[3]), 0);
        assert!(!queue.has_room(3) && queue.has_max_frames());
        queue.advance(3);
        assert!(queue.has_room(3));
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_of_arrival(
            lengths in proptest::collection::vec(1usize..20, 1..20),
            first in 0usize..200,
            steps in proptest::collection::vec(1usize..30, 0..60),
        ) {
            let all = batch(&lengths);
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
                // Every frame before the first waiting one was sent completely.
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
