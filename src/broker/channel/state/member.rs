//! A subscribed connection, as its channel stores it.

use crate::broker::dense_map::Keyed;
use crate::protocol::ids::{ConnKey, ConnectionSlot, HubId, Offset, SlotKey, UserId};

/// A subscribed connection. Small, because there is one for each connection and channel.
#[derive(Debug)]
pub(super) struct Member {
    pub conn: ConnKey,
    pub user: UserId,
    /// Whether the connection and its user count as present.
    pub present: bool,
    /// Whether `hub` and `slot` refer to a session. An `Option<ConnectionSlot>` would be half as large again.
    pub has_session: bool,
    pub hub: HubId,
    pub slot: SlotKey,
    /// How far the client has received the stream. Only valid without a session; the hub tracks the cursor of a
    /// session.
    pub cursor: Offset,
}

impl Keyed for Member {
    type Key = ConnKey;

    fn key(&self) -> &ConnKey {
        &self.conn
    }
}

impl Member {
    pub fn new(conn: ConnKey, user: UserId, cursor: Offset) -> Self {
        let slot = SlotKey { index: 0, generation: 0 };
        Self { conn, user, present: false, has_session: false, hub: HubId(0), slot, cursor }
    }

    /// Sets the session. Returns the previous one, if there was one.
    pub fn attach_session(&mut self, location: ConnectionSlot) -> Option<ConnectionSlot> {
        let before = self.take_session();
        (self.has_session, self.hub, self.slot) = (true, location.hub, location.slot);
        before
    }

    /// Clears the session and returns it, if there was one.
    pub fn take_session(&mut self) -> Option<ConnectionSlot> {
        std::mem::take(&mut self.has_session).then_some(ConnectionSlot { hub: self.hub, slot: self.slot })
    }
}
