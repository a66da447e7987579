//! The presence of users as the members of a channel know it, where they learn of changes once in an interval. Pure.

use crate::protocol::event::{Presence, UserView};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of users in a diff. If more change within an interval, members receive the numbers only.
pub const MAX_CHANGES: usize = 10_000;
/// Maximum size of the names and states in a diff, in bytes. Above it, members receive the numbers only as well.
const MAX_BYTES: usize = 4 << 20;

/// The changes since the last frame, and when the next frame is due.
#[derive(Clone, Debug, Default)]
pub struct PresenceChanges {
    /// The users about which the members do not know the current state, by name: a returning user may have a new id.
    users: BTreeMap<Box<str>, UserChange>,
    /// More users than a diff may contain have changed.
    is_overfull: bool,
    due: Option<u64>,
    /// Users and connections in the last count.
    counted: (u32, u32),
}

/// A user as the members know it, and as it is; `None` while it is absent.
#[derive(Clone, Debug)]
struct UserChange {
    before: Option<Arc<UserView>>,
    now: Option<Arc<UserView>>,
}

impl UserChange {
    fn is_cancelled(&self) -> bool {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => before.public_state() == now.public_state(),
            (None, None) => true,
            _ => false,
        }
    }
}

/// What the members of a channel receive at the end of an interval.
#[derive(Debug)]
pub enum PresenceReport {
    /// The users that joined, or came back with another public state, and the names of those that parted.
    Diff { joined: Vec<Arc<UserView>>, parted: Vec<Box<str>> },
    /// The numbers.
    Count,
}

impl PresenceChanges {
    /// When the next report is due.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// Begins an interval that ends at this time, unless one has begun.
    pub fn begin(&mut self, due: u64) {
        self.due.get_or_insert(due);
    }

    /// Records that a user joined or parted.
    pub fn note(&mut self, user: Arc<UserView>, presence: Presence) {
        if self.is_overfull {
            return;
        }
        let name = user.name.clone();
        let (before, now) = match presence {
            Presence::Joined => (None, Some(user)),
            Presence::Parted => (Some(user), None),
        };
        let change = self.users.entry(name.clone()).or_insert(UserChange { before, now: None });
        change.now = now;
        if change.is_cancelled() {
            self.users.remove(&name);
        }
        if self.users.len() > MAX_CHANGES {
            (self.users, self.is_overfull) = (BTreeMap::new(), true);
        }
    }

    /// The members know from another report that this user is present with this state, or absent. `now` is what it is.
    pub fn note_known(&mut self, name: &str, before: Option<Arc<UserView>>, now: Option<Arc<UserView>>) {
        let change = UserChange { before, now };
        match change.is_cancelled() {
            true => drop(self.users.remove(name)),
            false => drop(self.users.insert(name.into(), change)),
        }
    }

    /// Ends the interval without a report.
    pub fn end_interval(&mut self) {
        self.due = None;
    }

    /// Replaces the users that are present by those that the members know.
    pub fn undo(&self, present: &mut BTreeMap<Box<str>, Arc<UserView>>) {
        for (name, change) in &self.users {
            match &change.before {
                Some(before) => _ = present.insert(name.clone(), before.clone()),
                None => _ = present.remove(name),
            }
        }
    }

    /// Whether a report is missing.
    pub fn is_pending(&self) -> bool {
        self.is_overfull || !self.users.is_empty()
    }

    /// The numbers of users and connections that the members know.
    pub fn counted(&self) -> (u32, u32) {
        self.counted
    }

    /// The members know these numbers of users and connections.
    pub fn note_counted(&mut self, numbers: (u32, u32)) {
        (self.counted, self.due) = (numbers, None);
    }

    /// Updates the state of a user whose join is not reported yet.
    pub fn update_view(&mut self, view: &Arc<UserView>) {
        if let Some(now) = self.users.get_mut(&view.name).and_then(|change| change.now.as_mut()) {
            *now = view.clone();
        }
    }

    /// Ends the interval. Returns the net change of users, or the numbers if too many users changed or their states are too
    /// large.
    pub fn take_diff(&mut self) -> Option<PresenceReport> {
        self.due = None;
        if std::mem::take(&mut self.is_overfull) {
            return Some(PresenceReport::Count);
        }
        let (mut joined, mut parted) = (Vec::new(), Vec::new());
        for (name, change) in std::mem::take(&mut self.users) {
            match change.now {
                // Its state may be the known one again by now.
                Some(_) if change.is_cancelled() => {}
                Some(user) => joined.push(user),
                None => parted.push(name),
            }
        }
        let names = parted.iter().map(|name| name.len());
        let bytes: usize =
            joined.iter().map(|user| user.name.len() + user.public_state().len()).chain(names).sum();
        match joined.is_empty() && parted.is_empty() {
            true => None,
            false if bytes > MAX_BYTES => Some(PresenceReport::Count),
            false => Some(PresenceReport::Diff { joined, parted }),
        }
    }

    /// Ends the interval. Returns a report if these numbers of users and connections are new to the members.
    pub fn take_count(&mut self, numbers: (u32, u32)) -> Option<PresenceReport> {
        self.due = None;
        let before = std::mem::replace(&mut self.counted, numbers);
        (before != numbers).then_some(PresenceReport::Count)
    }

    /// Forgets the changes of this interval, because members are not notified any longer.
    pub fn forget(&mut self) {
        (self.users, self.is_overfull, self.due) = (BTreeMap::new(), false, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::view;
    use crate::protocol::ids::UserId;

    fn with_state(id: u32, name: &str, state: &str) -> Arc<UserView> {
        Arc::new(UserView::new(UserId(id), name.into(), state, state))
    }

    /// The names that joined and those that parted.
    fn diff(changes: &mut PresenceChanges) -> (Vec<String>, Vec<String>) {
        match changes.take_diff() {
            Some(PresenceReport::Diff { joined, parted }) => (
                joined.iter().map(|user| format!("{}{}", user.name, user.public_state())).collect(),
                parted.iter().map(|name| name.to_string()).collect(),
            ),
            Some(PresenceReport::Count) => panic!("a count"),
            None => (Vec::new(), Vec::new()),
        }
    }

    #[test]
    fn opposite_changes_of_one_interval_cancel() {
        let mut changes = PresenceChanges::default();
        changes.note(view(1), Presence::Joined);
        changes.note(view(2), Presence::Joined);
        changes.note(view(1), Presence::Parted);
        changes.note(view(3), Presence::Parted);
        changes.note(view(4), Presence::Parted);
        changes.note(view(4), Presence::Joined);
        assert_eq!(diff(&mut changes), (vec!["u2{}".into()], vec!["u3".into()]));
        assert!(changes.take_diff().is_none(), "the next interval is empty");
    }

    #[test]
    fn a_user_with_another_state_is_reported() {
        let mut changes = PresenceChanges::default();
        let (old, new) = (with_state(1, "a", "{\"v\":1}"), with_state(2, "a", "{\"v\":2}"));
        changes.note(old.clone(), Presence::Parted);
        changes.note(new.clone(), Presence::Joined);
        assert_eq!(diff(&mut changes), (vec!["a{\"v\":2}".into()], vec![]));
        changes.note(new.clone(), Presence::Parted);
        changes.note(old, Presence::Joined);
        changes.update_view(&new);
        changes.update_view(&view(7));
        assert_eq!(diff(&mut changes), (vec![], vec![]), "the state is the known one again");
        changes.note(view(7), Presence::Joined);
        changes.update_view(&with_state(7, "u7", "{\"v\":3}"));
        assert_eq!(diff(&mut changes), (vec!["u7{\"v\":3}".into()], vec![]));
    }

    #[test]
    fn too_many_changes_become_a_count() {
        let mut changes = PresenceChanges::default();
        let all = MAX_CHANGES as u32;
        (0..all).for_each(|id| changes.note(view(id), Presence::Joined));
        assert_eq!(diff(&mut changes).0.len(), MAX_CHANGES);
        (0..=all).for_each(|id| changes.note(view(id), Presence::Parted));
        changes.note(view(all), Presence::Joined);
        assert!(changes.users.is_empty(), "the changes take no memory any more");
        assert!(matches!(changes.take_diff(), Some(PresenceReport::Count)));
        changes.note(view(1), Presence::Joined);
        assert_eq!(diff(&mut changes).0, ["u1{}"]);
    }

    #[test]
    fn states_that_are_too_large_become_a_count() {
        let mut changes = PresenceChanges::default();
        let large = format!("{{\"v\":\"{}\"}}", "x".repeat(MAX_BYTES / 2));
        changes.note(with_state(1, "a", &large), Presence::Joined);
        changes.note(with_state(2, "b", "{}"), Presence::Joined);
        assert_eq!(diff(&mut changes).0.len(), 2);
        changes.note(with_state(3, "c", &large), Presence::Joined);
        changes.note(with_state(4, "d", &large), Presence::Joined);
        assert!(matches!(changes.take_diff(), Some(PresenceReport::Count)));
        changes.note(view(1), Presence::Joined);
        assert_eq!(diff(&mut changes).0, ["u1{}"]);
    }

    #[test]
    fn equal_numbers_are_reported_once() {
        let mut changes = PresenceChanges::default();
        changes.begin(5);
        changes.begin(9);
        assert_eq!(changes.due(), Some(5));
        assert!(changes.take_count((1, 2)).is_some() && changes.due().is_none());
        assert!(changes.take_count((1, 2)).is_none());
        assert!(changes.take_count((1, 3)).is_some());
        assert!(PresenceChanges::default().take_count((0, 0)).is_none(), "a channel begins without members");
    }
}
