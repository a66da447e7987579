//! A close that waits until everything accepted before it has reached the hub.

use super::HubSenders;
use crate::broker::hub::messages::ToHub;
use crate::protocol::ids::{HubId, SlotKey};
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::in_flight::Counted;
use std::sync::Arc;

/// Sessions of one hub to be closed, once every channel that they subscribe to has reached this value in its mailbox.
///
/// A frame passes through its channel's mailbox. The registry therefore sends a clone of this `Arc` through the same
/// mailboxes, and the channels only drop it. When the last clone is dropped, everything ahead of it has been sent to
/// the hub, and the command to close follows.
#[derive(Debug)]
pub struct OrderedClose {
    hubs: Arc<HubSenders>,
    hub: HubId,
    keys: Vec<SlotKey>,
    reason: CloseReason,
    /// Dropped after the command was sent to the hub.
    _in_flight: Counted,
}

impl OrderedClose {
    /// Closes sessions of `hub` for this reason. Counted as `in_flight` until the command is sent to the hub.
    pub fn new(
        hubs: Arc<HubSenders>,
        hub: HubId,
        keys: Vec<SlotKey>,
        reason: CloseReason,
        in_flight: Counted,
    ) -> Self {
        Self { hubs, hub, keys, reason, _in_flight: in_flight }
    }
}

impl Drop for OrderedClose {
    fn drop(&mut self) {
        self.hubs.send(self.hub, ToHub::OrderedClose(std::mem::take(&mut self.keys), self.reason));
    }
}
