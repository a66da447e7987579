//! The ages of a channel's frames, where frames are kept for a limited time. Pure.

use crate::protocol::ids::Offset;
use std::collections::VecDeque;

/// When the last frames were published, in ms of the channel's clock, oldest first.
#[derive(Debug)]
pub struct FrameAges {
    frames: VecDeque<(u64, Offset)>,
    max_frames: usize,
    max_age_ms: u64,
}

impl FrameAges {
    /// The ages of at most this many frames, which are kept for this time.
    pub fn new(max_frames: usize, max_age_s: u64) -> Self {
        Self { frames: VecDeque::new(), max_frames, max_age_ms: max_age_s.saturating_mul(1_000) }
    }

    /// Records a frame.
    pub fn push(&mut self, offset: Offset, now_ms: u64) {
        self.frames.push_back((now_ms, offset));
        while self.frames.len() > self.max_frames {
            self.frames.pop_front();
        }
    }

    /// Forgets the frames that are too old. Returns the last of them.
    pub fn take_old(&mut self, now_ms: u64) -> Option<Offset> {
        let old = self.frames.partition_point(|(at, _)| at.saturating_add(self.max_age_ms) < now_ms);
        self.frames.drain(..old).next_back().map(|(_, offset)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_old_after_their_time() {
        let mut ages = FrameAges::new(3, 1);
        (1..=4).for_each(|offset| ages.push(offset, offset * 100));
        assert_eq!(ages.frames.len(), 3, "more frames are not kept anyway");
        assert_eq!((ages.take_old(1_200), ages.take_old(1_200)), (None, None));
        assert_eq!((ages.take_old(1_301), ages.take_old(1_301)), (Some(3), None));
        assert_eq!((ages.take_old(9_000), ages.take_old(9_000)), (Some(4), None));
        let mut none = FrameAges::new(0, 1);
        none.push(1, 0);
        assert_eq!(none.take_old(9_000), None);
    }
}
