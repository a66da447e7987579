//! What the mailbox of a node receives: entries and notes of streams, and posts of other nodes. Pure.
//!
//! The mail of a script is a sequence of items: `u32` length, `u8` version, `u8` kind, contents. Little endian.

use crate::protocol::ids::{Epoch, Offset, Position, Stamp};
use crate::protocol::time::Timestamp;

/// An item of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail<'a> {
    /// It has a place in its stream: the offset after the one of the entry before it.
    Entry(StreamChange<'a>),
    /// It has no place: offset and stamp are those of the last entry.
    Note(StreamChange<'a>),
    /// What a node has sent to this one.
    Post(&'a [u8]),
}

/// What happened in a stream, and its state afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamChange<'a> {
    pub stream: StreamName<'a>,
    pub position: Position,
    pub stamp: Stamp,
    /// How often the numbers of connections and users have changed.
    pub numbers: u64,
    pub connections: u32,
    pub users: u32,
    pub record: &'a [u8],
}

/// A stream as Redis knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName<'a> {
    Channel(&'a str),
    /// The private messages of a user.
    User(&'a str),
    /// What concerns all nodes. It has notes only, and neither positions nor numbers.
    Cluster,
}

/// The key of [`StreamName::Cluster`].
const CLUSTER: &str = "b";

impl<'a> StreamName<'a> {
    /// Reads what [`StreamName::key`] returns.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if text == CLUSTER {
            return Some(Self::Cluster);
        }
        match text.split_at_checked(1)? {
            ("c", name) => Some(Self::Channel(name)),
            ("u", name) => Some(Self::User(name)),
            _ => None,
        }
    }

    /// The name in keys and calls.
    pub fn key(self) -> String {
        match self {
            Self::Channel(name) => format!("c{name}"),
            Self::User(name) => format!("u{name}"),
            Self::Cluster => CLUSTER.to_owned(),
        }
    }
}

const VERSION: u8 = 1;
const ENTRY: u8 = 0;
const NOTE: u8 = 1;
const POST: u8 = 2;

/// A cursor over bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        let (text, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(text)
    }
}

impl<'a> Mail<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        match reader.chunk()? {
            [VERSION, ENTRY] => StreamChange::read(reader).map(Self::Entry),
            [VERSION, NOTE] => StreamChange::read(reader).map(Self::Note),
            [VERSION, POST] => Some(Self::Post(reader.0)),
            _ => None,
        }
    }
}

impl<'a> StreamChange<'a> {
    fn read(mut reader: Reader<'a>) -> Option<Self> {
        let stream = StreamName::read(reader.text()?)?;
        let epoch = Epoch::parse(std::str::from_utf8(&reader.chunk::<{ Epoch::LENGTH }>()?).ok()?)?;
        let offset: Offset = reader.u64()?;
        Some(Self {
            stream,
            position: Position { epoch, offset },
            stamp: Stamp(reader.u64()?),
            numbers: reader.u64()?,
            connections: reader.u32()?,
            users: reader.u32()?,
            record: reader.0,
        })
    }
}

/// Reads what a mailbox has received at once. `None` if a part of it is malformed.
pub fn read_mail(bytes: &[u8]) -> Option<Vec<Mail<'_>>> {
    let (mut reader, mut items) = (Reader(bytes), Vec::new());
    while !reader.0.is_empty() {
        items.push(Mail::read(reader.text()?)?);
    }
    Some(items)
}

/// The answer about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub published: Published,
    /// The time of the earlier request with the same idempotency key that has caused the answer. Nothing was done now.
    pub first: Option<Timestamp>,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It has this place.
    At(PublishedItem),
    /// There is no such stream; nothing was done.
    NoChannel,
    /// Another request has the idempotency key; nothing was done.
    KeyReused,
}

/// The place of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedItem {
    pub position: Position,
    pub stamp: Stamp,
    /// Of the stream, in the cluster.
    pub connections: u32,
    /// Whether the log or the history of the stream contains it.
    pub is_kept: bool,
}

/// Reads the answers of `append` and `change`. `None` if a part of them is malformed.
pub fn read_answers(bytes: &[u8]) -> Option<Vec<Answer>> {
    let (mut reader, mut answers) = (Reader(bytes), Vec::new());
    while !reader.0.is_empty() {
        let ([status, flags], epoch) = (reader.chunk()?, reader.chunk::<{ Epoch::LENGTH }>()?);
        let (offset, stamp, connections) = (reader.u64()?, Stamp(reader.u64()?), reader.u32()?);
        let item = || {
            let epoch = Epoch::parse(std::str::from_utf8(&epoch).ok()?)?;
            Some(PublishedItem {
                position: Position { epoch, offset },
                stamp,
                connections,
                is_kept: flags != 0,
            })
        };
        let published = match status {
            0 => Published::At(item()?),
            1 => Published::NoChannel,
            2 => Published::KeyReused,
            _ => return None,
        };
        let first = Some(reader.u64()? as i64).filter(|micros| *micros != 0);
        answers.push(Answer { published, first: first.map(Timestamp::from_unix_micros) });
    }
    Some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mail_is_a_sequence_of_items() {
        let head = [&[VERSION, NOTE][..], &5_u32.to_le_bytes(), b"cnews", b"00000001"].concat();
        let numbers =
            [[7, 8, 9].map(u64::to_le_bytes).concat(), [2, 1].map(u32::to_le_bytes).concat()].concat();
        let note = [&head[..], &numbers, b"record"].concat();
        let post = [&[VERSION, POST][..], b"hello"].concat();
        let item = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
        let mail = [item(&note), item(&post)].concat();
        let change = StreamChange {
            stream: StreamName::Channel("news"),
            position: Position { epoch: Epoch::parse("00000001").unwrap(), offset: 7 },
            stamp: Stamp(8),
            numbers: 9,
            connections: 2,
            users: 1,
            record: b"record",
        };
        assert_eq!(read_mail(&mail), Some(vec![Mail::Note(change), Mail::Post(b"hello")]));
        assert_eq!(read_mail(&mail[..mail.len() - 1]), None);
        assert_eq!(read_mail(&item(&[VERSION + 1, POST])), None, "a later version");
        assert_eq!(StreamName::read(b"b"), Some(StreamName::Cluster));
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(name in ".{0,4}", is_channel in any::<bool>()) {
            let stream = if is_channel { StreamName::Channel(&name) } else { StreamName::User(&name) };
            let key = stream.key();
            prop_assert_eq!(StreamName::read(key.as_bytes()), Some(stream));
        }

        #[test]
        fn no_bytes_cause_a_panic(kind in 0_u8..4, bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let length = (bytes.len() as u32 + 2).to_le_bytes();
            let _ = (read_mail(&bytes), read_answers(&bytes));
            let _ = read_mail(&[&length[..], &[VERSION, kind], &bytes].concat());
        }
    }
}
