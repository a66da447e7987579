//! The sessions that have not received everything: what a delivery mark must know of a hub.

use super::slot::SessionSlot;
use super::table::SessionTable;
use crate::broker::marking::{Laggards, LaggingSession};
use crate::protocol::ids::{Offset, Stream};
use std::sync::Arc;

impl SessionTable {
    /// Adds the sessions with frames that their sockets have not accepted, those whose catch-up is not complete, and polls
    /// whose response is being sent: what is published meanwhile waits for the next poll.
    pub fn add_laggards(&self, laggards: &mut Laggards) {
        for (_, slot) in &self.slots {
            let behind = self.behind(slot);
            if !behind.is_empty() && !laggards.add(LaggingSession { conn_id: slot.conn_id, behind }) {
                return;
            }
        }
    }

    /// The streams that a session has not received to their end, and how far it has received each.
    fn behind(&self, slot: &SessionSlot) -> Vec<(Option<Arc<str>>, Offset)> {
        let takes_nothing = slot.assembly.is_some() || slot.send_queue.is_sealed();
        if !takes_nothing && !slot.send_queue.has_frames() {
            return Vec::new();
        }
        let mut received = slot.send_queue.delivered_before();
        if takes_nothing {
            let private = slot.private.map(|private| (Stream::Private, private.cursor));
            let channels = slot.channels.to_vec().into_iter().filter_map(|(channel, index)| {
                Some((Stream::Channel(channel), self.members(channel).get(index as usize)?.cursor))
            });
            for (stream, cursor) in channels.chain(private) {
                received.entry(stream).or_insert(cursor);
            }
        }
        let named = received.into_iter().filter_map(|(stream, offset)| match stream {
            Stream::Private => Some((None, offset)),
            Stream::Channel(channel) => Some((Some(self.channels.get(&channel)?.name.clone()), offset)),
        });
        named.collect()
    }
}
