//! Ids inside the server: small, freely copied, never reused while a copy may still exist.

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

/// A position in a [`Stream`]: the number of frames up to and including this one.
pub type Offset = u64;
