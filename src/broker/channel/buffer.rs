//! What a stream keeps for peers that come back: its last frames, and the messages behind them.

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
    /// The message it carries, if it is one: an edit or deletion finds it by its uuid.
    kept: Option<Arc<StoredMessage>>,
}

#[derive(Debug)]
enum FrameForm {
    Encoded(Arc<Frame>),
    /// With a list of users, which frames would hold once for each event; as events they share all but a little of it.
    Listed(Box<ListedMessage>),
}

#[derive(Debug)]
struct ListedMessage {
    event: PresenceEvent,
    /// The frame, as long as it is on its way to somebody.
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

/// The last frames of a stream, bounded in number.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: VecDeque<BufferEntry>,
}

impl Buffer {
    /// Keeps a frame, and no more than `max` of them.
    pub fn push(&mut self, stamped: Stamped, kept: Option<Arc<StoredMessage>>, max: usize) {
        let Stamped { offset, frame } = stamped;
        self.keep(BufferEntry { offset, form: FrameForm::Encoded(frame), kept }, max);
    }

    /// Keeps an event with a list of users, and its frame only as long as others do.
    pub fn push_listed(&mut self, offset: Offset, event: PresenceEvent, frame: Weak<Frame>, max: usize) {
        let form = FrameForm::Listed(Box::new(ListedMessage { event, frame }));
        self.keep(BufferEntry { offset, form, kept: None }, max);
    }

    fn keep(&mut self, entry: BufferEntry, max: usize) {
        self.entries.push_back(entry);
        while self.entries.len() > max {
            self.entries.pop_front();
        }
    }

    /// What a peer that got as far as `cursor` misses, oldest first.
    pub fn since(&mut self, cursor: Offset, user: UserId, encoder: Encoder) -> Vec<Stamped> {
        let start = self.entries.partition_point(|entry| entry.offset <= cursor);
        let missed = self.entries.range_mut(start..).filter(|entry| entry.form.admits(user));
        missed.map(|entry| Stamped { offset: entry.offset, frame: entry.form.frame(encoder) }).collect()
    }

    /// Replaces a message by its edited form; whoever catches up sees that.
    pub fn edit(&mut self, edit: &Edit, encoder: Encoder) {
        for entry in self.entries.iter_mut() {
            let Some(kept) = entry.kept.as_ref().filter(|kept| kept.message.uuid == edit.uuid) else {
                continue;
            };
            let FrameForm::Encoded(old) = &entry.form else { continue };
            let (frame, kept) = encode(edited(kept, edit), old.audience().clone(), encoder);
            entry.form = FrameForm::Encoded(frame);
            entry.kept = Some(kept);
        }
    }

    /// Forgets a message.
    pub fn delete(&mut self, uuid: Uuid) {
        self.entries.retain(|entry| entry.kept.as_ref().is_none_or(|kept| kept.message.uuid != uuid));
    }

    /// Frames it keeps.
    #[cfg(test)]
    pub fn num_frames(&self) -> usize {
        self.entries.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}

/// Encodes a message, and lets it share its payload with the frame.
pub fn encode(
    mut kept: StoredMessage,
    audience: Audience,
    encoder: Encoder,
) -> (Arc<Frame>, Arc<StoredMessage>) {
    let (frame, payload) = encoder.message(&kept.message, kept.edited.as_ref(), audience);
    if payload.is_some() {
        kept.message.message = payload;
    }
    (Arc::new(frame), Arc::new(kept))
}

/// A message in the form an edit gives it: what the edit leaves out stays.
pub fn edited(kept: &StoredMessage, edit: &Edit) -> StoredMessage {
    let old = &kept.message;
    let message = Message {
        uuid: old.uuid,
        timestamp: edit.timestamp.unwrap_or(old.timestamp),
        user: edit.user.clone().unwrap_or_else(|| old.user.clone()),
        message: edit.message.clone().or_else(|| old.message.clone()),
        delivery: old.delivery.clone(),
    };
    StoredMessage { message, edited: Some(edit.edited) }
}
