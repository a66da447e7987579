//! Entries: records with their place in a stream, as a node receives them. Pure.

use crate::protocol::ids::{Epoch, Offset, Position, Stamp};

/// The state of a stream after an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub stream: StreamName<'a>,
    pub position: Position,
    pub stamp: Stamp,
    /// How often the list of present users has changed.
    pub roster: u64,
    pub connections: u32,
    pub users: u32,
    /// Empty if only the epoch of the stream has changed.
    pub record: &'a [u8],
}

/// A stream as Redis knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName<'a> {
    Channel(&'a str),
    /// The private messages of a user.
    User(&'a str),
}

impl<'a> StreamName<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
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
        }
    }
}

const VERSION: u8 = 1;

/// A cursor over bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        let (text, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(text)
    }
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [version] = reader.chunk()?;
        let stream = StreamName::read(reader.text()?)?;
        let epoch = Epoch::parse(std::str::from_utf8(&reader.chunk::<{ Epoch::LENGTH }>()?).ok()?)?;
        let offset: Offset = reader.u64()?;
        let entry = Self {
            stream,
            position: Position { epoch, offset },
            stamp: Stamp(reader.u64()?),
            roster: reader.u64()?,
            connections: reader.u32()?,
            users: reader.u32()?,
            record: reader.0,
        };
        (version == VERSION).then_some(entry)
    }
}

/// Reads what a mailbox has received at once. `None` if a part of it is malformed.
pub fn read_mail(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let (mut reader, mut entries) = (Reader(bytes), Vec::new());
    while !reader.0.is_empty() {
        entries.push(Entry::read(reader.text()?)?);
    }
    Some(entries)
}

/// The answer about an item that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It has this place now.
    At { position: Position, stamp: Stamp, connections: u32 },
    /// It was published before, with the same idempotency key.
    Before { position: Position, stamp: Stamp, connections: u32 },
    /// There is no such channel; nothing was done.
    NoChannel,
}

/// Reads the answers of `append` and `change`. `None` if a part of them is malformed.
pub fn read_answers(bytes: &[u8]) -> Option<Vec<Published>> {
    let (mut reader, mut answers) = (Reader(bytes), Vec::new());
    while !reader.0.is_empty() {
        let ([status], epoch) = (reader.chunk()?, reader.chunk::<{ Epoch::LENGTH }>()?);
        let (offset, stamp, connections) = (reader.u64()?, Stamp(reader.u64()?), reader.u32()?);
        let position = || {
            let epoch = Epoch::parse(std::str::from_utf8(&epoch).ok()?)?;
            Some(Position { epoch, offset })
        };
        answers.push(match status {
            0 => Published::At { position: position()?, stamp, connections },
            1 => Published::NoChannel,
            2 => Published::Before { position: position()?, stamp, connections },
            _ => return None,
        });
    }
    Some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(name in ".{0,4}", is_channel in any::<bool>()) {
            let stream = if is_channel { StreamName::Channel(&name) } else { StreamName::User(&name) };
            let key = stream.key();
            prop_assert_eq!(StreamName::read(key.as_bytes()), Some(stream));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let length = (bytes.len() as u32).to_le_bytes();
            let _ = (read_mail(&bytes), read_answers(&bytes));
            let _ = read_mail(&[&length, &bytes[..]].concat());
        }
    }
}
