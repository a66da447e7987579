//! While the server stops: everybody is sent away, spread over time.

use super::Registry;
use super::drain_schedule::DrainSchedule;
use super::messages::StartDrain;
use crate::broker::channel::messages::ToChannel;
use crate::broker::channel::ordered_close::OrderedClose;
use crate::broker::private_messages::ToPrivateMessages;
use crate::protocol::ids::{ChannelId, HubId, SlotKey};
use crate::protocol::websocket::close::CloseReason;
use crate::telemetry::in_flight::Counted;
use actix::{Handler, Message};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// To itself, while the server stops: it is time for the next batch of sessions to go.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Depart;

impl Registry {
    /// Sends away those sessions whose time has come, behind everything accepted before; at the end whoever is left.
    fn send_away(&mut self, now: u64) {
        let Some(departures) = &mut self.departures else { return };
        let reason = CloseReason::Restarting(departures.retry_ms());
        let due = departures.due(now);
        let mut batches: FxHashMap<HubId, (Vec<SlotKey>, FxHashSet<ChannelId>)> = FxHashMap::default();
        for departing in due.into_iter().filter_map(|key| self.parts.state.departing(key)) {
            let (keys, channels) = batches.entry(departing.place.hub).or_default();
            keys.push(departing.place.slot);
            channels.extend(departing.channels);
        }
        for (hub, (keys, channels)) in batches {
            let (hubs, under_way) = (self.parts.hubs.clone(), Counted::new(self.farewells.clone()));
            let ordered_close = Arc::new(OrderedClose::new(hubs, hub, keys, reason, under_way));
            self.tell_inboxes(ToPrivateMessages::OrderedClose(ordered_close.clone()));
            for channel in channels {
                self.tell_channel(channel, ToChannel::OrderedClose(ordered_close.clone()));
            }
        }
        // Nobody's goodbye is overtaken, nor what was accepted before it.
        let is_over = self.departures.as_ref().is_some_and(|departures| departures.is_over(now));
        if is_over && self.farewells.get() == 0 {
            self.parts.hubs.drain();
        }
    }
}

impl Handler<StartDrain> for Registry {
    type Result = ();

    fn handle(&mut self, StartDrain { spread_ms }: StartDrain, _: &mut Self::Context) {
        let now = self.now_ms();
        self.departures.get_or_insert_with(|| DrainSchedule::new(self.parts.state.keys(), now, spread_ms));
    }
}

impl Handler<Depart> for Registry {
    type Result = ();

    fn handle(&mut self, _: Depart, _: &mut Self::Context) {
        self.send_away(self.now_ms());
    }
}
