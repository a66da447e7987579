//! A connection that moves to another node. Its streams add where it is; when the last one has, the answer is sent.

use super::peers::{Answer, MovedConnection, MovedPlace, Post};
use crate::broker::engine::call::{Call, NodeNumber};
use crate::broker::engine::link::LinkHandle;
use std::sync::{Mutex, PoisonError};

/// See the module's description. All clones of its `Arc` travel through the mailboxes of the streams.
#[derive(Debug)]
pub struct Departure {
    moved: Mutex<MovedConnection>,
    link: LinkHandle,
    /// The node that has asked, and the number of its question.
    asked: (NodeNumber, u64),
}

impl Departure {
    pub fn new(moved: MovedConnection, link: LinkHandle, asked: (NodeNumber, u64)) -> Self {
        Self { moved: Mutex::new(moved), link, asked }
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
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (to, id) = self.asked;
        let answer = Answer::Released(Box::new(moved));
        self.link.send_unanswered(Call::Send { to, bytes: Post::Answer { id, answer }.write() });
    }
}
