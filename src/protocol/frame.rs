//! An event in the forms that the transports need: serialized once, framed once, shared by all sessions.

use super::ids::{Offset, UserId};
use super::user_set::UserSet;
use super::websocket::{self, HEADER_ROOM};
use bytes::Bytes;
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
/// The end of an element in a poll's catch-up.
const CATCHUP_ELEMENT_TAIL: &[u8] = b",\"catchup\":true}";
/// The most bytes that an event has beside its object: an id, and the members of a catch-up.
pub(super) const EVENT_ROOM: usize = 128;

/// The last member of an event for clients that asked for positions.
struct OffsetMember(Offset);

impl fmt::Display for OffsetMember {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, ",\"offset\":{}", self.0)
    }
}

/// The last members of an event of a catch-up for such clients.
fn catchup_members(offset: Offset) -> String {
    format!("{CATCHUP_MEMBER}{}", OffsetMember(offset))
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
        self.catchup.get_or_init(|| self.with_members(self.open.clone(), CATCHUP_MEMBER))
    }

    /// The catch-up form as an element of a poll's list, in two parts: the first is shared with the live form, the
    /// second closes the object.
    ///
    /// The element ends with the offset of the frame, if it is given.
    pub fn catchup_element(&self, offset: Option<Offset>) -> [Bytes; 2] {
        let tail = match offset {
            None => Bytes::from_static(CATCHUP_ELEMENT_TAIL),
            Some(offset) => (catchup_members(offset) + "}").into(),
        };
        [self.live.slice(self.open.clone()), tail]
    }

    /// The live form with the offset of the frame in its stream.
    pub fn positioned(&self, offset: Offset) -> Bytes {
        self.with_members(self.live_object(), &OffsetMember(offset).to_string())
    }

    /// The catch-up form with the offset of the frame in its stream.
    pub fn positioned_catchup(&self, offset: Offset) -> Bytes {
        self.with_members(self.open.clone(), &catchup_members(offset))
    }

    /// Appends the live form with the offset as the data of an event, and ends the event.
    pub(super) fn write_event_data(&self, offset: Offset, out: &mut Vec<u8>) {
        self.write_data(self.live_object(), OffsetMember(offset), out);
    }

    /// The catch-up form with the offset of the frame in its stream, as an event without an id.
    pub fn catchup_event(&self, offset: Offset) -> Bytes {
        let mut out = Vec::with_capacity(self.open.len() + EVENT_ROOM);
        self.write_data(self.open.clone(), catchup_members(offset), &mut out);
        out.into()
    }

    /// The range of the live form's object within `live`, without its end.
    fn live_object(&self) -> Range<usize> {
        self.open.start..self.live.len() - LIST_END.len()
    }

    fn write_data(&self, object: Range<usize>, members: impl fmt::Display, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [");
        out.extend_from_slice(&self.live[object]);
        // A vector accepts every write.
        let _ = write!(out, "{members}");
        out.extend_from_slice(LIST_END);
        out.extend_from_slice(b"\n\n");
    }

    /// A websocket frame of a part of the live form, these members, and the end of the list.
    fn with_members(&self, object: Range<usize>, members: &str) -> Bytes {
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
        let mut buffer = Vec::with_capacity(HEADER_ROOM + 1 + capacity + LiveFlag::False.tail().len());
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
