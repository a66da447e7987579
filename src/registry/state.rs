//! Who is where, without actors: users, connections, channels by name. Pure; time is passed in.

use super::conn_set::ConnSet;
use super::deadlines::Deadlines;
use crate::channel::messages::ToChannel;
use crate::channel::state::Identity;
use crate::channel::summary::Summary;
use crate::hub::messages::{ToHub, Transport};
use crate::ids::{ChannelId, ConnKey, HubId, Place, UserId};
use crate::inbox::ToInbox;
use crate::wire::event::UserView;
use crate::wire::settings::ChannelSettings;
use crate::wire::state::StateMap;
use crate::wire::time::Timestamp;
use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// What is to be done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Start a channel.
    Create(Identity, ChannelSettings, Arc<Summary>),
    /// Tell a channel.
    Channel(ChannelId, ToChannel),
    /// Tell the inboxes.
    Inbox(ToInbox),
    /// Tell a hub.
    Hub(HubId, ToHub),
}

/// Times after which connections and users change by themselves, in ms.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A connection without session becomes absent.
    pub idle: u64,
    /// A closed websocket's connection becomes absent.
    pub part: u64,
    /// An absent connection ends.
    pub grace: u64,
    /// A user without connections is forgotten.
    pub user_idle: u64,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Present, no session: it was just made, or is between two polls. Idles out.
    Waiting,
    /// Its websocket has closed a moment ago; soon it is absent.
    Lingering,
    /// It has a session.
    Attached(Place, Transport),
    /// Its session has been told to go; the next one, if it still is there, waits for its goodbye.
    Releasing(Place, Option<(Place, Transport)>),
    /// Absent: in no count and no list, but it may come back.
    Away,
}

/// A connection's record.
#[derive(Debug)]
pub struct Connection {
    /// Its id, for clients.
    pub id: Uuid,
    /// Its user.
    pub user: UserId,
    /// Its subscriptions. Mostly few: a list costs a quarter of a set.
    pub channels: SmallVec<[ChannelId; 4]>,
    /// Where it stands.
    pub phase: Phase,
    pub(super) generation: u32,
    pub(super) deadline: Option<u64>,
}

impl Connection {
    /// Whether it counts.
    pub fn is_present(&self) -> bool {
        self.phase != Phase::Away
    }
}

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
    pub connections: ConnSet,
    /// Present ones among them.
    pub present: u32,
    pub(super) last_active: u64,
}

impl User {
    /// The keys of its state that everybody may see.
    pub fn public_keys(&self) -> &[String] {
        self.details.as_ref().map_or(&[], |details| &details.public_keys)
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

/// A channel's record.
#[derive(Debug)]
pub struct ChannelRecord {
    /// Names.
    pub identity: Identity,
    /// Settings.
    pub settings: ChannelSettings,
    /// Figures.
    pub summary: Arc<Summary>,
}

/// See the module's description.
#[derive(Debug)]
pub struct RegistryState {
    pub(super) times: Times,
    pub(super) connections: Slab<Connection>,
    pub(super) by_id: HashMap<Uuid, ConnKey>,
    pub(super) deadlines: Deadlines,
    pub(super) users: FxHashMap<UserId, User>,
    pub(super) user_names: HashMap<Arc<str>, UserId>,
    /// In the order of their creation: the index is the [`ChannelId`].
    pub(super) channels: IndexMap<Arc<str>, ChannelRecord>,
    generation: u32,
    next_user: u32,
    pub(super) present: usize,
    pub(super) active_users: usize,
}

impl RegistryState {
    /// Nobody and nothing.
    pub fn new(times: Times) -> Self {
        Self {
            times,
            connections: Slab::new(),
            by_id: HashMap::new(),
            deadlines: Deadlines::default(),
            users: FxHashMap::default(),
            user_names: HashMap::new(),
            channels: IndexMap::new(),
            generation: 0,
            next_user: 0,
            present: 0,
            active_users: 0,
        }
    }

    /// A connection by its id.
    pub fn connection(&self, id: Uuid) -> Option<(ConnKey, &Connection)> {
        let key = *self.by_id.get(&id)?;
        self.connections.get(key.index as usize).map(|connection| (key, connection))
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Connection> {
        let found = self.connections.get_mut(key.index as usize);
        found.filter(|connection| connection.generation == key.generation)
    }

    /// A user by name.
    pub fn user_id(&self, name: &str) -> Option<UserId> {
        self.user_names.get(name).copied()
    }

    /// A user.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// A channel by name.
    pub fn channel_id(&self, name: &str) -> Option<ChannelId> {
        self.channels.get_index_of(name).map(|index| ChannelId(index as u32))
    }

    /// A channel.
    pub fn channel(&self, id: ChannelId) -> Option<&ChannelRecord> {
        self.channels.get_index(id.0 as usize).map(|(_, record)| record)
    }

    /// All channels, oldest first.
    pub fn all_channels(&self) -> impl Iterator<Item = ChannelId> + use<> {
        (0..self.channels.len() as u32).map(ChannelId)
    }

    /// Users remembered, users present, connections present.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.users.len(), self.active_users, self.present)
    }

    pub(super) fn insert_connection(&mut self, id: Uuid, user: UserId) -> ConnKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.connections.insert(Connection {
            id,
            user,
            channels: SmallVec::new(),
            phase: Phase::Away,
            generation,
            deadline: None,
        });
        let key = ConnKey { index: index as u32, generation };
        self.by_id.insert(id, key);
        if let Some(user) = self.users.get_mut(&user) {
            user.connections.insert(key, |other| subscriptions(&self.connections, other));
        }
        key
    }

    pub(super) fn insert_user(&mut self, name: &str, now: u64) -> UserId {
        let id = UserId(self.next_user);
        self.next_user = self.next_user.wrapping_add(1);
        let name: Arc<str> = name.into();
        let view = UserView::new(id, name.clone(), "{}", "{}");
        self.user_names.insert(name, id);
        self.users.insert(
            id,
            User {
                uuid: Uuid::new_v4(),
                view: Arc::new(view),
                details: None,
                connections: ConnSet::default(),
                present: 0,
                last_active: now,
            },
        );
        id
    }

    /// The channel of this name, made with these settings if it is new.
    pub(super) fn ensure_channel(
        &mut self,
        name: &str,
        settings: impl FnOnce() -> ChannelSettings,
        effects: &mut Vec<Effect>,
    ) -> ChannelId {
        if let Some(id) = self.channel_id(name) {
            return id;
        }
        let id = ChannelId(self.channels.len() as u32);
        let identity = Identity { id, uuid: Uuid::new_v4(), name: name.into() };
        let settings = settings();
        let summary = Arc::new(Summary::new(Timestamp::now()));
        effects.push(Effect::Create(identity.clone(), settings.clone(), summary.clone()));
        self.channels.insert(identity.name.clone(), ChannelRecord { identity, settings, summary });
        id
    }
}

/// What a connection subscribes to.
pub(super) fn subscriptions(connections: &Slab<Connection>, key: ConnKey) -> &[ChannelId] {
    connections.get(key.index as usize).map_or(&[], |connection| &connection.channels)
}
