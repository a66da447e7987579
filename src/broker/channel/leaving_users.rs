//! The users of a channel that have left and may return before they count as gone. Pure.

use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See the module's description. A user that returns may have a new id, because the server may have deleted it meanwhile.
#[derive(Debug, Default)]
pub struct LeavingUsers {
    by_name: BTreeMap<Box<str>, (u64, UserId)>,
    by_due: BTreeSet<(u64, UserId)>,
}

impl LeavingUsers {
    /// Adds a user that is gone at this time. It must not be among them yet.
    pub fn add(&mut self, user: &Arc<UserView>, due: u64) {
        self.by_name.insert(user.name.clone(), (due, user.id));
        self.by_due.insert((due, user.id));
    }

    /// Removes the user of this name, because it has returned. Returns the id that it had.
    pub fn cancel(&mut self, name: &str) -> Option<UserId> {
        let (due, id) = self.by_name.remove(name)?;
        self.by_due.remove(&(due, id));
        Some(id)
    }

    /// When the next user is gone.
    pub fn next_due(&self) -> Option<u64> {
        self.by_due.first().map(|(due, _)| *due)
    }

    pub fn is_empty(&self) -> bool {
        self.by_due.is_empty()
    }

    /// The next user that is gone by now. The caller removes it by its name.
    pub fn next_gone(&self, now: u64) -> Option<UserId> {
        self.by_due.first().filter(|(due, _)| *due <= now).map(|(_, id)| *id)
    }
}
