//! What Redis has decided about the private streams of users, and what it stores of them.

use super::state::{PrivateEffects, PrivateMember, PrivateMessagesState, Recipient};
use crate::broker::channel::buffer::{Buffer, Floor, Place, encode};
use crate::broker::channel::messages::StoredMessage;
use crate::broker::hub::messages::{Stamped, ToHub};
use crate::broker::registry::cluster::peers::{MovedPlace, Received};
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ConnKey, HubId, Offset, Position, SlotKey, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::time::Timestamp;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// An entry of a user's private stream.
#[derive(Debug)]
pub struct PrivateEntry {
    pub place: Place,
    pub item: PrivateItem,
}

/// What an entry contains.
#[derive(Debug)]
pub enum PrivateItem {
    /// A message, and the time of its last edit.
    Post(Message, Option<Timestamp>),
    Edit(Edit),
    Delete(Delete),
    /// A message that was deleted.
    Nothing,
}

/// A private stream as Redis stores it.
#[derive(Debug)]
pub struct PrivateCopy {
    pub user: UserId,
    pub position: Position,
    /// The newest frame that is not kept.
    pub floor: Place,
    /// The kept frames after the floor.
    pub kept: Vec<PrivateEntry>,
}

impl PrivateMessagesState {
    /// Applies an entry; its place is the next one of the stream. A stream that is not loaded ignores it.
    pub fn apply(&mut self, entry: PrivateEntry, recipient: &Recipient, effects: &mut PrivateEffects) {
        let (encoder, max) = (self.encoder(), self.max_frames());
        let Some(stream) = self.stream_mut(recipient.user) else { return };
        let PrivateEntry { place: Place { offset, stamp }, item } = entry;
        stream.position.offset = offset;
        let frame = match item {
            PrivateItem::Post(message, edited) => {
                let (frame, stored) = encode(StoredMessage { message, edited }, Audience::all(), encoder);
                stream.frames.push(Stamped { offset, stamp, frame: frame.clone() }, Some(stored), max);
                frame
            }
            PrivateItem::Edit(edit) => {
                stream.frames.edit(&edit, encoder);
                let frame = Arc::new(encoder.edit(&edit, Audience::all()));
                stream.frames.push_edit(Stamped { offset, stamp, frame: frame.clone() }, edit.uuid, max);
                frame
            }
            PrivateItem::Delete(delete) => {
                stream.frames.delete(delete.uuid);
                let frame = Arc::new(encoder.delete(delete.uuid, None, Audience::all()));
                stream.frames.push(Stamped { offset, stamp, frame: frame.clone() }, None, max);
                frame
            }
            PrivateItem::Nothing => return,
        };
        let mut by_hub: FxHashMap<HubId, Vec<(SlotKey, Offset)>> = FxHashMap::default();
        for location in &recipient.locations {
            by_hub.entry(location.hub).or_default().push((location.slot, offset));
        }
        effects.extend(
            by_hub.into_iter().map(|(hub, slots)| (hub, ToHub::DeliverPrivate(slots, stamp, frame.clone()))),
        );
    }

    /// A connection moves to another node. Returns its place.
    pub fn depart(&mut self, user: UserId, conn: ConnKey) -> MovedPlace {
        let member = self.stream_mut(user).and_then(|stream| stream.connections.remove(&conn));
        let PrivateMember { joined, cursor } = member.unwrap_or_default();
        MovedPlace {
            joined_offset: joined.offset,
            joined_stamp: joined.stamp.0,
            received: Received::UpTo(cursor),
        }
    }

    /// A connection has come from another node.
    pub fn adopt(&mut self, user: UserId, conn: ConnKey, place: MovedPlace) {
        if let Some(stream) = self.stream_mut(user) {
            let (joined, cursor) = stream.frames.find(place, stream.position.offset);
            stream.connections.insert(conn, PrivateMember { joined, cursor });
        }
    }

    /// Replaces everything but the connections of this node by what Redis stores. Frames after the current position go to
    /// the sessions.
    pub fn load(&mut self, copy: PrivateCopy, recipient: &Recipient, effects: &mut PrivateEffects) {
        let PrivateCopy { user, position, floor, kept } = copy;
        let known = self.begin_copy(user, Position { offset: floor.offset, ..position }, {
            Buffer::above(Floor { place: floor, is_unkept: false })
        });
        if known.is_some_and(|(known, epoch)| epoch != position.epoch || floor.offset > known) {
            let renewed = recipient.locations.iter();
            effects.extend(renewed.map(|to| (to.hub, ToHub::RenewPrivate(to.slot, position.epoch))));
        }
        let known = known.map(|(offset, _)| offset);
        let without_sessions = Recipient { user, locations: Vec::new() };
        for entry in kept {
            let is_new = known.is_some_and(|known| entry.place.offset > known);
            self.apply(entry, if is_new { recipient } else { &without_sessions }, effects);
        }
        if let Some(stream) = self.stream_mut(user) {
            stream.position = position;
        }
    }
}
