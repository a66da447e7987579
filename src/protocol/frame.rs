//! An event in the forms that the transports need: serialized once, framed once, shared by all sessions.

use super::ids::UserId;
use super::user_set::UserSet;
use super::websocket::{self, HEADER_ROOM};
use super::{event_stream, position::Cursor};
use crate::protocol::ids::{Epoch, Offset, Position, ServerEpoch, Stamp, Stream};
use bytes::Bytes;
use std::borrow::Borrow;
use std::cell::OnceCell;
use std::fmt;
use std::io::Write;
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

/// The end of an object in a list.
const LIST_END: &[u8] = b"}]";
const CATCHUP_MEMBER: &str = ",\"catchup\":true";
const CATCHUP_TAIL: &[u8] = b",\"catchup\":true}]";
/// The most bytes that an event has beside its object: an id, and the members of a catch-up.
const EVENT_ROOM: usize = 128;
const CATCHUP_ELEMENT_TAIL: &[u8] = b",\"catchup\":true}";

/// The last member of an event for clients that asked for positions.
struct OffsetMember(Offset);

impl fmt::Display for OffsetMember {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, ",\"offset\":{}", self.0)
    }
}

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
    ///
    /// The element ends with the offset of the frame, if it is given.
    pub fn catchup_element(&self, offset: Option<Offset>) -> [Bytes; 2] {
        let tail = match offset {
            None => Bytes::from_static(CATCHUP_ELEMENT_TAIL),
            Some(offset) => format!("{CATCHUP_MEMBER}{}}}", OffsetMember(offset)).into(),
        };
        [self.live.slice(self.open.clone()), tail]
    }

    /// The live form with the offset of the frame in its stream.
    pub fn positioned(&self, offset: Offset) -> Bytes {
        let object = self.open.start..self.live.len() - LIST_END.len();
        self.with_tail(object, &OffsetMember(offset).to_string())
    }

    /// The catch-up form with the offset of the frame in its stream.
    pub fn positioned_catchup(&self, offset: Offset) -> Bytes {
        self.with_tail(self.open.clone(), &format!("{CATCHUP_MEMBER}{}", OffsetMember(offset)))
    }

    /// Appends a line of an event stream with the live form and the offset.
    fn write_event_data(&self, offset: Offset, out: &mut Vec<u8>) {
        self.write_data(self.open.start..self.live.len() - LIST_END.len(), OffsetMember(offset), out);
    }

    /// The catch-up form with the offset of the frame in its stream, as an event without an id.
    pub fn catchup_event(&self, offset: Offset) -> Bytes {
        let mut out = Vec::with_capacity(self.open.len() + EVENT_ROOM);
        self.write_data(
            self.open.clone(),
            format_args!("{CATCHUP_MEMBER}{}", OffsetMember(offset)),
            &mut out,
        );
        out.into()
    }

    /// Appends a part of the live form, these members and the end of the list as the data of an event, and ends the event.
    fn write_data(&self, object: Range<usize>, members: impl fmt::Display, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [");
        out.extend_from_slice(&self.live[object]);
        // A vector accepts every write.
        let _ = write!(out, "{members}");
        out.extend_from_slice(LIST_END);
        out.extend_from_slice(b"\n\n");
    }

    /// A websocket frame of a part of the live form, these members, and the end of the list.
    fn with_tail(&self, object: Range<usize>, members: &str) -> Bytes {
        let mut draft = FrameDraft::new(object.len() + members.len());
        draft.buffer.extend_from_slice(&self.live[object]);
        draft.buffer.extend_from_slice(members.as_bytes());
        draft.seal(LIST_END).0
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

    /// Joins frames in the form that `form` returns.
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
            let frames: Vec<_> = frames.map(|(offset, frame)| (offset, frame.positioned(offset))).collect();
            Box::new(Self::join(self.stream, self.ids, frames.iter().map(|(offset, bytes)| (*offset, bytes))))
        })
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
            joined.reserve(frame.live.len() + EVENT_ROOM);
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
            let frames: Vec<_> = self.frames().map(deflate).collect();
            Box::new(Self::join(self.stream, self.ids, frames.iter().map(|(offset, bytes)| (*offset, bytes))))
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
    use crate::protocol::websocket::Opcode;

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
        assert_eq!(frame.catchup_element(None).concat(), b"{\"a\":1,\"catchup\":true}");
    }

    #[test]
    fn positioned_forms_end_with_the_offset() {
        for flag in [LiveFlag::False, LiveFlag::Absent] {
            let frame = frame(b"{\"a\":1", flag);
            let live = frame.live_element();
            let live = std::str::from_utf8(&live[..live.len() - 1]).unwrap();
            let positioned = format!("[{live},\"offset\":19}}]");
            assert_eq!(frame.positioned(19), websocket::frame(Opcode::Text, positioned.as_bytes()));
            let catchup = b"[{\"a\":1,\"catchup\":true,\"offset\":19}]";
            assert_eq!(frame.positioned_catchup(19), websocket::frame(Opcode::Text, catchup));
            assert_eq!(&frame.catchup_element(Some(19)).concat()[..], &catchup[1..catchup.len() - 1]);
        }
    }

    #[test]
    fn an_event_has_an_id_and_one_line() {
        let frame = frame(b"{\"a\":1", LiveFlag::False);
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
            frame(object.as_bytes(), LiveFlag::False)
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

    #[test]
    fn live_edits_have_no_catchup_member() {
        let frame = frame(b"{\"a\":1", LiveFlag::Absent);
        assert_eq!(&frame.live_element()[..], b"{\"a\":1}");
        assert_eq!(frame.catchup_element(None).concat(), b"{\"a\":1,\"catchup\":true}");
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
            assert!(frame.catchup_element(None).concat().ends_with(b"7,\"catchup\":true}"));
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
