//! What a stream keeps for peers that come back: its last frames, and the messages behind them.

use super::messages::Kept;
use crate::hub::messages::Stamped;
use crate::ids::{Offset, UserId};
use crate::wire::event::Encoder;
use crate::wire::frame::{Audience, Frame};
use crate::wire::message::{Edit, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug)]
struct Entry {
    stamped: Stamped,
    /// The message it carries, if it is one: an edit or deletion finds it by its uuid.
    kept: Option<Arc<Kept>>,
}

/// The last frames of a stream, bounded in number.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: VecDeque<Entry>,
}

impl Buffer {
    /// Keeps a frame, and no more than `max` of them.
    pub fn push(&mut self, stamped: Stamped, kept: Option<Arc<Kept>>, max: usize) {
        self.entries.push_back(Entry { stamped, kept });
        while self.entries.len() > max {
            self.entries.pop_front();
        }
    }

    /// What a peer that got as far as `cursor` misses, oldest first.
    pub fn since(&self, cursor: Offset, user: UserId) -> Vec<Stamped> {
        let start = self.entries.partition_point(|entry| entry.stamped.offset <= cursor);
        let frames = self.entries.range(start..).map(|entry| &entry.stamped);
        frames.filter(|stamped| stamped.frame.audience().admits(user)).cloned().collect()
    }

    /// Replaces a message by its edited form; whoever catches up sees that.
    pub fn edit(&mut self, edit: &Edit, encoder: Encoder) {
        for entry in self.entries.iter_mut() {
            let Some(kept) = entry.kept.as_ref().filter(|kept| kept.message.uuid == edit.uuid) else {
                continue;
            };
            let audience = entry.stamped.frame.audience().clone();
            let (frame, kept) = encode(edited(kept, edit), audience, encoder);
            entry.stamped.frame = frame;
            entry.kept = Some(kept);
        }
    }

    /// Forgets a message.
    pub fn delete(&mut self, uuid: Uuid) {
        self.entries.retain(|entry| entry.kept.as_ref().is_none_or(|kept| kept.message.uuid != uuid));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}

/// Encodes a message, and lets it share its payload with the frame.
pub fn encode(mut kept: Kept, audience: Audience, encoder: Encoder) -> (Arc<Frame>, Arc<Kept>) {
    let (frame, payload) = encoder.message(&kept.message, kept.edited.as_ref(), audience);
    if payload.is_some() {
        kept.message.message = payload;
    }
    (Arc::new(frame), Arc::new(kept))
}

/// A message in the form an edit gives it: what the edit leaves out stays.
pub fn edited(kept: &Kept, edit: &Edit) -> Kept {
    let old = &kept.message;
    let message = Message {
        uuid: old.uuid,
        timestamp: edit.timestamp.unwrap_or(old.timestamp),
        user: edit.user.clone().unwrap_or_else(|| old.user.clone()),
        message: edit.message.clone().or_else(|| old.message.clone()),
        delivery: old.delivery.clone(),
    };
    Kept { message, edited: Some(edit.edited) }
}
