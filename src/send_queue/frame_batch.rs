//! Frames that are sent with one write.

use crate::protocol::frame::Frame;
use crate::protocol::ids::{Offset, Stream};
use bytes::Bytes;
use std::cell::OnceCell;

/// Several frames of one stream, joined so that one write sends them all.
#[derive(Debug)]
pub struct FrameBatch {
    pub stream: Stream,
    /// The bytes of all frames, in order.
    pub bytes: Bytes,
    /// The end of each frame within `bytes`, and its offset.
    pub ends: Vec<(usize, Offset)>,
    /// The compressed form. Created on first use.
    deflated: OnceCell<Box<FrameBatch>>,
}

impl FrameBatch {
    /// Joins the live forms of frames.
    pub fn live<'a>(stream: Stream, frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone) -> Self {
        Self::join(stream, frames, Frame::live)
    }

    /// Joins frames in the form that `form` returns.
    fn join<'a>(
        stream: Stream,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
        form: impl Fn(&'a Frame) -> &'a Bytes,
    ) -> Self {
        let mut iter = frames.clone();
        if let (Some((offset, frame)), None) = (iter.next(), iter.next()) {
            let bytes = form(frame).clone();
            return Self::of(stream, vec![(bytes.len(), offset)], bytes);
        }
        let size = frames.clone().map(|(_, frame)| form(frame).len()).sum();
        let mut bytes = Vec::with_capacity(size);
        let mut ends = Vec::new();
        for (offset, frame) in frames {
            bytes.extend_from_slice(form(frame));
            ends.push((bytes.len(), offset));
        }
        Self::of(stream, ends, bytes.into())
    }

    pub fn of(stream: Stream, ends: Vec<(usize, Offset)>, bytes: Bytes) -> Self {
        Self { stream, bytes, ends, deflated: OnceCell::new() }
    }

    /// The compressed form, created once for all members of a group.
    pub(super) fn deflated<'a>(
        &self,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
        threshold: usize,
    ) -> &FrameBatch {
        self.deflated
            .get_or_init(|| Box::new(Self::join(self.stream, frames, |frame| frame.deflated(threshold))))
    }
}
