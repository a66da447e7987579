//! A connection that this node gives up. Its streams add where it is; when the last one has, its row has no owner any more,
//! and the node that has asked for it gets its answer.
//!
//! The row contains everything, so that any node can continue the connection if the one that has asked dies meanwhile.

use super::peers::{Answer, MovedConnection, MovedPlace, Post};
use super::rows::{Released, RowData};
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::link::LinkHandle;
use std::sync::{Mutex, PoisonError};

/// See the module's description. All clones of its `Arc` travel through the mailboxes of the streams.
#[derive(Debug)]
pub struct Departure {
    moved: Mutex<MovedConnection>,
    link: LinkHandle,
    /// The number of this node, and the generation in which it owns the connection.
    owned: (NodeNumber, u64),
    /// The node that has asked, and the number of its question.
    asked: (NodeNumber, u64),
}

impl Departure {
    pub fn new(
        moved: MovedConnection,
        link: LinkHandle,
        owned: (NodeNumber, u64),
        asked: (NodeNumber, u64),
    ) -> Self {
        Self { moved: Mutex::new(moved), link, owned, asked }
    }

    /// Notes the place in a channel.
    pub fn note_channel(&self, name: &str, place: MovedPlace) {
        self.change(|moved| _ = moved.channels.insert(name.to_owned(), place));
    }

    /// Notes the place in the private stream of the user.
    pub fn note_private(&self, place: MovedPlace) {
        self.change(|moved| moved.private = place);
    }

    fn change(&self, change: impl FnOnce(&mut MovedConnection)) {
        change(&mut self.moved.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let connection = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ((by, generation), (to, id)) = (self.owned, self.asked);
        let conn = connection.conn_id.to_string();
        let data = RowData { released: Some(Released { by, connection }), ..RowData::default() }.write();
        // It is sent again if the connection to Redis breaks. If the answer is lost, the node that has asked finds the row.
        self.link.send_unanswered(Call::Release { conn, generation: Some(generation), data });
        let answer = Answer::Released;
        self.link.send_unanswered(Call::Send { to, bytes: Post::Answer { id, answer }.write() });
    }
}
