//! Ids inside the server: small, freely copied, never reused while a copy may still exist.

use super::time::Timestamp;
use std::fmt::{self, Write};

/// A user, as long as the server remembers it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u32);

/// A channel. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);

/// A connection's record in the registry. The generation distinguishes it from a later record at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey {
    /// The index in the registry's table.
    pub index: u32,
    /// Increases with each record.
    pub generation: u32,
}

/// A hub, and therefore a worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HubId(pub u16);

/// A session's slot on its hub. The generation distinguishes it from a later session at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// The index in the hub's table.
    pub index: u32,
    /// Increases with each session.
    pub generation: u32,
}

/// The location of a connection's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionSlot {
    pub hub: HubId,
    /// The slot on the hub.
    pub slot: SlotKey,
}

/// An ordered stream of frames to which a connection subscribes: a channel, or its user's private messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The frames of a channel.
    Channel(ChannelId),
    /// The private messages of the connection's user.
    Private,
}

/// One life of a [`Stream`]: 40 random bits. A stream that begins again has another epoch, so a position of its earlier
/// life cannot be mistaken for one of this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The length of its text.
    pub const LENGTH: usize = 8;

    /// Uses the lowest bits of a random number.
    pub const fn new(random: u64) -> Self {
        Self(lowest_bits(random, Self::LENGTH))
    }

    /// Reads the text that [`Epoch`] displays.
    pub fn parse(text: &str) -> Option<Self> {
        parse_digits(text, Self::LENGTH).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(formatter, self.0, Self::LENGTH)
    }
}

/// One life of a server: 30 random bits. Stamps of different lives cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerEpoch(u64);

impl ServerEpoch {
    /// The length of its text.
    pub const LENGTH: usize = 6;

    /// Uses the lowest bits of a random number.
    pub const fn new(random: u64) -> Self {
        Self(lowest_bits(random, Self::LENGTH))
    }

    /// Reads the text that [`ServerEpoch`] displays.
    pub fn parse(text: &str) -> Option<Self> {
        parse_digits(text, Self::LENGTH).map(Self)
    }
}

impl fmt::Display for ServerEpoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(formatter, self.0, Self::LENGTH)
    }
}

/// 32 digits without letters that look like digits (Crockford's base32).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The bits of a digit.
const DIGIT_BITS: usize = 5;

const fn lowest_bits(random: u64, digits: usize) -> u64 {
    random & ((1 << (digits * DIGIT_BITS)) - 1)
}

fn write_digits(formatter: &mut fmt::Formatter<'_>, value: u64, digits: usize) -> fmt::Result {
    for place in (0..digits).rev() {
        let digit = DIGITS[(value >> (place * DIGIT_BITS) & 31) as usize];
        formatter.write_char(char::from(digit))?;
    }
    Ok(())
}

fn parse_digits(text: &str, digits: usize) -> Option<u64> {
    if text.len() != digits {
        return None;
    }
    text.bytes().try_fold(0, |value, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        Some(value << DIGIT_BITS | digit as u64)
    })
}

/// The place of a frame in the order of all frames of a server: its time in µs since 1970, or one more than the stamp
/// before if that is later. No two publications have the same stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

impl Stamp {
    /// This time; 0 before 1970.
    pub fn at(time: &Timestamp) -> Self {
        Self(u64::try_from(time.unix_micros()).unwrap_or(0))
    }
}

/// A position in a life of a [`Stream`]: the number of frames up to and including this one.
pub type Offset = u64;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Stays the same as long as the stream exists.
    pub epoch: Epoch,
    /// Only grows.
    pub offset: Offset,
}

impl Position {
    /// The position of a stream that begins.
    pub fn start(epoch: Epoch) -> Self {
        Self { epoch, offset: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_eight_digits() {
        let text = |random: u64| Epoch::new(random).to_string();
        assert_eq!((text(0), text(u64::MAX)), ("00000000".into(), "zzzzzzzz".into()));
        assert_eq!(text(0x3b0534f494), "7c2k9x4m");
        let first = (0..32).map(|digit| text(digit).pop().unwrap()).collect::<String>();
        assert_eq!(first, "0123456789abcdefghjkmnpqrstvwxyz");
        assert_eq!(Epoch::new(7 << 40 | 5), Epoch::new(5), "only 40 bits count");
        assert_eq!(ServerEpoch::new(u64::MAX).to_string(), "zzzzzz");
    }

    #[test]
    fn epochs_are_read_as_they_are_written() {
        for random in [0, 5, 0x3b0534f494, u64::MAX] {
            assert_eq!(Epoch::parse(&Epoch::new(random).to_string()), Some(Epoch::new(random)));
            let epoch = ServerEpoch::new(random);
            assert_eq!(ServerEpoch::parse(&epoch.to_string()), Some(epoch));
        }
        for text in ["", "0000000", "000000000", "0000000i", "ABCDEFGH", "éééé"] {
            assert_eq!((Epoch::parse(text), ServerEpoch::parse(text)), (None, None), "{text}");
        }
    }
}
