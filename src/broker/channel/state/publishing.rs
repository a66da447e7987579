//! Publishing: what a message, an edit or a deletion changes in the state, and the frames that go to the hubs.

use super::{ChannelEffects, ChannelState};
use crate::broker::channel::buffer::{Place, edited, encode};
use crate::broker::channel::messages::{Publication, StoredMessage};
use crate::broker::hub::messages::{Stamped, ToHub};
use crate::broker::receipts::StreamReceipt;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ConnectionSlot, HubId, Stamp};
use crate::protocol::time::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

impl ChannelState {
    /// Publishes a message, edit or deletion. `locations`, if given, are all sessions that may receive it. Returns its
    /// receipt.
    pub fn publish(
        &mut self,
        publication: Publication,
        locations: Option<Vec<ConnectionSlot>>,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) -> StreamReceipt {
        let edited_uuid = match &publication {
            Publication::Edit(edit, _) => Some(edit.uuid),
            Publication::Post(..) | Publication::Delete(..) => None,
        };
        let (frame, stored, in_history) = match publication {
            Publication::Post(message, audience) => {
                let is_stored = self.settings.store_history && !message.delivery.no_history;
                let (frame, stored) = encode(StoredMessage { message, edited: None }, audience, self.encoder);
                if is_stored {
                    self.append_history(stored.clone());
                }
                (frame, Some(stored), is_stored && !self.history.is_empty())
            }
            Publication::Edit(edit, audience) => {
                let mut in_history = false;
                for stored in self.history.iter_mut().filter(|stored| stored.message.uuid == edit.uuid) {
                    *stored = Arc::new(edited(stored, &edit));
                    in_history = true;
                }
                self.frames.edit(&edit, self.encoder);
                (Arc::new(self.encoder.edit(&edit, audience)), None, in_history)
            }
            Publication::Delete(delete, audience) => {
                self.history.retain(|stored| stored.message.uuid != delete.uuid);
                self.frames.delete(delete.uuid);
                let frame = self.encoder.delete(delete.uuid, Some(&self.identity.name), audience);
                (Arc::new(frame), None, false)
            }
        };
        let Place { offset, stamp } = self.next_place(now);
        let stamped = Stamped { offset, stamp, frame };
        match locations {
            Some(locations) => self.deliver_to(&locations, &stamped, effects),
            None => self.deliver(&stamped, effects),
        }
        match edited_uuid {
            Some(uuid) if self.settings.store_frames => {
                self.frames.push_edit(stamped, uuid, self.retention.frames);
            }
            _ => self.buffer_frame(stamped, stored),
        }
        StreamReceipt {
            position: Some(self.position),
            online: self.sessions.iter().sum(),
            is_kept: in_history || (self.settings.store_frames && self.retention.frames > 0),
        }
    }

    /// The receipt of an item that was published earlier, as it is now. `message` is the message that the history contains
    /// if it contains the item.
    pub fn recheck(&self, stream: StreamReceipt, message: Option<Uuid>) -> StreamReceipt {
        let in_frames = stream
            .position
            .is_some_and(|at| at.epoch == self.position.epoch && self.frames.contains(at.offset));
        let in_history = || self.history.iter().any(|stored| Some(stored.message.uuid) == message);
        StreamReceipt { is_kept: stream.is_kept && (in_frames || in_history()), ..stream }
    }

    fn append_history(&mut self, stored: Arc<StoredMessage>) {
        self.history.push_back(stored);
        // Size 0 means no limit (behaviour of the original); the server's own limit still applies.
        let size = match usize::try_from(self.settings.history_size).unwrap_or(usize::MAX) {
            0 => self.retention.history,
            size => size.min(self.retention.history),
        };
        while self.history.len() > size {
            self.history.pop_front();
        }
    }

    pub(super) fn broadcast(&mut self, frame: Frame, now: &Timestamp, effects: &mut ChannelEffects) {
        let Place { offset, stamp } = self.next_place(now);
        let stamped = Stamped { offset, stamp, frame: Arc::new(frame) };
        self.deliver(&stamped, effects);
        self.buffer_frame(stamped, None);
    }

    pub(super) fn buffer_frame(&mut self, stamped: Stamped, stored: Option<Arc<StoredMessage>>) {
        match self.settings.store_frames {
            true => self.frames.push(stamped, stored, self.retention.frames),
            false => self.frames.skip(stamped.place()),
        }
    }

    pub(super) fn next_place(&mut self, now: &Timestamp) -> Place {
        self.last_active = *now;
        self.evict_old_frames(now);
        if let Some(place) = self.following.as_mut().and_then(|following| following.take_place()) {
            self.position.offset = place.offset;
            return place;
        }
        self.position.offset += 1;
        Place { offset: self.position.offset, stamp: self.stamps.next(now) }
    }

    /// Removes frames that are older than the rules allow. A frame's stamp is the time at which it was published. After the
    /// system's clock went back, stamps are ahead of it, and frames stay for so much longer.
    pub(super) fn evict_old_frames(&mut self, now: &Timestamp) {
        let age_micros = self.rules.frames_age_s.saturating_mul(1_000_000);
        if age_micros > 0 {
            self.frames.evict_before(Stamp(Stamp::at(now).0.saturating_sub(age_micros)));
        }
    }

    pub(super) fn deliver(&mut self, stamped: &Stamped, effects: &mut ChannelEffects) {
        self.record_frame(stamped);
        for hub in self.hubs() {
            effects.push((hub, ToHub::Deliver(self.identity.id, stamped.clone())));
        }
    }

    /// Sends to the listed sessions only. The hub ignores sessions of non-members.
    fn deliver_to(&mut self, locations: &[ConnectionSlot], stamped: &Stamped, effects: &mut ChannelEffects) {
        self.record_frame(stamped);
        for hub in self.hubs() {
            let slots = locations
                .iter()
                .filter(|location| location.hub == hub)
                .map(|location| location.slot)
                .collect();
            effects.push((hub, ToHub::DeliverTo(self.identity.id, slots, stamped.clone())));
        }
    }

    /// The hubs with subscribed sessions.
    pub(super) fn hubs(&self) -> impl Iterator<Item = HubId> {
        let listening = self.sessions.iter().enumerate().filter(|(_, sessions)| **sessions > 0);
        listening.map(|(hub, _)| HubId(hub as u16))
    }

    fn record_frame(&mut self, stamped: &Stamped) {
        if let Some(recorded_frames) = &mut self.recorded_frames {
            recorded_frames.push(stamped.frame.clone());
        }
    }
}
