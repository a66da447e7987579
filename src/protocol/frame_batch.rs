//! Several frames of one stream in the forms that one write can send, each made once for all sessions of a group.

use super::event_stream;
use super::frame::{EVENT_ROOM, Frame};
use super::ids::{Epoch, Offset, Position, ServerEpoch, Stamp, Stream};
use super::position::Cursor;
use super::websocket;
use bytes::Bytes;
use std::borrow::Borrow;
use std::cell::OnceCell;

/// What the ids of events say beside the offset of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBase {
    pub server: ServerEpoch,
    /// The hub delivered every frame up to this stamp before these frames.
    pub covered: Stamp,
    /// The epoch of the stream, if the hub knows it.
    pub epoch: Option<Epoch>,
}

impl IdBase {
    fn id(self, offset: Offset) -> Cursor {
        let frame = self.epoch.map(|epoch| Position { epoch, offset });
        Cursor { server: self.server, stamp: self.covered, frame }
    }

    /// For frames whose ids do not matter.
    #[cfg(test)]
    pub fn at(covered: Stamp) -> Self {
        Self { server: ServerEpoch::new(0), covered, epoch: None }
    }
}

/// Several frames of one stream, joined so that one write sends them all.
#[derive(Debug)]
pub struct FrameBatch {
    pub stream: Stream,
    pub ids: IdBase,
    /// The bytes of all frames, in order.
    pub bytes: Bytes,
    /// The end of each frame within `bytes`, and its offset.
    pub ends: Vec<(usize, Offset)>,
    /// The compressed form. Created on first use.
    deflated: OnceCell<Box<FrameBatch>>,
    /// The form with offsets. Created on first use.
    positioned: OnceCell<Box<FrameBatch>>,
    /// The form of event streams. Created on first use.
    events: OnceCell<Box<FrameBatch>>,
}

impl FrameBatch {
    /// Joins the live forms of frames.
    pub fn live<'a>(
        stream: Stream,
        ids: IdBase,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
    ) -> Self {
        Self::join(stream, ids, frames.map(|(offset, frame)| (offset, frame.live())))
    }

    /// Joins the bytes of frames.
    fn join<B: Borrow<Bytes>>(
        stream: Stream,
        ids: IdBase,
        frames: impl Iterator<Item = (Offset, B)> + Clone,
    ) -> Self {
        let mut iter = frames.clone();
        if let (Some((offset, bytes)), None) = (iter.next(), iter.next()) {
            let bytes = bytes.borrow().clone();
            return Self::of(stream, ids, vec![(bytes.len(), offset)], bytes);
        }
        let size = frames.clone().map(|(_, bytes)| bytes.borrow().len()).sum();
        let mut joined = Vec::with_capacity(size);
        let mut ends = Vec::new();
        for (offset, bytes) in frames {
            joined.extend_from_slice(bytes.borrow());
            ends.push((joined.len(), offset));
        }
        Self::of(stream, ids, ends, joined.into())
    }

    pub fn of(stream: Stream, ids: IdBase, ends: Vec<(usize, Offset)>, bytes: Bytes) -> Self {
        Self {
            stream,
            ids,
            bytes,
            ends,
            deflated: OnceCell::new(),
            positioned: OnceCell::new(),
            events: OnceCell::new(),
        }
    }

    /// The form with offsets, created once for all members of a group.
    pub fn positioned<'a>(&self, frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone) -> &FrameBatch {
        self.positioned.get_or_init(|| {
            self.with_bytes(frames.map(|(offset, frame)| (offset, frame.positioned(offset))).collect())
        })
    }

    /// The same frames with these bytes.
    fn with_bytes(&self, frames: Vec<(Offset, Bytes)>) -> Box<Self> {
        Box::new(Self::join(self.stream, self.ids, frames.iter().map(|(offset, bytes)| (*offset, bytes))))
    }

    /// The form of event streams, created once for all members of a group.
    pub fn events<'a>(&self, frames: impl Iterator<Item = (Offset, &'a Frame)>) -> &FrameBatch {
        self.events.get_or_init(|| Box::new(Self::of_events(self.stream, self.ids, frames)))
    }

    /// Joins frames as events with these ids.
    pub fn of_events<'a>(
        stream: Stream,
        ids: IdBase,
        frames: impl Iterator<Item = (Offset, &'a Frame)>,
    ) -> Self {
        let (mut joined, mut ends) = (Vec::new(), Vec::new());
        for (offset, frame) in frames {
            joined.reserve(frame.live().len() + EVENT_ROOM);
            event_stream::write_id(&mut joined, ids.id(offset));
            frame.write_event_data(offset, &mut joined);
            ends.push((joined.len(), offset));
        }
        Self::of(stream, ids, ends, joined.into())
    }

    /// The bytes of each frame, in order.
    fn frames(&self) -> impl Iterator<Item = (Offset, Bytes)> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        let frame =
            |(start, (end, offset)): (usize, &(usize, Offset))| (*offset, self.bytes.slice(start..*end));
        starts.zip(&self.ends).map(frame)
    }

    /// Each frame as an element of a poll's list.
    pub fn elements(&self) -> impl Iterator<Item = (Offset, Bytes)> + Clone {
        self.frames().map(|(offset, frame)| {
            let start = websocket::payload_start(&frame) + 1;
            (offset, frame.slice(start..frame.len() - 1))
        })
    }

    /// The compressed form of frames that exist only in this batch.
    pub fn deflated_frames(&self, threshold: usize) -> &FrameBatch {
        self.deflated.get_or_init(|| {
            let deflate = |(offset, frame): (Offset, Bytes)| {
                let payload = &frame[websocket::payload_start(&frame)..];
                let deflated = if frame.len() < threshold { None } else { websocket::deflated_text(payload) };
                (offset, deflated.unwrap_or(frame))
            };
            self.with_bytes(self.frames().map(deflate).collect())
        })
    }

    /// The compressed form, created once for all members of a group.
    pub fn deflated<'a>(
        &self,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
        threshold: usize,
    ) -> &FrameBatch {
        self.deflated.get_or_init(|| {
            let frames = frames.map(|(offset, frame)| (offset, frame.deflated(threshold)));
            Box::new(Self::join(self.stream, self.ids, frames))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::{Audience, FrameDraft, LiveFlag};

    fn frame(object: &[u8]) -> Frame {
        let mut draft = FrameDraft::new(object.len());
        draft.buffer.extend_from_slice(object);
        draft.finish(LiveFlag::False, Audience::all(), None).0
    }

    #[test]
    fn an_event_has_an_id_and_one_line() {
        let frame = frame(b"{\"a\":1");
        let (epoch, server) = (Epoch::parse("7c2k9x4m").unwrap(), ServerEpoch::parse("7c2k9x").unwrap());
        let ids = IdBase { epoch: Some(epoch), server, covered: Stamp(36) };
        let live =
            |ids| FrameBatch::of_events(Stream::Private, ids, [(19, &frame), (20, &frame)].into_iter());
        let events = live(ids);
        let event = |offset: &str, id: &str| {
            format!("id: {id}\ndata: [{{\"a\":1,\"catchup\":false,\"offset\":{offset}}}]\n\n")
        };
        let first = event("19", "17c2k9x.10.7c2k9x4m.j");
        assert_eq!(events.bytes, first.clone() + &event("20", "17c2k9x.10.7c2k9x4m.k"));
        assert_eq!(events.ends, [(first.len(), 19), (events.bytes.len(), 20)]);
        let without_epoch = live(IdBase { epoch: None, ..ids });
        assert_eq!(without_epoch.bytes, event("19", "17c2k9x.10") + &event("20", "17c2k9x.10"));
        let catchup = b"data: [{\"a\":1,\"catchup\":true,\"offset\":19}]\n\n";
        assert_eq!(&frame.catchup_event(19)[..], catchup);
    }

    #[test]
    fn a_batch_has_its_frames_in_every_form() {
        let frames = [10, 200, 70_000].map(|size| {
            let object = format!("{{\"x\":\"{}\"", "7".repeat(size));
            frame(object.as_bytes())
        });
        let pairs = || (1..).zip(&frames);
        let batch = FrameBatch::live(Stream::Private, IdBase::at(Stamp(5)), pairs());
        let positioned = batch.positioned(pairs());
        let expected: Vec<_> = pairs().map(|(offset, frame)| frame.positioned(offset)).collect();
        assert_eq!(positioned.bytes, expected.concat());
        assert_eq!((positioned.ends.len(), positioned.ids.covered), (3, Stamp(5)));
        for (offset, element) in positioned.elements() {
            let json: serde_json::Value = serde_json::from_slice(&element).unwrap();
            assert_eq!(json["offset"], offset);
        }
        let deflated = positioned.deflated_frames(100);
        assert_eq!(deflated.ends[0].0, expected[0].len(), "a short frame stays as it is");
        assert!(deflated.bytes.len() < positioned.bytes.len());
    }
}
