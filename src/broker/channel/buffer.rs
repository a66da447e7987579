//! The catch-up buffer of a stream: its last frames, and the messages that they carry.

use super::messages::StoredMessage;
use crate::broker::hub::messages::Stamped;
use crate::protocol::event::{Encoder, PresenceEvent};
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{Offset, UserId};
use crate::protocol::message::{Edit, Message};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use uuid::Uuid;

#[derive(Debug)]
struct BufferEntry {
    offset: Offset,
    form: FrameForm,
    /// The message, if the frame carries one. Edits and deletions find it by its uuid.
    stored: Option<Arc<StoredMessage>>,
}

#[derive(Debug)]
enum FrameForm {
    Encoded(Arc<Frame>),
    /// A presence event with a list of users. Encoded frames would store the whole list once per event; events share
    /// most of it.
    Listed(Box<ListedMessage>),
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
            FrameForm::Listed(listed) => listed.event.audience().admits(user),
        }
    }

    fn frame(&mut self, encoder: Encoder) -> Arc<Frame> {
        match self {
            FrameForm::Encoded(frame) => frame.clone(),
            FrameForm::Listed(listed) => listed.frame(encoder),
        }
    }
}

/// The last frames of a stream, up to a maximum number.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: VecDeque<BufferEntry>,
}

impl Buffer {
    /// Appends a frame and keeps at most `max` frames.
    pub fn push(&mut self, stamped: Stamped, stored: Option<Arc<StoredMessage>>, max: usize) {
        let Stamped { offset, frame } = stamped;
        self.append(BufferEntry { offset, form: FrameForm::Encoded(frame), stored }, max);
    }

    /// Appends an event with a list of users. The buffer does not keep its frame alive.
    pub fn push_listed(&mut self, offset: Offset, event: PresenceEvent, frame: Weak<Frame>, max: usize) {
        let form = FrameForm::Listed(Box::new(ListedMessage { event, frame }));
        self.append(BufferEntry { offset, form, stored: None }, max);
    }

    fn append(&mut self, entry: BufferEntry, max: usize) {
        self.entries.push_back(entry);
        self.evict_while(|entries, _| entries.len() > max);
    }

    /// Removes the frames up to and including this one.
    pub fn evict_through(&mut self, offset: Offset) {
        self.evict_while(|_, first| first.offset <= offset);
    }

    /// Removes frames from the front, as long as the condition is true.
    fn evict_while(&mut self, is_over: impl Fn(&VecDeque<BufferEntry>, &BufferEntry) -> bool) {
        while self.entries.front().is_some_and(|first| is_over(&self.entries, first)) {
            self.entries.pop_front();
        }
    }

    /// The frames that a client with this cursor misses, oldest first.
    pub fn since(&mut self, cursor: Offset, user: UserId, encoder: Encoder) -> Vec<Stamped> {
        let start = self.entries.partition_point(|entry| entry.offset <= cursor);
        let missed = self.entries.range_mut(start..).filter(|entry| entry.form.admits(user));
        missed.map(|entry| Stamped { offset: entry.offset, frame: entry.form.frame(encoder) }).collect()
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

    /// Removes a message.
    pub fn delete(&mut self, uuid: Uuid) {
        self.entries.retain(|entry| entry.stored.as_ref().is_none_or(|stored| stored.message.uuid != uuid));
    }

    #[cfg(test)]
    pub fn num_frames(&self) -> usize {
        self.entries.len()
    }

    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
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
