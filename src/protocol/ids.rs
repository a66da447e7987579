//! Names of things inside the server: small, copied freely, never reused while somebody may still hold one.

/// A user, for as long as the server remembers it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u32);

/// A channel. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);

/// A connection's record in the registry. The generation tells it from a later one at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey {
    /// Index in the registry's table.
    pub index: u32,
    /// How many records had this index before.
    pub generation: u32,
}

/// A hub, and with it a worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HubId(pub u16);

/// A session's place on its hub. The generation tells it from a later one at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// Index in the hub's table.
    pub index: u32,
    /// How many sessions had this index before.
    pub generation: u32,
}

/// Where a connection's session is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionSlot {
    /// The hub.
    pub hub: HubId,
    /// The slot there.
    pub slot: SlotKey,
}

/// An ordered stream of frames a connection listens to: a channel, or its user's private messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The frames of a channel.
    Channel(ChannelId),
    /// The private messages of the connection's user.
    Private,
}

/// Position in a [`Stream`]: the number of frames up to and including this one.
pub type Offset = u64;
