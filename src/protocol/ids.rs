//! Ids inside the server: small, freely copied, never reused while a copy may still exist.

use std::fmt;

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
    /// 32 digits without letters that look like digits (Crockford's base32).
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const BITS: u32 = 40;

    /// Uses the lowest bits of a random number.
    pub fn new(random: u64) -> Self {
        Self(random & ((1 << Self::BITS) - 1))
    }
}

/// Eight digits, the highest first.
impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in (0..Self::BITS).step_by(5).rev() {
            let digit = Self::DIGITS[(self.0 >> shift & 31) as usize];
            write!(formatter, "{}", char::from(digit))?;
        }
        Ok(())
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
    }
}
