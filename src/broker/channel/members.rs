//! The users who are present in a channel. Pure.
//!
//! Coming, going and changing cost the same in a channel of any size. The list in order of names is made when somebody
//! asks for it; from then on changes are worked into it, until more of them have come than it has users and nobody has
//! asked again.

use crate::broker::dense_map::{DenseMap, Keyed};
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use crate::protocol::user_list::UserList;
use std::sync::Arc;

/// Changes that nobody asked about, beside as many as there are users, for which a list is kept up.
const PATIENCE: usize = 64;

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

/// See the module's description.
#[derive(Debug, Default)]
pub struct ChannelMembers {
    users: DenseMap<Present>,
    list: Option<UserList>,
    /// Changes since the list was asked for.
    unread: usize,
}

impl ChannelMembers {
    /// Number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// How many connections of a user are here.
    pub fn connections(&self, user: UserId) -> u32 {
        self.users.get(&user).map_or(0, |user| user.connections)
    }

    /// A connection of this user comes. True if it is the first one.
    pub fn enter(&mut self, view: &Arc<UserView>) -> bool {
        if let Some(user) = self.users.get_mut(&view.id) {
            user.connections += 1;
            self.show(view);
            return false;
        }
        self.users.insert(Present { view: view.clone(), connections: 1 });
        self.change(|list| list.insert(view.clone()));
        true
    }

    /// A connection of this user goes. The user comes back if it was the last one.
    pub fn leave(&mut self, user: UserId) -> Option<Arc<UserView>> {
        let present = self.users.get_mut(&user)?;
        present.connections -= 1;
        if present.connections > 0 {
            return None;
        }
        let view = self.users.remove(&user)?.view;
        self.change(|list| list.remove(&view.name));
        Some(view)
    }

    /// A user looks different. False if it is not here.
    pub fn show(&mut self, view: &Arc<UserView>) -> bool {
        let Some(user) = self.users.get_mut(&view.id) else { return false };
        if user.view != *view {
            user.view = view.clone();
            self.change(|list| list.insert(view.clone()));
        }
        true
    }

    fn change(&mut self, apply: impl FnOnce(&mut UserList)) {
        self.unread += 1;
        if self.unread > self.users.len() + PATIENCE {
            self.list = None;
        }
        if let Some(list) = &mut self.list {
            apply(list);
        }
    }

    /// All users by name.
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
            let mut roster = ChannelMembers::default();
            // Connections and state of each user.
            let mut model: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
            for (version, (what, id)) in (1..).zip(steps) {
                match what {
                    0..4 => {
                        let first = roster.enter(&named(id, version));
                        let user = model.entry(id).or_default();
                        *user = (user.0 + 1, version);
                        prop_assert_eq!(first, user.0 == 1);
                    }
                    4..6 => {
                        let gone = roster.leave(UserId(id)).map(|view| view.id.0);
                        let left = model.get(&id).map_or(0, |user| user.0);
                        prop_assert_eq!(gone, (left == 1).then_some(id));
                        model.entry(id).and_modify(|user| user.0 -= 1);
                        model.retain(|_, user| user.0 > 0);
                    }
                    6..8 => {
                        prop_assert_eq!(roster.show(&named(id, version)), model.contains_key(&id));
                        model.entry(id).and_modify(|user| user.1 = version);
                    }
                    _ => {
                        let mut expected: Vec<_> = model.iter().map(|(id, user)| named(*id, user.1)).collect();
                        expected.sort_by(|a, b| a.name.cmp(&b.name));
                        prop_assert!(roster.list().iter().eq(&expected));
                    }
                }
                prop_assert_eq!(roster.len(), model.len());
            }
        }
    }

    #[test]
    fn a_list_nobody_asks_for_is_given_up() {
        let mut roster = ChannelMembers::default();
        (0..100).for_each(|id| _ = roster.enter(&view(id)));
        assert!(roster.list.is_none(), "nobody has asked yet");
        roster.list();
        for id in 100..200 {
            roster.enter(&view(id));
            assert!(roster.list.is_some());
        }
        for id in 100..200 {
            roster.leave(UserId(id));
        }
        assert!(roster.list.is_none());
        assert_eq!(roster.list().len(), 100);
    }
}
