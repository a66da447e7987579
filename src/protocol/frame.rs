//! An event in the forms that the transports need: serialized once, framed once, shared by all sessions.

use super::ids::UserId;
use super::user_set::UserSet;
use super::websocket::{self, HEADER_ROOM};
use crate::protocol::ids::{Offset, Stream};
use bytes::Bytes;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::OnceLock;

/// The `catchup` member of a live event. In a catch-up, every event contains `"catchup":true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFlag {
    /// `"catchup":false` (messages, presence, state changes).
    False,
    /// No member (edits and deletions, as in the original).
    Absent,
}

impl LiveFlag {
    fn tail(self) -> &'static [u8] {
        match self {
            LiveFlag::False => b",\"catchup\":false}]",
            LiveFlag::Absent => b"}]",
        }
    }
}

const CATCHUP_TAIL: &[u8] = b",\"catchup\":true}]";
const CATCHUP_ELEMENT_TAIL: &[u8] = b",\"catchup\":true}";

/// The members of a stream that receive a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Only these users, if given.
    pub only: Option<UserSet>,
    /// All users except these.
    pub except: UserSet,
}

impl Audience {
    pub fn all() -> Self {
        Self::default()
    }

    pub fn all_but(user: UserId) -> Self {
        Self { only: None, except: user.into() }
    }

    /// Whether any user is excluded.
    pub fn is_restricted(&self) -> bool {
        self.only.is_some() || !self.except.is_empty()
    }

    /// Whether this user receives the frame.
    pub fn admits(&self, user: UserId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(user)) && !self.except.contains(user)
    }
}

/// One event, encoded.
#[derive(Debug)]
pub struct Frame {
    /// The websocket header and `[{…}]`, in the live form.
    live: Bytes,
    /// The range of the object within `live`, from `{` to before its tail.
    open: Range<usize>,
    catchup: OnceLock<Bytes>,
    /// The compressed live form. Created on first use, then shared.
    deflated: OnceLock<Bytes>,
    audience: Audience,
}

impl Frame {
    /// The live form for a websocket: header and payload.
    pub fn live(&self) -> &Bytes {
        &self.live
    }

    /// The live form for a websocket that accepts compressed messages. Returns [`Frame::live`] if it is shorter than
    /// `threshold`, or if compression does not make it shorter.
    pub fn deflated(&self, threshold: usize) -> &Bytes {
        if self.live.len() < threshold {
            return &self.live;
        }
        self.deflated.get_or_init(|| {
            let payload = &self.live[self.open.start - 1..];
            websocket::deflated_text(payload).unwrap_or_else(|| self.live.clone())
        })
    }

    /// The live form as an element of a poll's list.
    pub fn live_element(&self) -> Bytes {
        self.live.slice(self.open.start..self.live.len() - 1)
    }

    /// The catch-up form for a websocket. Created on first use, then shared.
    pub fn catchup(&self) -> &Bytes {
        self.catchup.get_or_init(|| {
            let mut draft = FrameDraft::new(self.open.len());
            draft.buffer.extend_from_slice(&self.live[self.open.clone()]);
            draft.seal(CATCHUP_TAIL).0
        })
    }

    /// The catch-up form as an element of a poll's list, in two parts: the first is shared with the live form, the
    /// second closes the object.
    pub fn catchup_element(&self) -> [Bytes; 2] {
        [self.live.slice(self.open.clone()), Bytes::from_static(CATCHUP_ELEMENT_TAIL)]
    }

    /// The receivers of the frame.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }
}

/// An event being written: reserved space for a header, then an object without its end.
#[derive(Debug)]
pub struct FrameDraft {
    /// The caller appends the object here, beginning with `{` and without the final `}`.
    pub buffer: Vec<u8>,
}

impl FrameDraft {
    /// Creates a draft with capacity for this many bytes.
    pub fn new(capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_ROOM + 1 + capacity + CATCHUP_TAIL.len() + 1);
        buffer.extend_from_slice(&[0; HEADER_ROOM]);
        buffer.push(b'[');
        Self { buffer }
    }

    /// Completes the event. `part`, a range of positions in the draft, is returned as a slice of the frame.
    pub fn finish(
        self,
        flag: LiveFlag,
        audience: Audience,
        part: Option<Range<usize>>,
    ) -> (Frame, Option<Bytes>) {
        let end = self.buffer.len();
        let (live, shift) = self.seal(flag.tail());
        let open = HEADER_ROOM + 1 - shift..end - shift;
        let part = part.map(|range| live.slice(range.start - shift..range.end - shift));
        (Frame { live, open, catchup: OnceLock::new(), deflated: OnceLock::new(), audience }, part)
    }

    /// Appends the tail and writes the header. Also returns the number of unused bytes before the header.
    fn seal(mut self, tail: &[u8]) -> (Bytes, usize) {
        self.buffer.extend_from_slice(tail);
        let shift = websocket::write_text_header_before(&mut self.buffer);
        (Bytes::from(self.buffer).slice(shift..), shift)
    }
}

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
    pub fn deflated<'a>(
        &self,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
        threshold: usize,
    ) -> &FrameBatch {
        self.deflated
            .get_or_init(|| Box::new(Self::join(self.stream, frames, |frame| frame.deflated(threshold))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(object: &[u8], flag: LiveFlag) -> Frame {
        let mut draft = FrameDraft::new(object.len());
        draft.buffer.extend_from_slice(object);
        draft.finish(flag, Audience::all(), None).0
    }

    #[test]
    fn an_event_has_four_forms() {
        let frame = frame(b"{\"a\":1", LiveFlag::False);
        assert_eq!(&frame.live()[..], b"\x81\x19[{\"a\":1,\"catchup\":false}]");
        assert_eq!(&frame.live_element()[..], b"{\"a\":1,\"catchup\":false}");
        assert_eq!(&frame.catchup()[..], b"\x81\x18[{\"a\":1,\"catchup\":true}]");
        assert_eq!(frame.catchup_element().concat(), b"{\"a\":1,\"catchup\":true}");
    }

    #[test]
    fn live_edits_have_no_catchup_member() {
        let frame = frame(b"{\"a\":1", LiveFlag::Absent);
        assert_eq!(&frame.live_element()[..], b"{\"a\":1}");
        assert_eq!(frame.catchup_element().concat(), b"{\"a\":1,\"catchup\":true}");
    }

    #[test]
    fn long_events_have_long_headers_and_keep_their_parts() {
        for size in [10, 200, 70_000] {
            let mut draft = FrameDraft::new(size);
            draft.buffer.extend_from_slice(b"{\"x\":");
            let start = draft.buffer.len();
            draft.buffer.extend(std::iter::repeat_n(b'7', size));
            let range = start..draft.buffer.len();
            let (frame, part) = draft.finish(LiveFlag::False, Audience::all(), Some(range));
            assert_eq!(part.map(|p| p.len()), Some(size));
            assert!(frame.live_element().starts_with(b"{\"x\":7"));
            assert!(frame.catchup_element().concat().ends_with(b"7,\"catchup\":true}"));
        }
    }

    #[test]
    fn audiences_include_and_exclude_users() {
        let only =
            Audience { only: Some(UserSet::from_iter([UserId(1), UserId(2)])), except: UserId(2).into() };
        assert!(only.admits(UserId(1)) && !only.admits(UserId(2)) && !only.admits(UserId(3)));
        assert!(
            Audience::all_but(UserId(1)).admits(UserId(2)) && !Audience::all_but(UserId(1)).admits(UserId(1))
        );
    }
}
