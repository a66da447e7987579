//! What a returning client already has, in the text form of cursors and positions. Pure.
//!
//! A position names one stream: everything up to this frame. A cursor names a moment: everything that was meant for the
//! client, in all its streams, up to this stamp. Clients treat cursors as opaque.

use super::ids::{Epoch, Offset, Position, ServerEpoch, Stamp};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Maximum length of a cursor's text.
pub const MAX_CURSOR: usize = 48;
/// The version with which the text of a cursor begins.
const VERSION: &str = "1";
/// Offsets stay below this, so that every client can represent them exactly.
const MAX_OFFSET: Offset = 1 << 53;
/// The radix of stamps and offsets in cursors.
const RADIX: u32 = 36;

/// A moment up to which a client has everything, and the frame that carried the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The life of the server that issued the stamp.
    pub server: ServerEpoch,
    pub stamp: Stamp,
    /// The position of the frame that carried it. The frame may be later than the stamp.
    pub frame: Option<Position>,
}

impl Cursor {
    /// Reads the text that [`Cursor`] displays.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(VERSION).filter(|_| text.len() <= MAX_CURSOR)?;
        let mut parts = rest.split('.');
        let server = ServerEpoch::parse(parts.next()?)?;
        let stamp = Stamp(parse_number(parts.next()?)?);
        let frame = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(epoch), Some(offset), None) => {
                Some(Position { epoch: Epoch::parse(epoch)?, offset: parse_number(offset)? })
            }
            _ => return None,
        };
        let is_in_range = frame.is_none_or(|frame| frame.offset < MAX_OFFSET);
        is_in_range.then_some(Self { server, stamp, frame })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{VERSION}{}.", self.server)?;
        write_number(formatter, self.stamp.0)?;
        if let Some(Position { epoch, offset }) = self.frame {
            write!(formatter, ".{epoch}.")?;
            write_number(formatter, offset)?;
        }
        Ok(())
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    u64::from_str_radix(text, RADIX).ok().filter(|_| is_plain)
}

fn write_number(formatter: &mut fmt::Formatter<'_>, mut value: u64) -> fmt::Result {
    // The largest number has thirteen digits.
    let mut digits = [b'0'; 13];
    let mut start = digits.len();
    while value > 0 || start == digits.len() {
        start -= 1;
        digits[start] =
            char::from_digit((value % u64::from(RADIX)) as u32, RADIX).map_or(b'0', |digit| digit as u8);
        value /= u64::from(RADIX);
    }
    formatter.write_str(std::str::from_utf8(&digits[start..]).unwrap_or_default())
}

/// The cursor of a returning client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownCursor {
    /// Issued by this life of the server.
    Own(Cursor),
    /// Issued by another life of the server, or unreadable: it says nothing about any stream.
    Foreign,
}

/// What a returning client says that it has. Empty for a client that comes for the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    pub cursor: Option<KnownCursor>,
    /// By the name of the channel; the empty name is the private stream.
    pub positions: BTreeMap<Box<str>, Position>,
}

/// Why a returning client may miss frames of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// Newer frames have displaced frames that the client misses.
    Evicted,
    /// The channel does not keep frames, or did not for a while.
    NotKept,
    /// The client's position belongs to another life of the stream or of the server.
    Epoch,
    /// The client's position is greater than the stream's.
    Ahead,
    /// The client's position is older than the subscription of its connection.
    JoinedLater,
}

impl LossReason {
    pub const ALL: [Self; 5] = [Self::Evicted, Self::NotKept, Self::Epoch, Self::Ahead, Self::JoinedLater];

    /// The name for clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::NotKept => "not-kept",
            Self::Epoch => "epoch",
            Self::Ahead => "ahead",
            Self::JoinedLater => "joined-later",
        }
    }
}

impl Serialize for LossReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A query parameter that cannot be read, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub field: &'static str,
    pub reason: String,
}

impl Since {
    /// Whether the client comes for the first time.
    pub fn is_empty(&self) -> bool {
        self.cursor.is_none() && self.positions.is_empty()
    }

    /// The cursor, if this life of the server issued it.
    pub fn own_cursor(&self) -> Option<Cursor> {
        match self.cursor {
            Some(KnownCursor::Own(cursor)) => Some(cursor),
            Some(KnownCursor::Foreign) | None => None,
        }
    }

    /// Reads the query parameters `since` and `positions`. `server` is this life of the server.
    ///
    /// # Errors
    /// A parameter is malformed, or there are more than `max_positions` positions.
    pub fn read(
        since: Option<&str>,
        positions: Option<&str>,
        server: ServerEpoch,
        max_positions: usize,
    ) -> Result<Self, Unreadable> {
        let unreadable = |field, reason: String| Unreadable { field, reason };
        let parse = |text| Cursor::parse(text).ok_or_else(|| unreadable("since", "Not a cursor.".into()));
        let cursor = since.map(parse).transpose()?;
        let positions = match positions {
            Some(text) => read_positions(text).map_err(|reason| unreadable("positions", reason))?,
            None => BTreeMap::new(),
        };
        if positions.len() > max_positions {
            return Err(unreadable("positions", format!("Longer than maximum length {max_positions}.")));
        }
        let known = |cursor: Cursor| match cursor.server == server {
            true => KnownCursor::Own(cursor),
            false => KnownCursor::Foreign,
        };
        Ok(Self { cursor: cursor.map(known), positions })
    }
}

/// Reads an object that maps names to `EPOCH.OFFSET`, with decimal offsets.
fn read_positions(text: &str) -> Result<BTreeMap<Box<str>, Position>, String> {
    let not_texts = |_| "Not a JSON object of texts.".to_owned();
    let entries: BTreeMap<Box<str>, String> = serde_json::from_str(text).map_err(not_texts)?;
    let read = |(name, text): (Box<str>, String)| match parse_position(&text) {
        Some(position) => Ok((name, position)),
        None => Err(format!("The position in {name:?} is not EPOCH.OFFSET.")),
    };
    entries.into_iter().map(read).collect()
}

fn parse_position(text: &str) -> Option<Position> {
    let (epoch, offset) = text.split_once('.')?;
    let is_plain = offset.bytes().all(|byte| byte.is_ascii_digit());
    let offset = offset.parse().ok().filter(|offset| is_plain && *offset < MAX_OFFSET)?;
    Some(Position { epoch: Epoch::parse(epoch)?, offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVER: ServerEpoch = ServerEpoch::new(77);

    fn read(since: Option<&str>, positions: Option<&str>) -> Result<Since, Unreadable> {
        Since::read(since, positions, SERVER, 2)
    }

    #[test]
    fn a_cursor_names_server_moment_and_frame() {
        let text = "17c2k9x.hq3k9d2f81.7c2k9x4m.j";
        let cursor = Cursor::parse(text).unwrap();
        assert_eq!(cursor.frame.map(|frame| frame.offset), Some(19));
        assert_eq!(cursor.to_string(), text);
        let zero = Cursor { server: SERVER, stamp: Stamp(0), frame: None };
        assert_eq!(Cursor::parse(&zero.to_string()), Some(zero));
    }

    #[test]
    fn other_texts_are_not_cursors() {
        for text in [
            "",
            "1",
            "27c2k9x.a",
            "17c2k9x",
            "17c2k9x.",
            "17c2k9x.A",
            "17c2k9x.+1",
            "17c2k9x.a.7c2k9x4m",
            "17c2k9x.a.7c2k9x4m.j.j",
            "17c2k9x.a.7c2k9x4m.zzzzzzzzzzzz",
            "17c2k9x.00000000000000000000000000000000000000000000a",
            "17c2k9x.é",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
            assert!(read(Some(text), None).is_err_and(|error| error.field == "since"), "{text}");
        }
    }

    #[test]
    fn a_cursor_of_another_life_is_foreign() {
        let cursor = Cursor { server: ServerEpoch::new(1), stamp: Stamp(1), frame: None };
        let since = read(Some(&cursor.to_string()), None).unwrap();
        assert_eq!(since.cursor, Some(KnownCursor::Foreign));
    }

    #[test]
    fn positions_are_read_by_name() {
        let since = read(None, Some(r#"{"lobby":"7c2k9x4m.18","":"00000000.3"}"#)).unwrap();
        assert_eq!(since.positions[""], Position { epoch: Epoch::new(0), offset: 3 });
        assert_eq!(since.positions["lobby"].offset, 18);
    }

    #[test]
    fn unreadable_positions_name_their_reason() {
        let reason = |text: &str| read(None, Some(text)).unwrap_err().reason;
        assert_eq!(reason("[]"), "Not a JSON object of texts.");
        assert_eq!(reason(r#"{"a":1}"#), "Not a JSON object of texts.");
        for position in
            ["7c2k9x4m", "7c2k9x4m.", "7c2k9x4m.-1", "7c2k9x4m.+1", "7c2k9x4m.9007199254740992", "x.1"]
        {
            let text = format!(r#"{{"a":"{position}"}}"#);
            assert_eq!(reason(&text), r#"The position in "a" is not EPOCH.OFFSET."#, "{position}");
        }
        let three = r#"{"a":"00000000.1","b":"00000000.1","c":"00000000.1"}"#;
        assert_eq!(reason(three), "Longer than maximum length 2.");
    }

    proptest! {
        #[test]
        fn cursors_are_read_as_they_are_written(
            server in any::<u64>(),
            stamp in any::<u64>(),
            frame in proptest::option::of((any::<u64>(), 0..MAX_OFFSET)),
        ) {
            let frame = frame.map(|(epoch, offset)| Position { epoch: Epoch::new(epoch), offset });
            let cursor = Cursor { server: ServerEpoch::new(server), stamp: Stamp(stamp), frame };
            let text = cursor.to_string();
            prop_assert!(text.len() <= MAX_CURSOR);
            prop_assert_eq!(Cursor::parse(&text), Some(cursor));
        }

        #[test]
        fn no_text_panics(since in ".{0,60}", positions in ".{0,60}") {
            let _ = read(Some(&since), Some(&positions));
        }
    }
}
