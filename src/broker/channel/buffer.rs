//! The catch-up buffer of a stream: its last frames, and the messages that they carry.

use super::messages::StoredMessage;
use crate::broker::hub::messages::Stamped;
use crate::broker::registry::cluster::peers::{MovedPlace, Received};
use crate::protocol::event::{Encoder, PresenceEvent};
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{Offset, Stamp, UserId};
use crate::protocol::message::{Edit, Message};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// The place of a frame in its stream and among all frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub offset: Offset,
    pub stamp: Stamp,
}

#[derive(Debug)]
struct BufferEntry {
    place: Place,
    form: FrameForm,
    /// The message, if the frame carries one. Edits and deletions find it by its uuid.
    stored: Option<Arc<StoredMessage>>,
}

impl BufferEntry {
    fn stamped(&mut self, encoder: Encoder) -> Stamped {
        let Place { offset, stamp } = self.place;
        Stamped { offset, stamp, frame: self.form.frame(encoder) }
    }
}

#[derive(Debug)]
enum FrameForm {
    Encoded(Arc<Frame>),
    /// An edit. Boxed, because edits are rare and an entry should be small.
    Edit(Box<EditFrame>),
    /// A presence event with a list of users. Encoded frames would store the whole list once per event; events share
    /// most of it.
    Listed(Box<ListedMessage>),
}

#[derive(Debug)]
struct EditFrame {
    frame: Arc<Frame>,
    /// The message that it edits.
    uuid: Uuid,
    /// Whether that message was deleted later.
    is_deleted: bool,
}

#[derive(Debug)]
struct ListedMessage {
    event: PresenceEvent,
    /// The frame, as long as a send queue or a hub still holds it.
    frame: Weak<Frame>,
}

impl ListedMessage {
    fn frame(&mut self, encoder: Encoder) -> Arc<Frame> {
        self.frame.upgrade().unwrap_or_else(|| {
            let frame = Arc::new(encoder.presence(&self.event));
            self.frame = Arc::downgrade(&frame);
            frame
        })
    }
}

impl FrameForm {
    fn admits(&self, user: UserId) -> bool {
        match self {
            FrameForm::Encoded(frame) => frame.audience().admits(user),
            FrameForm::Edit(edit) => edit.frame.audience().admits(user),
            FrameForm::Listed(listed) => listed.event.audience().admits(user),
        }
    }

    fn frame(&mut self, encoder: Encoder) -> Arc<Frame> {
        match self {
            FrameForm::Encoded(frame) => frame.clone(),
            FrameForm::Edit(edit) => edit.frame.clone(),
            FrameForm::Listed(listed) => listed.frame(encoder),
        }
    }

    /// Whether this is an edit of a message that was deleted.
    fn is_of_deleted(&self) -> bool {
        matches!(self, FrameForm::Edit(edit) if edit.is_deleted)
    }
}

/// The newest frame that a buffer does not hold any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub place: Place,
    /// The channel does not keep frames, or did not for a while. Otherwise newer frames have displaced it.
    pub is_unkept: bool,
}

/// The last frames of a stream, up to a maximum number.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: VecDeque<BufferEntry>,
    floor: Floor,
}

impl Buffer {
    /// A buffer of a stream that begins at this moment. An earlier stream of the same name may have had frames.
    pub fn since_birth(stamp: Stamp) -> Self {
        Self::above(Floor { place: Place { offset: 0, stamp }, is_unkept: false })
    }

    /// A buffer without frames, behind this floor.
    pub fn above(floor: Floor) -> Self {
        Self { entries: VecDeque::new(), floor }
    }

    /// Finds the place of a connection that comes from another node: where the stream was when it subscribed, and what
    /// its client has received. `end` is the offset of the last frame.
    pub fn find(&self, place: MovedPlace, end: Offset) -> (Place, Offset) {
        let joined = Stamp(place.joined_stamp);
        let after = |stamp| self.offset_at(stamp).unwrap_or(self.floor.place.offset);
        match place.received {
            Received::UpTo(cursor) => {
                (Place { offset: place.joined_offset.min(end), stamp: joined }, cursor.min(end))
            }
            Received::Until(stamp) => {
                let offset = after(joined);
                (Place { offset, stamp: joined }, after(Stamp(stamp)).max(offset))
            }
        }
    }

    /// Appends a frame and keeps at most `max` frames.
    pub fn push(&mut self, stamped: Stamped, stored: Option<Arc<StoredMessage>>, max: usize) {
        let (place, form) = (stamped.place(), FrameForm::Encoded(stamped.frame));
        self.append(BufferEntry { place, form, stored }, max);
    }

    /// Appends an edit of a message.
    pub fn push_edit(&mut self, stamped: Stamped, uuid: Uuid, max: usize) {
        let place = stamped.place();
        let edit = EditFrame { frame: stamped.frame, uuid, is_deleted: false };
        self.append(BufferEntry { place, form: FrameForm::Edit(Box::new(edit)), stored: None }, max);
    }

    /// Appends an event with a list of users. The buffer does not keep its frame alive.
    pub fn push_listed(&mut self, place: Place, event: PresenceEvent, frame: Weak<Frame>, max: usize) {
        let form = FrameForm::Listed(Box::new(ListedMessage { event, frame }));
        self.append(BufferEntry { place, form, stored: None }, max);
    }

    fn append(&mut self, entry: BufferEntry, max: usize) {
        self.entries.push_back(entry);
        self.evict_while(|entries, _| entries.len() > max);
    }

    /// Removes the frames with earlier stamps.
    pub fn evict_before(&mut self, stamp: Stamp) {
        self.evict_while(|_, first| first.place.stamp < stamp);
    }

    /// Removes frames from the front, as long as the condition is true.
    fn evict_while(&mut self, is_over: impl Fn(&VecDeque<BufferEntry>, &BufferEntry) -> bool) {
        while self.entries.front().is_some_and(|first| is_over(&self.entries, first))
            && let Some(entry) = self.entries.pop_front()
        {
            self.floor = Floor { place: entry.place, is_unkept: false };
        }
    }

    /// Whether it still has the frame with this offset.
    pub fn contains(&self, offset: Offset) -> bool {
        self.entries.binary_search_by_key(&offset, |entry| entry.place.offset).is_ok()
    }

    /// Records a frame that is not kept. The buffer must be empty.
    pub fn skip(&mut self, place: Place) {
        self.floor = Floor { place, is_unkept: true };
    }

    /// Removes all frames.
    pub fn clear(&mut self) {
        if let Some(last) = self.entries.back() {
            self.floor = Floor { place: last.place, is_unkept: true };
        }
        self.entries = VecDeque::new();
    }

    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    /// The offset that the stream had reached at this stamp. `None` if it was below the floor.
    pub fn offset_at(&self, stamp: Stamp) -> Option<Offset> {
        let after = self.entries.partition_point(|entry| entry.place.stamp <= stamp);
        match after.checked_sub(1).and_then(|last| self.entries.get(last)) {
            Some(last) => Some(last.place.offset),
            None => (stamp >= self.floor.place.stamp).then_some(self.floor.place.offset),
        }
    }

    /// The frames that a client with this cursor misses, oldest first. As from the original, they include edits of
    /// messages that were deleted later.
    pub fn since(&mut self, cursor: Offset, user: UserId, encoder: Encoder) -> Vec<Stamped> {
        self.missed(cursor, user).map(|entry| entry.stamped(encoder)).collect()
    }

    /// The same without edits of deleted messages.
    pub fn since_without_deleted(&mut self, cursor: Offset, user: UserId, encoder: Encoder) -> Vec<Stamped> {
        let missed = self.missed(cursor, user).filter(|entry| !entry.form.is_of_deleted());
        missed.map(|entry| entry.stamped(encoder)).collect()
    }

    fn missed(&mut self, cursor: Offset, user: UserId) -> impl Iterator<Item = &mut BufferEntry> {
        let start = self.entries.partition_point(|entry| entry.place.offset <= cursor);
        self.entries.range_mut(start..).filter(move |entry| entry.form.admits(user))
    }

    /// Replaces a message by its edited form, which later catch-ups deliver.
    pub fn edit(&mut self, edit: &Edit, encoder: Encoder) {
        for entry in self.entries.iter_mut() {
            let Some(stored) = entry.stored.as_ref().filter(|stored| stored.message.uuid == edit.uuid) else {
                continue;
            };
            let FrameForm::Encoded(old) = &entry.form else { continue };
            let (frame, stored) = encode(edited(stored, edit), old.audience().clone(), encoder);
            entry.form = FrameForm::Encoded(frame);
            entry.stored = Some(stored);
        }
    }

    /// Removes a message. The floor stays: a client that never receives the message misses nothing.
    pub fn delete(&mut self, uuid: Uuid) {
        self.entries.retain_mut(|entry| {
            if let FrameForm::Edit(edit) = &mut entry.form {
                edit.is_deleted |= edit.uuid == uuid;
            }
            entry.stored.as_ref().is_none_or(|stored| stored.message.uuid != uuid)
        });
    }

    #[cfg(test)]
    pub fn num_frames(&self) -> usize {
        self.entries.len()
    }
}

/// Encodes a message. The stored message shares its payload with the frame.
pub fn encode(
    mut stored: StoredMessage,
    audience: Audience,
    encoder: Encoder,
) -> (Arc<Frame>, Arc<StoredMessage>) {
    let (frame, payload) = encoder.message(&stored.message, stored.edited.as_ref(), audience);
    if payload.is_some() {
        stored.message.message = payload;
    }
    (Arc::new(frame), Arc::new(stored))
}

/// Returns a message with an edit applied. Fields that the edit omits keep their values.
pub fn edited(stored: &StoredMessage, edit: &Edit) -> StoredMessage {
    let old = &stored.message;
    let message = Message {
        uuid: old.uuid,
        timestamp: edit.timestamp.unwrap_or(old.timestamp),
        user: edit.user.clone().unwrap_or_else(|| old.user.clone()),
        message: edit.message.clone().or_else(|| old.message.clone()),
        delivery: old.delivery.clone(),
    };
    StoredMessage { message, edited: Some(edit.edited) }
}
