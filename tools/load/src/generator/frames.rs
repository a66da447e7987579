//! Websocket frames and events of event streams, read without copying, and the number in each message.

/// The text before a message's number.
const MARK: &[u8] = b"\"n\":\"";
/// Digits of a message's number, so that all frames of a run have the same length.
pub const DIGITS: usize = 10;

/// The kind of a server's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text compressed by permessage-deflate.
    Compressed,
    Ping,
    /// A comment of an event stream.
    Comment,
    /// An event that only has an id.
    Id,
    Close,
    Other,
}

/// A complete frame at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    /// The position of its payload.
    pub start: usize,
    /// Its end, where the next one begins.
    pub end: usize,
}

/// The frame at the front, if it is complete. Servers do not mask frames, and this one does not fragment them.
#[inline]
pub fn first(bytes: &[u8]) -> Option<Frame> {
    let (&[opcode, length], rest) = bytes.split_first_chunk()?;
    let (start, length) = match length {
        126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    let end = start + usize::try_from(length).ok()?;
    let kind = match opcode {
        0x81 => Kind::Text,
        0xc1 => Kind::Compressed,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        _ => Kind::Other,
    };
    (bytes.len() >= end).then_some(Frame { kind, start, end })
}

/// The block at the front of an event stream, if it is complete. Its payload begins with its data, or with its id if it
/// has no data, and includes the empty line at its end.
#[inline]
pub fn first_event(bytes: &[u8]) -> Option<Frame> {
    let mut frame = Frame { kind: Kind::Comment, start: 0, end: 0 };
    loop {
        let (begin, rest) = (frame.end, &bytes[frame.end..]);
        let line = &rest[..rest.iter().position(|byte| *byte == b'\n')?];
        frame.end += line.len() + 1;
        if line.is_empty() {
            return Some(frame);
        } else if line.starts_with(b"data: ") {
            frame.start = begin + 6;
            frame.kind = if frame.kind == Kind::Close { Kind::Close } else { Kind::Text };
        } else if line.starts_with(b"id: ") {
            (frame.kind, frame.start) = (Kind::Id, begin + 4);
        } else if line == b"event: end" {
            frame.kind = Kind::Close;
        } else if ![&b":"[..], b"retry: ", b"event: "].iter().any(|field| line.starts_with(field)) {
            frame.kind = Kind::Other;
        }
    }
}

/// Finds numbers. It first checks the position in the last frame, which is the same in nearly all frames of a run.
#[derive(Debug, Default)]
pub struct Finder {
    place: usize,
}

impl Finder {
    /// The number in a message's payload.
    #[inline]
    pub fn number(&mut self, payload: &[u8]) -> Option<u32> {
        if !payload.get(self.place..).is_some_and(|rest| rest.starts_with(MARK)) {
            self.place = payload.windows(MARK.len()).position(|window| window == MARK)?;
        }
        let digits = payload.get(self.place + MARK.len()..)?.get(..DIGITS)?;
        digits.iter().try_fold(0u32, |number, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(u32::from(digit))
        })
    }
}

/// The position of the digits in bytes that contain a message.
pub fn digits_at(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|window| window == MARK).map(|place| place + MARK.len())
}

/// The text before a numbered channel's digits, in a request.
const CHANNEL_MARK: &[u8] = b"\"channel\":\"ch";

/// The name of a channel. All names have the same length.
pub fn channel(index: usize) -> String {
    format!("ch{index:0DIGITS$}")
}

/// The position of a numbered channel's digits in a request.
pub fn channel_digits_at(bytes: &[u8]) -> Option<usize> {
    let place = bytes.windows(CHANNEL_MARK.len()).position(|window| window == CHANNEL_MARK)?;
    Some(place + CHANNEL_MARK.len())
}

/// Writes a number over the digits at `place`.
pub fn renumber(bytes: &mut [u8], place: usize, number: u32) {
    let mut rest = number;
    for digit in bytes[place..place + DIGITS].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// A message's content of exactly this many bytes, or as few as a number needs.
pub fn content(bytes: usize) -> String {
    let bare = r#"{"n":"0000000000","p":""}"#.len();
    format!(r#"{{"n":"0000000000","p":"{}"}}"#, "x".repeat(bytes.saturating_sub(bare)))
}
