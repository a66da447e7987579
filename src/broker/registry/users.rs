//! The users the server remembers, by id and by name. Pure.

use super::user_connections::UserConnections;
use crate::broker::dense_map::{DenseMap, KeyIndex, Keyed};
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use crate::protocol::state::StateMap;
use std::hash::RandomState;
use std::sync::Arc;
use uuid::Uuid;

/// A user's record.
#[derive(Debug)]
pub struct User {
    /// Identity, for clients.
    pub uuid: Uuid,
    /// What others see.
    pub view: Arc<UserView>,
    /// Its state, if it ever had one.
    pub(super) details: Option<Box<Details>>,
    /// Its connections, present or not.
    pub connections: UserConnections,
    /// Present ones among them.
    pub present: u32,
    pub(super) last_active: u64,
    /// A request of demo mode made it.
    pub(super) of_demo: bool,
}

impl User {
    /// The keys of its state that everybody may see.
    pub fn public_keys(&self) -> &[String] {
        self.details.as_ref().map_or(&[], |details| &details.public_keys)
    }
}

impl Keyed for User {
    type Key = UserId;

    fn key(&self) -> &UserId {
        &self.view.id
    }
}

/// What only users with a state have.
#[derive(Debug, Default)]
pub struct Details {
    /// The state.
    pub state: StateMap,
    /// The keys of the state that everybody may see.
    pub public_keys: Vec<String>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Users {
    rows: DenseMap<User>,
    /// Ids, by names that come from outside.
    names: KeyIndex<RandomState>,
    next: u32,
    of_demo: usize,
}

impl Users {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many of them requests of demo mode made.
    pub(super) fn of_demo(&self) -> usize {
        self.of_demo
    }

    /// The user of this name.
    pub fn id(&self, name: &str) -> Option<UserId> {
        self.names.find(name, |id| name_of(&self.rows, id)).map(UserId)
    }

    /// A user.
    pub fn get(&self, id: UserId) -> Option<&User> {
        self.rows.get(&id)
    }

    /// A user.
    pub fn get_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.rows.get_mut(&id)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.rows.iter()
    }

    /// A new user, of a name that is nobody's.
    pub fn insert(&mut self, name: &str, now: u64, of_demo: bool) -> UserId {
        self.of_demo += usize::from(of_demo);
        let id = UserId(self.next);
        self.next = self.next.wrapping_add(1);
        self.rows.insert(User {
            uuid: Uuid::new_v4(),
            view: Arc::new(UserView::new(id, name.into(), "{}", "{}")),
            details: None,
            connections: UserConnections::default(),
            present: 0,
            last_active: now,
            of_demo,
        });
        self.names.insert(id.0, |id| name_of(&self.rows, id));
        id
    }

    /// Forgets all users of whom `gone` says so.
    pub fn forget(&mut self, gone: impl Fn(&User) -> bool) {
        let ids: Vec<u32> = self.iter().filter(|user| gone(user)).map(|user| user.view.id.0).collect();
        for id in ids {
            self.names.remove(id, |id| name_of(&self.rows, id));
            let gone = self.rows.remove(&UserId(id));
            self.of_demo -= usize::from(gone.is_some_and(|user| user.of_demo));
        }
    }
}

fn name_of(rows: &DenseMap<User>, id: u32) -> &str {
    rows.get(&UserId(id)).map_or("", |user| &user.view.name)
}
