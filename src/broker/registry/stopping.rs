//! The shutdown: closes all sessions, spread over time.

use super::Registry;
use super::drain_schedule::DrainSchedule;
use super::messages::StartDrain;
use crate::broker::channel::messages::{OrderedClose, ToChannel};
use crate::broker::private_messages::ToPrivateMessages;
use crate::protocol::ids::{ChannelId, HubId, SlotKey};
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::in_flight::Counted;
use actix::{Handler, Message};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Sent to itself during the shutdown: closes the next batch of sessions.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct CloseDue;

impl Registry {
    /// Closes the sessions that are due, after everything accepted before; at the end, closes all that are left.
    fn close_due(&mut self, now: u64) {
        let Some(drain_schedule) = &mut self.drain_schedule else { return };
        let reason = CloseReason::Restarting(drain_schedule.retry_ms());
        let due = drain_schedule.due(now);
        let mut batches: FxHashMap<HubId, (Vec<SlotKey>, FxHashSet<ChannelId>)> = FxHashMap::default();
        for closing_session in due.into_iter().filter_map(|key| self.parts.state.closing_session(key)) {
            let (keys, channels) = batches.entry(closing_session.location.hub).or_default();
            keys.push(closing_session.location.slot);
            channels.extend(closing_session.channels);
        }
        for (hub, (keys, channels)) in batches {
            let (hubs, in_flight) = (self.parts.hubs.clone(), Counted::new(self.pending_closes.clone()));
            let ordered_close = Arc::new(OrderedClose::new(hubs, hub, keys, reason, in_flight));
            self.send_to_private_messages(ToPrivateMessages::OrderedClose(ordered_close.clone()));
            for channel in channels {
                self.send_to_channel(channel, ToChannel::OrderedClose(ordered_close.clone()));
            }
        }
        // Waits for all ordered closes, so that nothing accepted before them is lost.
        let is_over = self.drain_schedule.as_ref().is_some_and(|drain_schedule| drain_schedule.is_over(now));
        if is_over && self.pending_closes.get() == 0 {
            self.parts.hubs.drain();
        }
    }
}

impl Handler<StartDrain> for Registry {
    type Result = ();

    fn handle(&mut self, StartDrain { spread_ms }: StartDrain, _: &mut Self::Context) {
        let now = self.now_ms();
        self.drain_schedule
            .get_or_insert_with(|| DrainSchedule::new(self.parts.state.keys(), now, spread_ms));
    }
}

impl Handler<CloseDue> for Registry {
    type Result = ();

    fn handle(&mut self, _: CloseDue, _: &mut Self::Context) {
        self.close_due(self.now_ms());
        self.flush_to_link();
    }
}
