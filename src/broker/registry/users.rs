//! The users that the server remembers, by id and by name. Pure.

use super::user_connections::UserConnections;
use crate::broker::dense_map::{DenseMap, KeyIndex, Keyed};
use crate::protocol::event::UserView;
use crate::protocol::ids::UserId;
use crate::protocol::state::StateMap;
use std::hash::RandomState;
use std::sync::Arc;
use uuid::Uuid;

/// The record of a user.
#[derive(Debug)]
pub struct User {
    /// The id for clients.
    pub uuid: Uuid,
    /// The view that other clients see.
    pub view: Arc<UserView>,
    /// The user's state, if it was ever set.
    pub(super) details: Option<Box<Details>>,
    /// All connections, present or absent.
    pub connections: UserConnections,
    /// The number of present connections.
    pub present: u32,
    pub(super) last_active: u64,
    /// Whether a request of demo mode created the user.
    pub(super) of_demo: bool,
}

impl User {
    /// The keys of the state that all clients may see.
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

/// Data that only users with a state have.
#[derive(Debug, Default)]
pub struct Details {
    pub state: StateMap,
    /// The keys of the state that all clients may see.
    pub public_keys: Vec<String>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Users {
    records: DenseMap<User>,
    /// Ids, by names that clients and applications choose.
    names: KeyIndex<RandomState>,
    next: u32,
    of_demo: usize,
}

impl Users {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The number of users that demo mode has created.
    pub(super) fn of_demo(&self) -> usize {
        self.of_demo
    }

    pub fn id(&self, name: &str) -> Option<UserId> {
        self.names.find(name, |id| name_of(&self.records, id)).map(UserId)
    }

    pub fn get(&self, id: UserId) -> Option<&User> {
        self.records.get(&id)
    }

    pub fn get_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.records.get_mut(&id)
    }

    /// All users, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.records.iter()
    }

    /// Adds a user. The name must not exist yet.
    pub fn insert(&mut self, name: &str, now: u64, of_demo: bool) -> UserId {
        self.of_demo += usize::from(of_demo);
        let id = UserId(self.next);
        self.next = self.next.wrapping_add(1);
        self.records.insert(User {
            uuid: Uuid::new_v4(),
            view: Arc::new(UserView::new(id, name.into(), "{}", "{}")),
            details: None,
            connections: UserConnections::default(),
            present: 0,
            last_active: now,
            of_demo,
        });
        self.names.insert(id.0, |id| name_of(&self.records, id));
        id
    }

    /// Removes all users for which `is_expired` returns true.
    pub fn remove_if(&mut self, is_expired: impl Fn(&User) -> bool) {
        let ids: Vec<u32> = self.iter().filter(|user| is_expired(user)).map(|user| user.view.id.0).collect();
        for id in ids {
            self.names.remove(id, |id| name_of(&self.records, id));
            let gone = self.records.remove(&UserId(id));
            self.of_demo -= usize::from(gone.is_some_and(|user| user.of_demo));
        }
    }
}

fn name_of(records: &DenseMap<User>, id: u32) -> &str {
    records.get(&UserId(id)).map_or("", |user| &user.view.name)
}
