//! The members of a channel: the connections that subscribe to it, and the users that are present. Pure.

use super::buffer::Place;
use super::leaving_users::LeavingUsers;
use crate::broker::dense_map::{DenseMap, Keyed};
use crate::protocol::event::UserView;
use crate::protocol::ids::{ConnKey, ConnectionSlot, HubId, Offset, SlotKey, UserId};
use crate::protocol::user_list::UserList;
use std::sync::Arc;

/// A subscribed connection. Small, because there is one for each connection and channel.
#[derive(Debug)]
pub struct Member {
    pub conn: ConnKey,
    pub user: UserId,
    /// Whether the connection and its user count as present.
    pub present: bool,
    /// Whether `hub` and `slot` refer to a session. An `Option<ConnectionSlot>` would be half as large again.
    pub has_session: bool,
    pub hub: HubId,
    pub slot: SlotKey,
    /// Where the stream was when the connection subscribed.
    pub joined: Place,
    /// How far the client has received the stream. Only valid without a session; the hub tracks the cursor of a
    /// session.
    pub cursor: Offset,
}

impl Keyed for Member {
    type Key = ConnKey;

    fn key(&self) -> &ConnKey {
        &self.conn
    }
}

impl Member {
    pub fn new(conn: ConnKey, user: UserId, joined: Place) -> Self {
        let slot = SlotKey { index: 0, generation: 0 };
        let (hub, cursor) = (HubId(0), joined.offset);
        Self { conn, user, present: false, has_session: false, hub, slot, joined, cursor }
    }

    /// Sets the session. Returns the previous one, if there was one.
    pub fn attach_session(&mut self, location: ConnectionSlot) -> Option<ConnectionSlot> {
        let before = self.take_session();
        (self.has_session, self.hub, self.slot) = (true, location.hub, location.slot);
        before
    }

    /// Clears the session and returns it, if there was one.
    pub fn take_session(&mut self) -> Option<ConnectionSlot> {
        std::mem::take(&mut self.has_session).then_some(ConnectionSlot { hub: self.hub, slot: self.slot })
    }
}

/// Changes without a request for the list, in addition to the number of users, after which the list is dropped.
const MAX_UNREAD_CHANGES: usize = 64;

#[derive(Debug)]
struct Present {
    view: Arc<UserView>,
    connections: u32,
}

impl Keyed for Present {
    type Key = UserId;

    fn key(&self) -> &UserId {
        &self.view.id
    }
}

/// The users that are present in a channel.
///
/// Entering, leaving and changing cost the same in a channel of any size. The list in order of names is built on
/// request. Later changes update it, until there are more changes than users without another request: then it is
/// dropped.
#[derive(Debug, Default)]
pub struct ChannelMembers {
    users: DenseMap<Present>,
    list: Option<UserList>,
    /// The users without a connection that still count as present.
    leaving: Option<Box<LeavingUsers>>,
    /// Changes since the list was last requested.
    unread: usize,
}

impl ChannelMembers {
    /// These users, each with one connection.
    pub fn of(views: impl IntoIterator<Item = Arc<UserView>>) -> Self {
        let mut members = Self::default();
        views.into_iter().for_each(|view| _ = members.enter(&view));
        members
    }

    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// What others see of a present user.
    pub fn view(&self, user: UserId) -> Option<&Arc<UserView>> {
        self.users.get(&user).map(|present| &present.view)
    }

    /// The number of a user's present connections.
    pub fn connections(&self, user: UserId) -> u32 {
        self.users.get(&user).map_or(0, |user| user.connections)
    }

    /// Adds a connection of a user. True if it is the user's first one, and the user was not leaving.
    pub fn enter(&mut self, view: &Arc<UserView>) -> bool {
        let returning = self.take_leaving(&view.name);
        if let Some(former) = returning.filter(|id| *id != view.id) {
            self.users.remove(&former);
            self.users.insert(Present { view: view.clone(), connections: 1 });
            self.change(|list| list.insert(view.clone()));
            return false;
        }
        if let Some(user) = self.users.get_mut(&view.id) {
            user.connections += 1;
            self.update_view(view);
            return false;
        }
        self.users.insert(Present { view: view.clone(), connections: 1 });
        self.change(|list| list.insert(view.clone()));
        true
    }

    /// Removes the user of this name from those that are leaving. Returns the id that it had.
    fn take_leaving(&mut self, name: &str) -> Option<UserId> {
        let leaving = self.leaving.as_mut()?;
        let id = leaving.cancel(name);
        if leaving.is_empty() {
            self.leaving = None;
        }
        id
    }

    /// Removes a connection of a user. If it was the last one, the user counts as present until `keep_until`, in ms;
    /// without a time it is gone and returned.
    pub fn leave(&mut self, user: UserId, keep_until: Option<u64>) -> Option<Arc<UserView>> {
        let present = self.users.get_mut(&user)?;
        present.connections -= 1;
        if present.connections > 0 {
            return None;
        }
        match keep_until {
            Some(due) => self.leaving.get_or_insert_default().add(&present.view, due),
            None => return self.remove(user),
        }
        None
    }

    /// When the next leaving user is gone, in ms.
    pub fn next_due(&self) -> Option<u64> {
        self.leaving.as_ref()?.next_due()
    }

    /// Removes and returns the next leaving user that is gone by now.
    pub fn next_gone(&mut self, now_ms: u64) -> Option<Arc<UserView>> {
        let user = self.leaving.as_ref()?.next_gone(now_ms)?;
        let view = self.remove(user)?;
        self.take_leaving(&view.name);
        Some(view)
    }

    fn remove(&mut self, user: UserId) -> Option<Arc<UserView>> {
        let view = self.users.remove(&user)?.view;
        self.change(|list| list.remove(&view.name));
        Some(view)
    }

    /// Updates what others see of a user. False if the user is not present.
    pub fn update_view(&mut self, view: &Arc<UserView>) -> bool {
        let Some(user) = self.users.get_mut(&view.id) else { return false };
        if user.view != *view {
            user.view = view.clone();
            self.change(|list| list.insert(view.clone()));
        }
        true
    }

    fn change(&mut self, apply: impl FnOnce(&mut UserList)) {
        self.unread += 1;
        if self.unread > self.users.len() + MAX_UNREAD_CHANGES {
            self.list = None;
        }
        if let Some(list) = &mut self.list {
            apply(list);
        }
    }

    /// All users in order of their names.
    pub fn list(&mut self) -> UserList {
        self.unread = 0;
        let users = &self.users;
        let list = self.list.get_or_insert_with(|| users.iter().map(|user| user.view.clone()).collect());
        list.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::view;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn named(id: u32, state: u32) -> Arc<UserView> {
        let state = format!("{{\"state\":{state}}}");
        Arc::new(UserView::new(UserId(id), format!("u{id}").into(), &state, &state))
    }

    proptest! {
        #[test]
        fn it_follows_a_simple_model(steps in proptest::collection::vec((0u8..9, 0u32..12), 0..400)) {
            let mut members = ChannelMembers::default();
            // The connections and the state of each user.
            let mut model: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
            for (version, (action, id)) in (1..).zip(steps) {
                match action {
                    0..4 => {
                        let first = members.enter(&named(id, version));
                        let user = model.entry(id).or_default();
                        *user = (user.0 + 1, version);
                        prop_assert_eq!(first, user.0 == 1);
                    }
                    4..6 => {
                        let gone = members.leave(UserId(id), None).map(|view| view.id.0);
                        let left = model.get(&id).map_or(0, |user| user.0);
                        prop_assert_eq!(gone, (left == 1).then_some(id));
                        model.entry(id).and_modify(|user| user.0 -= 1);
                        model.retain(|_, user| user.0 > 0);
                    }
                    6..8 => {
                        prop_assert_eq!(members.update_view(&named(id, version)), model.contains_key(&id));
                        model.entry(id).and_modify(|user| user.1 = version);
                    }
                    _ => {
                        let mut expected: Vec<_> = model.iter().map(|(id, user)| named(*id, user.1)).collect();
                        expected.sort_by(|a, b| a.name.cmp(&b.name));
                        prop_assert!(members.list().iter().eq(&expected));
                    }
                }
                prop_assert_eq!(members.len(), model.len());
            }
        }
    }

    #[test]
    fn a_leaving_user_counts_until_it_is_gone() {
        let mut members = ChannelMembers::default();
        let names = |members: &mut ChannelMembers| {
            members
                .list()
                .iter()
                .map(|user| format!("{}{}", user.id.0, user.public_state()))
                .collect::<Vec<_>>()
        };
        assert!(members.enter(&view(1)) && members.enter(&view(2)));
        assert!(members.leave(UserId(1), Some(70)).is_none() && members.leave(UserId(2), Some(50)).is_none());
        assert_eq!((members.len(), members.next_due(), members.connections(UserId(1))), (2, Some(50), 0));
        assert!(members.next_gone(49).is_none());
        assert_eq!(members.next_gone(50).map(|user| user.id), Some(UserId(2)));
        assert!(!members.enter(&view(1)), "it has not left");
        assert_eq!((members.next_due(), members.connections(UserId(1))), (None, 1));
        assert!(members.leaving.is_none(), "nothing is kept");
        assert!(members.leave(UserId(1), Some(90)).is_none());
        let again = Arc::new(UserView::new(UserId(9), "u1".into(), "{\"v\":1}", "{\"v\":1}"));
        assert_eq!(names(&mut members), ["1{}"]);
        assert!(!members.enter(&again), "the server forgot its id meanwhile");
        assert_eq!((names(&mut members), members.next_gone(1_000)), (vec!["9{\"v\":1}".to_owned()], None));
        assert_eq!(members.leave(UserId(9), None).map(|user| user.id), Some(UserId(9)));
        assert_eq!((members.len(), members.connections(UserId(1))), (0, 0));
    }

    #[test]
    fn an_unused_list_is_dropped() {
        let mut members = ChannelMembers::default();
        (0..100).for_each(|id| _ = members.enter(&view(id)));
        assert!(members.list.is_none(), "the list was not requested yet");
        members.list();
        for id in 100..200 {
            members.enter(&view(id));
            assert!(members.list.is_some());
        }
        for id in 100..200 {
            members.leave(UserId(id), None);
        }
        assert!(members.list.is_none());
        assert_eq!(members.list().len(), 100);
    }
}
