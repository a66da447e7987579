//! A goodbye that waits until everything accepted before it has come.

use super::HubSenders;
use crate::broker::hub::messages::ToHub;
use crate::protocol::ids::{HubId, SlotKey};
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::in_flight::Counted;
use std::sync::Arc;

/// Sessions of one hub that are to go, once every channel they listen to has been asked.
///
/// A frame travels through its channel's mailbox. So the registry sends a share of this through the same mailboxes, and
/// the channels merely drop it: when the last share is gone, whatever was in front of any of them is on its way to the
/// hub already, and the order to go follows.
#[derive(Debug)]
pub struct OrderedClose {
    hubs: Arc<HubSenders>,
    hub: HubId,
    keys: Vec<SlotKey>,
    reason: CloseReason,
    /// Given back when the hub has been told.
    _under_way: Counted,
}

impl OrderedClose {
    /// Sessions of `hub`, and why they are to go. Counted as `under_way` until the hub has been told.
    pub fn new(
        hubs: Arc<HubSenders>,
        hub: HubId,
        keys: Vec<SlotKey>,
        reason: CloseReason,
        under_way: Counted,
    ) -> Self {
        Self { hubs, hub, keys, reason, _under_way: under_way }
    }
}

impl Drop for OrderedClose {
    fn drop(&mut self) {
        self.hubs.tell(self.hub, ToHub::OrderedClose(std::mem::take(&mut self.keys), self.reason));
    }
}
