//! The users that the server remembers, by id and by name, and the connections of each. Pure.

use crate::broker::dense_map::{DenseMap, KeyIndex, Keyed};
use crate::protocol::event::UserView;
use crate::protocol::ids::{ChannelId, ConnKey, UserId};
use crate::protocol::state::StateMap;
use rustc_hash::{FxHashMap, FxHashSet};
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
    /// The version that Redis has given to them, if it stores them.
    pub version: u64,
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

/// The connections of a user: usually one; sometimes very many, when clients share a user name. A single one needs no
/// memory of its own.
///
/// With several connections it counts the subscriptions to each channel. A change of the user goes to each channel
/// once, and without the counts each new connection would cost as much as there are other connections.
#[derive(Debug, Default)]
pub enum UserConnections {
    #[default]
    Empty,
    One(ConnKey),
    /// Several, or what remains of several.
    Many(Box<Many>),
}

/// Several connections of a user.
#[derive(Debug, Default)]
pub struct Many {
    connections: FxHashSet<ConnKey>,
    /// Channels, and the number of connections that subscribe to each.
    channels: FxHashMap<ChannelId, u32>,
}

impl UserConnections {
    /// Adds a connection without subscriptions. `channels` returns the subscriptions of an existing one.
    pub fn insert<'a>(&mut self, key: ConnKey, channels: impl FnOnce(ConnKey) -> &'a [ChannelId]) {
        match self {
            UserConnections::Empty => *self = UserConnections::One(key),
            UserConnections::One(first) => {
                let connections = [*first, key].into_iter().collect();
                let channels = channels(*first).iter().map(|channel| (*channel, 1)).collect();
                *self = UserConnections::Many(Box::new(Many { connections, channels }));
            }
            UserConnections::Many(many) => _ = many.connections.insert(key),
        }
    }

    /// Removes a connection. The caller removes its subscriptions first, by [`UserConnections::leave`].
    pub fn remove(&mut self, key: ConnKey) {
        match self {
            UserConnections::One(only) if *only == key => *self = UserConnections::Empty,
            UserConnections::Many(many) => {
                many.connections.remove(&key);
                if many.connections.is_empty() {
                    *self = UserConnections::Empty;
                }
            }
            UserConnections::Empty | UserConnections::One(_) => {}
        }
    }

    /// A connection subscribes to a channel.
    pub fn join(&mut self, channel: ChannelId) {
        if let UserConnections::Many(many) = self {
            *many.channels.entry(channel).or_default() += 1;
        }
    }

    /// A connection unsubscribes from a channel.
    pub fn leave(&mut self, channel: ChannelId) {
        let UserConnections::Many(many) = self else { return };
        if let Some(count) = many.channels.get_mut(&channel) {
            *count -= 1;
            if *count == 0 {
                many.channels.remove(&channel);
            }
        }
    }

    /// The channels of all connections, each once, in no particular order. `channels` returns those of a single
    /// connection.
    pub fn channels<'a>(&self, channels: impl FnOnce(ConnKey) -> &'a [ChannelId]) -> Vec<ChannelId> {
        match self {
            UserConnections::Empty => Vec::new(),
            UserConnections::One(key) => channels(*key).to_vec(),
            UserConnections::Many(many) => many.channels.keys().copied().collect(),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            UserConnections::Empty => 0,
            UserConnections::One(_) => 1,
            UserConnections::Many(many) => many.connections.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, UserConnections::Empty)
    }

    /// All connections, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = ConnKey> + '_ {
        let (one, many) = match self {
            UserConnections::Empty => (None, None),
            UserConnections::One(key) => (Some(*key), None),
            UserConnections::Many(many) => (None, Some(&many.connections)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|set| set.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_follows_a_simple_model(steps in proptest::collection::vec((0u8..6, 0u32..6, 0u32..4), 0..80)) {
            let mut set = UserConnections::default();
            let mut model: BTreeMap<ConnKey, Vec<ChannelId>> = BTreeMap::new();
            for (action, index, channel) in steps {
                let (key, channel) = (ConnKey { index, generation: 1 }, ChannelId(channel));
                match (action, model.contains_key(&key)) {
                    (0..2, false) => {
                        set.insert(key, |other| &model[&other]);
                        model.insert(key, Vec::new());
                    }
                    (2, _) => {
                        model.remove(&key).into_iter().flatten().for_each(|channel| set.leave(channel));
                        set.remove(key);
                    }
                    (3.., true) => {
                        let channels_of_key = model.get_mut(&key).unwrap();
                        if let Some(at) = channels_of_key.iter().position(|known| *known == channel) {
                            channels_of_key.remove(at);
                            set.leave(channel);
                        } else {
                            channels_of_key.push(channel);
                            set.join(channel);
                        }
                    }
                    _ => {}
                }
                let found: BTreeSet<_> = set.iter().collect();
                prop_assert!(found.iter().eq(model.keys()));
                prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
                let mut channels = set.channels(|only| &model[&only]);
                channels.sort();
                let expected: BTreeSet<_> = model.values().flatten().copied().collect();
                prop_assert!(channels.iter().eq(&expected));
            }
        }
    }
}
